//! Commands that run beside the caller.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use grainchain_core::facet::Processes;
use grainchain_core::types::process::ProcessControl;
use grainchain_core::{
    Command, Content, Process, ProcessEvent, ProcessId, ProcessInfo, PtySize, Result, Signal, Stdin,
};
use tokio::sync::oneshot;

use super::Remote;
use super::call::{Call, Reply};
use crate::link::Sender;
use crate::message::{
    Mark, Request, WireCommand, WireProcess, WireProcessEvent, WireStarted, malformed, parse,
    stream as stream_name,
};

#[async_trait]
impl Processes for Remote {
    async fn spawn(&self, command: Command) -> Result<Process> {
        let (command, stdin) = WireCommand::new(command);
        let call = self.call(&Request::Spawn(Box::new(command))).await?;
        let content = match stdin {
            Stdin::Content(content) => Some(content),
            _ => None,
        };
        self.follow(call, content).await
    }

    async fn attach(&self, id: &ProcessId) -> Result<Process> {
        let call = self.call(&Request::Attach { id: id.as_str().to_owned() }).await?;
        self.follow(call, None).await
    }

    async fn list(&self) -> Result<Vec<ProcessInfo>> {
        let list: Vec<WireProcess> = self.call(&Request::ListProcesses).await?.finish().answer().await?;
        list.into_iter().map(TryInto::try_into).collect()
    }
}

impl Remote {
    async fn follow(&self, mut call: Call, content: Option<Content>) -> Result<Process> {
        let sender = call.take_sender()?;
        let open = match content {
            None => Open::held(sender),
            Some(content) => Open::feeding(sender, content),
        };
        let WireStarted { id, handle } = call.event().await?;
        // The events and the control each keep the handle.
        let open = Arc::new((open, call));
        let follow =
            Follow { remote: self.clone(), handle, seen: 0, next: Next::Started, open: Arc::clone(&open) };
        let events = stream::try_unfold(follow, |mut follow| async move {
            Ok(follow.next().await?.map(|event| (event, follow)))
        });
        let control = RemoteProcess { remote: self.clone(), handle, _open: open };
        Ok(Process::new(id.into(), Box::pin(events), Arc::new(control)))
    }
}

/// The events of a process, asked for when they are wanted.
#[derive(Debug)]
struct Follow {
    remote: Remote,
    handle: u64,
    /// How many were seen.
    seen: u64,
    next: Next,
    /// Keeps the handle.
    #[expect(dead_code, reason = "what it does is to be there")]
    open: Arc<(Open, Call)>,
}

#[derive(Debug)]
enum Next {
    /// The first event is known.
    Started,
    /// The helper has to be asked.
    Ask,
    /// The helper is telling.
    Told(Box<Call>),
    /// That was all.
    Ended,
}

impl Follow {
    async fn next(&mut self) -> Result<Option<ProcessEvent>> {
        loop {
            match &mut self.next {
                Next::Started => {
                    self.next = Next::Ask;
                    return Ok(Some(ProcessEvent::Started));
                }
                Next::Ask => {
                    let request = Request::Next { handle: self.handle, seen: self.seen };
                    self.next = Next::Told(Box::new(self.remote.call(&request).await?.finish()));
                }
                Next::Told(call) => {
                    let event = match call.next().await? {
                        Reply::Stdout(bytes) => ProcessEvent::Stdout(bytes),
                        Reply::Stderr(bytes) => ProcessEvent::Stderr(bytes),
                        Reply::Event(document) => match parse(&document)? {
                            WireProcessEvent::Dropped { stderr, bytes } => {
                                ProcessEvent::Dropped { stream: stream_name(stderr), bytes }
                            }
                            WireProcessEvent::Exited(status) => ProcessEvent::Exited(status.try_into()?),
                        },
                        Reply::Answer(document) => {
                            let ended: bool = parse(&document)?;
                            self.next = if ended { Next::Ended } else { Next::Ask };
                            continue;
                        }
                        Reply::Data(_) => return Err(malformed("data of a process")),
                    };
                    self.seen += 1;
                    if matches!(event, ProcessEvent::Exited(_)) {
                        // Most who have the result ask for nothing more.
                        let request = Request::Seen { handle: self.handle, seen: self.seen };
                        self.remote.call(&request).await?.finish().answer::<()>().await?;
                    }
                    return Ok(Some(event));
                }
                Next::Ended => return Ok(None),
            }
        }
    }
}

/// What keeps the handle at the helper: our half of the channel, open as long as this lives.
#[derive(Debug)]
struct Open {
    /// Absent while a task feeds the input; that task ends, and lets go, when `_until` is dropped.
    _sender: Mutex<Option<Sender>>,
    _until: Option<oneshot::Sender<()>>,
}

impl Open {
    fn held(sender: Sender) -> Self {
        Self { _sender: Mutex::new(Some(sender)), _until: None }
    }

    fn feeding(mut sender: Sender, content: Content) -> Self {
        let (until, dropped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let feed = async {
                let mut chunks = content.into_stream();
                while let Some(chunk) = chunks.next().await {
                    match chunk {
                        Ok(chunk) => sender.send_all(Mark::Data as u8, chunk).await?,
                        Err(error) => {
                            // The process fails with it, and so do its events.
                            sender.reset(error.message());
                            return Ok(None);
                        }
                    }
                }
                sender.send(Mark::End as u8, Bytes::from_static(&[0])).await?;
                Ok::<_, grainchain_core::Error>(Some(sender))
            };
            // The command may go on reading after its handle is gone: what is fed is fed to the end.
            let sender = feed.await;
            // Said by dropping the other half.
            dropped.await.ok();
            drop(sender);
        });
        Self { _sender: Mutex::new(None), _until: Some(until) }
    }
}

/// Controls a process through its handle.
#[derive(Debug)]
struct RemoteProcess {
    remote: Remote,
    handle: u64,
    _open: Arc<(Open, Call)>,
}

impl RemoteProcess {
    async fn ask(&self, request: Request) -> Result<()> {
        self.remote.call(&request).await?.finish().answer().await
    }
}

#[async_trait]
impl ProcessControl for RemoteProcess {
    async fn write(&self, bytes: Bytes) -> Result<()> {
        self.remote.call(&Request::WriteInput { handle: self.handle }).await?.answer_to(bytes.into()).await
    }

    async fn close_stdin(&self) -> Result<()> {
        self.ask(Request::CloseInput { handle: self.handle }).await
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        self.ask(Request::Signal { handle: self.handle, number: signal.as_raw() }).await
    }

    async fn kill(&self) -> Result<()> {
        self.ask(Request::Kill { handle: self.handle }).await
    }

    async fn resize(&self, size: PtySize) -> Result<()> {
        let PtySize { columns, rows } = size;
        self.ask(Request::Resize { handle: self.handle, columns, rows }).await
    }
}
