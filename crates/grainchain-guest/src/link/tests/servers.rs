//! What a client makes of servers that are not what they should be, and of its neighbours.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;

use super::*;
use crate::link::frame::{Frame, decode};
use crate::link::handshake::{Grant, SessionId, VERSION, welcome};

/// Dials one pipe, whose other end the test holds, and no other.
#[derive(Debug)]
pub(super) struct Single(pub(super) Mutex<Option<DuplexStream>>);

#[async_trait]
impl Dial for Single {
    async fn dial(&self) -> Result<Box<dyn Pipe>> {
        match self.0.lock().await.take() {
            Some(pipe) => Ok(Box::new(pipe)),
            None => Err(Error::not_found("there is no other pipe")),
        }
    }
}

/// A link to a server that is the test: what it reads and writes comes after an honest greeting.
pub(super) async fn against(room: usize) -> (Link, DuplexStream) {
    let (ours, mut theirs) = duplex(room);
    let dial = Arc::new(Single(Mutex::new(Some(ours))));
    let greeting = async {
        let grant = Grant { session: SessionId([1; 16]), received: 0, channels: 4, words: Bytes::new() };
        welcome(&mut theirs, &token(), |_| Ok(grant)).await.expect("an honest client");
    };
    let (connected, ()) = tokio::join!(Link::connect(dial, config()), greeting);
    (connected.expect("a link").0, theirs)
}

#[tokio::test]
async fn a_server_that_breaks_the_rules_is_left_with_the_rule_named() {
    for (bytes, why) in [
        (vec![1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], "channel 1 cannot be opened"),
        (vec![2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0], "channel 1, which is not open"),
        (vec![99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "unknown kind 99"),
        (vec![2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0], "65537 bytes"),
        (vec![8, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], "more than were sent"),
    ] {
        let (link, mut server) = against(1024).await;
        server.write_all(&bytes).await.expect("a client");
        let lost = link.lost().await;
        assert!(lost.message().contains(why), "{why}: {lost}");
    }
}

#[tokio::test]
async fn a_server_of_another_version_is_refused_with_both_named() {
    let (ours, mut theirs) = duplex(1024);
    let dial = Arc::new(Single(Mutex::new(Some(ours))));
    let mut hello = b"grnchain".to_vec();
    hello.extend_from_slice(&77_u32.to_le_bytes());
    hello.extend_from_slice(&[0; 64]);
    theirs.write_all(&hello).await.expect("a client");
    let error = Link::connect(dial, config()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("77") && error.message().contains(&VERSION.to_string()), "{error}");
}

#[tokio::test]
async fn words_of_a_server_cannot_command_a_terminal() {
    let (ours, mut theirs) = duplex(1024);
    let dial = Arc::new(Single(Mutex::new(Some(ours))));
    let words = "no\u{1b}[2J\nway".to_owned();
    let greeting = async { welcome(&mut theirs, &token(), |_| Err(words)).await.expect_err("it refuses") };
    let (connected, _) = tokio::join!(Link::connect(dial, config()), greeting);
    assert_eq!(connected.expect_err("refused").message(), "no\u{fffd}[2J\u{fffd}way");
    let (link, mut server) = against(1024).await;
    let mut channel = open(&link, "anything");
    server.write_all(&[4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7]).await.expect("a client");
    let error = channel.receiver.next().await.expect_err("broken off");
    assert_eq!(error.message(), "the other side broke off: \u{fffd}");
}

#[tokio::test]
async fn beside_a_full_pipe_another_channel_waits_for_one_large_frame_behind_that_in_the_pipe() {
    let (link, mut server) = against(1024).await;
    let mut large = open(&link, "large");
    for _ in 0..8 {
        large.sender.send(0, Bytes::from_static(&[1; 65536])).await.expect("room");
    }
    // Until the link has written what the pipe holds.
    let mut buffer = BytesMut::new();
    server.read_buf(&mut buffer).await.expect("a client");
    let _small = open(&link, "small");
    let mut before = 0;
    loop {
        match decode(&mut buffer).expect("an honest client") {
            Some(Frame::Data { .. }) => before += 1,
            Some(Frame::Open { channel: 2, .. }) => break,
            Some(_) => {}
            None => assert!(server.read_buf(&mut buffer).await.expect("a client") > 0),
        }
    }
    assert!(before <= 2, "{before} large frames went first");
}

#[tokio::test]
async fn two_clients_at_once_are_kept_apart() {
    let (listener, mut requests) = Listener::new(ListenerConfig::new(token()));
    let mut connected = listener.connected();
    let (one, other) = (connect(&listener).await, connect(&listener).await);
    connected.wait_for(|count| *count == 2).await.expect("a listener");
    let (mut ours, mut theirs) = (open(&one, "ours"), open(&other, "theirs"));
    ours.sender.send(0, Bytes::from_static(b"from ours")).await.expect("room");
    theirs.sender.send(0, Bytes::from_static(b"from theirs")).await.expect("room");
    let mut arrived = Vec::new();
    for _ in 0..2 {
        let mut request = requests.recv().await.expect("a request");
        let said = request.channel.receiver.next().await.expect("words").expect("not the end").1;
        assert_eq!(said, [b"from ", &request.header[..]].concat());
        request.channel.sender.send(0, request.header.clone()).await.expect("room");
        arrived.push(request);
    }
    assert_ne!(arrived[0].session, arrived[1].session);
    assert_eq!(ours.receiver.next().await.expect("an answer"), Some((0, Bytes::from_static(b"ours"))));
    // The end of one is not the end of the other.
    one.close();
    connected.wait_for(|count| *count == 1).await.expect("a listener");
    assert_eq!(theirs.receiver.next().await.expect("an answer"), Some((0, Bytes::from_static(b"theirs"))));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_falls_silent_is_noticed_and_given_up_after_the_grace() {
    let config = ListenerConfig::new(token()).ping(Duration::from_secs(1)).grace(Duration::from_secs(5));
    let (listener, mut requests) = Listener::new(config);
    let (mut ours, theirs) = duplex(1024);
    let driving = listener.clone();
    let driven = tokio::spawn(async move { driving.drive(Box::new(theirs)).await });
    let wish = crate::link::handshake::Wish { session: SessionId::NEW, received: 0 };
    crate::link::handshake::greet(&mut ours, &token(), wish).await.expect("a greeting");
    ours.write_all(&[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]).await.expect("a listener");
    let mut request = requests.recv().await.expect("a request");
    let noticed = tokio::time::timeout(HOUR, driven).await.expect("noticed");
    let silent = noticed.expect("no panic").expect_err("silent");
    assert!(silent.to_string().contains("silent"), "{silent}");
    let over = request.channel.receiver.next().await.expect_err("given up");
    assert!(over.message().contains("not connected for 5s"), "{over}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_only_says_that_it_is_there_cannot_keep_a_closed_link() {
    let (link, mut server) = against(1024).await;
    let mut channel = open(&link, "unread");
    for _ in 0..8 {
        channel.sender.send(0, Bytes::from_static(&[1; 65536])).await.expect("room");
    }
    // The pipe is full of what is never read, and never silent.
    let alive = tokio::spawn(async move {
        while server.write_all(&[10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!link.is_lost());
    link.close();
    let lost = tokio::time::timeout(Duration::from_secs(60), link.lost()).await;
    assert!(lost.expect("an end").message().contains("the link was closed"));
    assert!(channel.receiver.next().await.is_err());
    alive.await.expect("no panic");
}
