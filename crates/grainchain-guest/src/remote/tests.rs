//! Both halves in one process, where the conformance suite does not look: hostile requests, lost links, clients that vanish.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use grainchain_core::facet::{Code as _, Exec as _, Files as _, Processes};
use grainchain_core::{
    Command, Content, Effect, Error, ErrorKind, ProcessEvent, ProcessState, ReadFile, Result, RunCode,
    UnpackSummary,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::TcpListener;

use super::Remote;
use crate::link::{Channel, Dial, Link, LinkConfig, Listener, ListenerConfig, Pipe, Token};
use crate::message::{Control, SandboxState};
use crate::serve::{Host, serve};
use crate::testing::TestGuest;

#[derive(Debug)]
struct Quiet;

#[async_trait]
impl Host for Quiet {
    fn state(&self) -> SandboxState {
        SandboxState::new(SystemTime::UNIX_EPOCH, None, 1)
    }

    async fn control(&self, _control: Control) -> Result<()> {
        Err(Error::new(ErrorKind::Conflict, "not now"))
    }

    async fn hold_still(&self) -> Result<()> {
        Err(Error::new(ErrorKind::Conflict, "not now"))
    }

    async fn go_on(&self) -> Result<()> {
        Err(Error::new(ErrorKind::Conflict, "not now"))
    }

    async fn keep(&self, _path: String) -> Result<Content> {
        Err(Error::new(ErrorKind::Conflict, "not now"))
    }

    async fn bring_back(&self, _path: String, _kept: Content) -> Result<UnpackSummary> {
        Err(Error::new(ErrorKind::Conflict, "not now"))
    }
}

/// A guest that answers over links.
struct Served {
    listener: Listener,
    cut: Arc<AtomicBool>,
    guest: TestGuest,
}

impl Served {
    fn new() -> Self {
        let guest = TestGuest::new();
        let config = ListenerConfig::new(token()).grace(Duration::from_millis(1));
        let (listener, requests) = Listener::new(config);
        tokio::spawn(serve(requests, guest.clone(), Arc::new(Quiet)));
        Self { listener, cut: Arc::default(), guest }
    }

    async fn link(&self) -> Link {
        let dial = Dialer { listener: self.listener.clone(), cut: Arc::clone(&self.cut) };
        let config = LinkConfig::new(token()).patience(Duration::from_millis(1));
        Link::connect(Arc::new(dial), config).await.expect("a listener").0
    }

    async fn remote(&self) -> Remote {
        Remote::new(self.link().await)
    }
}

fn token() -> Token {
    Token::new(&b"known to both sides"[..]).expect("long enough")
}

/// Refuses to dial once the link was cut.
#[derive(Debug)]
struct Dialer {
    listener: Listener,
    cut: Arc<AtomicBool>,
}

#[async_trait]
impl Dial for Dialer {
    async fn dial(&self) -> Result<Box<dyn Pipe>> {
        if self.cut.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Connection, "cut"));
        }
        let (ours, theirs) = duplex(64 * 1024);
        let listener = self.listener.clone();
        tokio::spawn(async move { listener.drive(Box::new(theirs)).await.ok() });
        Ok(Box::new(ours))
    }
}

/// A header and the frames after it.
type Raw = (&'static [u8], &'static [(u8, &'static [u8])]);

/// What a raw request is answered with: the marks and bytes of all frames, or how it broke off.
async fn raw(link: &Link, header: &[u8], frames: &[(u8, &'static [u8])]) -> Result<Vec<(u8, Bytes)>> {
    let Channel { mut sender, mut receiver } = link.open(Bytes::copy_from_slice(header))?;
    for (mark, bytes) in frames {
        sender.send(*mark, Bytes::from_static(bytes)).await?;
    }
    sender.finish();
    let mut answer = Vec::new();
    while let Some(frame) = receiver.next().await? {
        answer.push(frame);
    }
    Ok(answer)
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_and_harm_nothing() {
    let served = Served::new();
    let link = served.link().await;
    let requests: [Raw; 12] = [
        (&br#"{"dance":{}}"#[..], &[]),
        (br#"{"stat":{"path":".","follow":false,"extra":1}}"#, &[]),
        (br#"{"stat":{"path":"."}}"#, &[]),
        (b"null", &[]),
        (b"\xff\xfe", &[]),
        (br#"{"kill":{"handle":18446744073709551615}}"#, &[]),
        (br#"{"next":{"handle":1,"seen":0}}"#, &[]),
        (b"", &[(6, b"data before the request")]),
        (b"", &[(1, b"{"), (6, b"data amid the request")]),
        (b"", &[(99, b"an unknown mark")]),
        (b"", &[(3, b"{}")]),
        (br#"{"write":{"path":"f","mode":null,"parents":true,"length":null}}"#, &[(2, b"{}")]),
    ];
    for (header, frames) in requests {
        let answer = raw(&link, header, frames).await.expect("a refusal, not a break");
        let (mark, document) = answer.last().expect("an answer");
        assert_eq!(*mark, 5, "{header:?} is answered with {document:?}");
    }
    let error = Remote::new(link).stat(grainchain_core::Stat::new("f")).await.expect_err("not written");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_request_longer_than_a_frame_arrives_whole() {
    let served = Served::new();
    let remote = served.remote().await;
    let text = "x".repeat(100_000);
    let output = remote.execute(Command::argv(["printf", "%s", &text])).await.expect("an output");
    assert_eq!(output.stdout.bytes(), text);
    let mut command = Command::shell("cat; echo $TAIL").stdin("in\n");
    for number in 0..200 {
        command = command.env(format!("V{number}"), "y".repeat(1000));
    }
    let output = remote.execute(command.env("TAIL", "end")).await.expect("an output");
    assert_eq!(output.stdout(), "in\nend\n");
}

#[tokio::test]
async fn errors_travel_whole() {
    let served = Served::new();
    let remote = served.remote().await;
    let error = remote.execute(Command::argv(["no-such-program"])).await.expect_err("not found");
    assert_eq!((error.kind(), error.what_happened()), (ErrorKind::NotFound, Effect::None));
    assert!(error.remedy().is_some(), "{error}");
    let command = Command::shell("echo so far; echo oops >&2; sleep 100").timeout(Duration::from_millis(300));
    let error = remote.execute(command).await.expect_err("overdue");
    assert_eq!((error.kind(), error.what_happened()), (ErrorKind::Timeout, Effect::Done));
    let output = error.partial_output().expect("the output so far");
    assert_eq!((output.stdout(), output.stderr()), ("so far\n".into(), "oops\n".into()));
    assert_eq!(output.status, None);
}

#[tokio::test]
async fn a_lost_link_says_what_may_have_happened() {
    let served = Served::new();
    let remote = served.remote().await;
    let mut process = remote.spawn(Command::shell("echo up; sleep 100")).await.expect("a process");
    while !matches!(process.next().await.expect("events"), Some(ProcessEvent::Stdout(_))) {}
    served.cut.store(true, Ordering::Relaxed);
    // A server that says nothing sensible any more, as far as this link can tell.
    let running = tokio::spawn({
        let remote = remote.clone();
        async move { remote.execute(Command::shell("sleep 100")).await }
    });
    tokio::task::yield_now().await;
    remote.link().close();
    let error = running.await.expect("no panic").expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert_eq!(process.next().await.expect_err("lost").kind(), ErrorKind::Connection);
    let error = remote.execute(Command::shell("true")).await.expect_err("lost");
    assert_eq!((error.kind(), error.what_happened()), (ErrorKind::Connection, Effect::None));
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_what_it_was_told_and_did_not_confirm() {
    let served = Served::new();
    let id = {
        let link = served.link().await;
        let remote = Remote::new(link.clone());
        let process = remote.spawn(Command::shell("echo precious; exit 7")).await.expect("a process");
        // The helper tells it all; we go without having looked.
        let handle = 1_u64;
        let next = format!(r#"{{"next":{{"handle":{handle},"seen":0}}}}"#);
        let mut seen = 0;
        loop {
            let answer = raw(&link, next.as_bytes(), &[]).await.expect("events");
            seen = seen.max(answer.len());
            if answer.iter().any(|(_, bytes)| bytes.starts_with(br#"{"exited""#)) {
                break;
            }
        }
        assert!(seen > 0);
        link.close();
        process.id().clone()
    };
    let remote = served.remote().await;
    loop {
        // The helper hears of it a little later.
        let list = Processes::list(&remote).await.expect("a list");
        if let Some(info) = list.iter().find(|info| info.id == id)
            && matches!(info.state, ProcessState::Exited(status) if status.code() == Some(7))
        {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut process = remote.attach(&id).await.expect("still there");
    let mut output = Vec::new();
    while let Some(event) = process.next().await.expect("events") {
        if let ProcessEvent::Stdout(bytes) = event {
            output.extend_from_slice(&bytes);
        }
    }
    assert_eq!(
        (output.as_slice(), process.status().and_then(|status| status.code())),
        (&b"precious\n"[..], Some(7))
    );
    drop(process);
    assert!(Processes::list(&remote).await.expect("a list").is_empty(), "what was confirmed is listed");
}

#[tokio::test]
async fn a_vanished_client_takes_its_commands_along() {
    let served = Served::new();
    let remote = served.remote().await;
    let running = tokio::spawn({
        let remote = remote.clone();
        async move { remote.execute(Command::shell("echo > begun; sleep 1000; echo > survived")).await }
    });
    while remote.read(ReadFile::new("begun")).await.is_err() {}
    remote.link().close();
    running.await.expect("no panic").expect_err("lost");
    while !served.guest.pids().expect("a list of processes").is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!served.guest.path().join("survived").exists());
}

#[tokio::test]
async fn a_tunnel_carries_both_ways_and_each_end_by_itself() {
    let served = Served::new();
    let remote = served.remote().await;
    let server = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = server.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.expect("a client");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.expect("its bytes");
        all.reverse();
        stream.write_all(&all).await.expect("a client");
    });
    let mut pipe = remote.tunnel(port).await.expect("a server");
    let data: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    pipe.write_all(&data).await.expect("a tunnel");
    pipe.shutdown().await.expect("a tunnel");
    let mut back = Vec::new();
    pipe.read_to_end(&mut back).await.expect("its answer");
    back.reverse();
    assert!(back == data, "came back changed");
    let error = remote.tunnel(port).await.expect_err("nobody listens any more");
    assert!(error.message().contains(&port.to_string()) && error.remedy().is_some(), "{error}");
}

#[tokio::test]
async fn the_host_is_asked_what_is_its_own() {
    let served = Served::new();
    let remote = served.remote().await;
    assert_eq!(remote.state().await.expect("a state").clients(), 1);
    assert_eq!(remote.set_lifetime(None).await.expect_err("refused").message(), "not now");
}

#[tokio::test]
async fn code_that_displays_much_arrives_whole() {
    use futures_util::StreamExt;
    let served = Served::new();
    let remote = served.remote().await;
    let mut events = remote.run_code(RunCode::new("'ü' * 500_000")).await.expect("python");
    while let Some(event) = events.next().await {
        if let grainchain_core::CodeEvent::Value(bundle) = event.expect("an event") {
            assert_eq!(bundle.text().map(str::len), Some(1_000_002));
            return;
        }
    }
    panic!("no value");
}
