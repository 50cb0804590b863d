//! Commands.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use grainchain_core::types::process::ProcessControl;
use grainchain_core::{
    Command, Error, ErrorKind, OutputStream, ProcessEvent, ProcessId, ProcessInfo, ProcessState, PtySize,
    Result, Signal, Stdin,
};

use super::Inside;
use super::conversation::Conversation;
use super::handles::{Follow, Handles};
use crate::message::{Mark, WireCommand, WireOutput, WireProcessEvent, WireStarted, WireStdin};
use crate::processes::shown;

/// How much output is told at once.
const BATCH: usize = 512 * 1024;

pub(super) async fn execute(inside: &Inside, command: WireCommand, talk: &mut Conversation) -> Result<()> {
    let stdin = match command.stdin {
        WireStdin::Content { length } => Stdin::Content(talk.content(length)?),
        WireStdin::Piped => Stdin::Piped,
        WireStdin::Null => Stdin::Null,
    };
    let output = talk.unless_gone(inside.exec.execute(command.into_command(stdin))).await?;
    let (document, pieces) = WireOutput::new(&output);
    talk.answer_with(pieces, &document).await
}

/// Ready when the client has let go of the process's handle.
type LetGo = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) async fn spawn(
    inside: &Inside,
    handles: &Handles,
    command: WireCommand,
    talk: &mut Conversation,
) -> Result<()> {
    let (stdin, let_go): (_, LetGo) = match command.stdin {
        WireStdin::Content { length } => {
            let (content, pump) = talk.input(length)?;
            (Stdin::Content(content), Box::pin(pump))
        }
        WireStdin::Piped => (Stdin::Piped, Box::pin(talk.let_go()?)),
        WireStdin::Null => (Stdin::Null, Box::pin(talk.let_go()?)),
    };
    let command: Command = command.into_command(stdin);
    let (command_line, pty) = (shown(&command.program), command.pty.is_some());
    let process = talk.unless_gone(inside.processes.spawn(command)).await?;
    let mut info =
        ProcessInfo::new(process.id().clone(), command_line, ProcessState::Running, SystemTime::now());
    info.pty = pty;
    let control = process.control();
    hold(handles, control, Follow::new(info, Some(process), VecDeque::new()), let_go, talk).await
}

pub(super) async fn attach(
    inside: &Inside,
    handles: &Handles,
    id: &ProcessId,
    talk: &mut Conversation,
) -> Result<()> {
    let let_go = Box::pin(talk.let_go()?);
    let parked = handles.unpark(id);
    let attached = talk.unless_gone(inside.processes.attach(id)).await;
    let (control, follow) = match (attached, parked) {
        (Ok(process), parked) => {
            let told = parked.map(Follow::into_told).unwrap_or_default();
            let info = ProcessInfo::new(id.clone(), String::new(), ProcessState::Running, SystemTime::now());
            (process.control(), Follow::new(info, Some(process), told))
        }
        // Its end was told before: all that is left of it is what was not confirmed.
        (Err(error), Some(parked)) if error.kind() == ErrorKind::NotFound => {
            let control: Arc<dyn ProcessControl> = Arc::new(Ended);
            let info = parked.info.clone();
            (control, Follow::new(info, None, parked.into_told()))
        }
        (Err(error), _) => return Err(error),
    };
    hold(handles, control, follow, let_go, talk).await
}

/// Keeps a process's handle until the client lets go of it.
async fn hold(
    handles: &Handles,
    control: Arc<dyn ProcessControl>,
    follow: Follow,
    let_go: LetGo,
    talk: &mut Conversation,
) -> Result<()> {
    let id = follow.info.id.as_str().to_owned();
    let held = handles.hold(control, follow);
    talk.event(&WireStarted { id, handle: held.handle }).await?;
    let_go.await;
    Ok(())
}

/// Tells what a process does next, after the `seen` events that the client has seen.
pub(super) async fn next(handles: &Handles, handle: u64, seen: u64, talk: &mut Conversation) -> Result<()> {
    let follow = handles.follow(handle)?;
    let mut follow = follow.lock().await;
    follow.confirm(seen)?;
    if let Err(error) = talk.unless_gone(follow.advance(BATCH)).await {
        follow.ended |= error.kind() != ErrorKind::Connection;
        return Err(error);
    }
    for event in follow.untold() {
        match event {
            ProcessEvent::Stdout(bytes) => talk.bytes(Mark::Stdout, bytes.clone()).await?,
            ProcessEvent::Stderr(bytes) => talk.bytes(Mark::Stderr, bytes.clone()).await?,
            ProcessEvent::Dropped { stream, bytes } => {
                let stderr = *stream == OutputStream::Stderr;
                talk.event(&WireProcessEvent::Dropped { stderr, bytes: *bytes }).await?;
            }
            ProcessEvent::Exited(status) => talk.event(&WireProcessEvent::Exited((*status).into())).await?,
            _ => {}
        }
    }
    talk.answer(&follow.ended).await
}

/// The control of what has ended and is known no more.
#[derive(Debug)]
struct Ended;

impl Ended {
    fn error() -> Error {
        Error::not_found("the process has ended")
    }
}

#[async_trait]
impl ProcessControl for Ended {
    async fn write(&self, _bytes: Bytes) -> Result<()> {
        Err(Self::error())
    }

    async fn close_stdin(&self) -> Result<()> {
        Ok(())
    }

    async fn signal(&self, _signal: Signal) -> Result<()> {
        Err(Self::error())
    }

    async fn kill(&self) -> Result<()> {
        Ok(())
    }

    async fn resize(&self, _size: PtySize) -> Result<()> {
        Err(Self::error())
    }
}
