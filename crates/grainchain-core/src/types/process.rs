//! A running command: its events and its control.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::types::command::PtySize;
use crate::types::id::ProcessId;
use crate::types::output::ExitStatus;
use crate::types::signal::Signal;

/// One of the two streams that a process writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputStream {
    /// Standard output; also everything on a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a process did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessEvent {
    /// It runs. The first event of every stream.
    Started,
    /// It wrote these bytes to stdout.
    Stdout(Bytes),
    /// It wrote these bytes to stderr.
    Stderr(Bytes),
    /// These many bytes were lost because nobody was attached and the buffer was full.
    Dropped {
        /// The stream.
        stream: OutputStream,
        /// How many.
        bytes: u64,
    },
    /// The command itself ended. Output of children that it left behind may still follow.
    Exited(ExitStatus),
}

/// The events of a process, in order, until all its output is closed. An error ends the stream.
pub type ProcessEvents = Pin<Box<dyn Stream<Item = Result<ProcessEvent>> + Send>>;

/// What can be done to a process while it runs. Written by providers.
#[async_trait]
pub trait ProcessControl: fmt::Debug + Send + Sync + 'static {
    /// Writes all of `bytes` to its stdin; waits while the pipe is full.
    async fn write(&self, bytes: Bytes) -> Result<()>;

    /// Closes its stdin, so that it reads the end. On a terminal this sends the end-of-file character.
    async fn close_stdin(&self) -> Result<()>;

    /// Sends `signal` to the process itself and to the other members of its process group.
    async fn signal(&self, signal: Signal) -> Result<()>;

    /// Kills it and everything it started, whatever these did to get away.
    async fn kill(&self) -> Result<()>;

    /// Changes the size of its terminal.
    async fn resize(&self, size: PtySize) -> Result<()>;
}

/// A running command.
///
/// A handle: dropping it leaves the process running. While a handle is held and not read, the process waits once its pipe is
/// full; when none is held, the newest output is kept for a later [`attach`](crate::Sandbox::attach).
pub struct Process {
    id: ProcessId,
    events: ProcessEvents,
    control: Arc<dyn ProcessControl>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Puts a process together. For providers.
    pub fn new(id: ProcessId, events: ProcessEvents, control: Arc<dyn ProcessControl>) -> Self {
        Self { id, events, control, status: None }
    }

    /// Its name within the sandbox, for `attach`.
    pub fn id(&self) -> &ProcessId {
        &self.id
    }

    /// The next event; none when the process ended and all its output was closed.
    ///
    /// # Errors
    ///
    /// `Timeout` when its timeout passed (the tree is dead then), `Connection` when the sandbox cannot be reached any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<ProcessEvent>> {
        let event = self.events.next().await.transpose()?;
        if let Some(ProcessEvent::Exited(status)) = &event {
            self.status = Some(*status);
        }
        Ok(event)
    }

    /// Waits for the command itself to end, throwing its remaining output away.
    ///
    /// # Errors
    ///
    /// As for [`next`](Self::next), and `Connection` when the events end without a status.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.status {
                return Ok(status);
            }
            if self.next().await?.is_none() && self.status.is_none() {
                return Err(Error::new(
                    crate::ErrorKind::Connection,
                    format!("the events of process {} ended before its exit status", self.id),
                ));
            }
        }
    }

    /// How the command ended, once that event was read.
    pub const fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// The control, to keep in another task.
    pub fn control(&self) -> Arc<dyn ProcessControl> {
        Arc::clone(&self.control)
    }

    /// The events and the control apart.
    pub fn into_parts(self) -> (ProcessEvents, Arc<dyn ProcessControl>) {
        (self.events, self.control)
    }

    /// Changes what the events go through. For layers.
    #[must_use]
    pub fn map_events(self, wrap: impl FnOnce(ProcessEvents) -> ProcessEvents) -> Self {
        Self { events: wrap(self.events), ..self }
    }

    /// Changes what the control goes through. For layers.
    #[must_use]
    pub fn map_control(self, wrap: impl FnOnce(Arc<dyn ProcessControl>) -> Arc<dyn ProcessControl>) -> Self {
        Self { control: wrap(self.control), ..self }
    }

    /// Writes to its stdin.
    ///
    /// # Errors
    ///
    /// `Conflict` when stdin was not piped or is closed, `Connection` when the process reads no more.
    pub fn write(&self, bytes: impl Into<Bytes>) -> impl Future<Output = Result<()>> + Send {
        let (control, bytes) = (&self.control, bytes.into());
        async move { control.write(bytes).await }
    }

    /// Closes its stdin.
    ///
    /// # Errors
    ///
    /// `Conflict` when stdin was not piped.
    pub fn close_stdin(&self) -> impl Future<Output = Result<()>> + Send {
        self.control.close_stdin()
    }

    /// Sends a signal to it and its process group.
    ///
    /// # Errors
    ///
    /// `NotFound` when it has ended.
    pub fn signal(&self, signal: Signal) -> impl Future<Output = Result<()>> + Send {
        self.control.signal(signal)
    }

    /// Kills it with everything it started. Killing what has ended is no error.
    ///
    /// # Errors
    ///
    /// When something survives, naming it.
    pub fn kill(&self) -> impl Future<Output = Result<()>> + Send {
        self.control.kill()
    }

    /// Changes the size of its terminal.
    ///
    /// # Errors
    ///
    /// `Conflict` when it has no terminal.
    pub fn resize(&self, size: PtySize) -> impl Future<Output = Result<()>> + Send {
        self.control.resize(size)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("id", &self.id).field("status", &self.status).finish_non_exhaustive()
    }
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ProcessState {
    /// It runs or waits.
    Running,
    /// It is frozen or stopped by a signal.
    Stopped,
    /// It ended; its result can still be fetched.
    Exited(ExitStatus),
}

/// A process as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// Its name within the sandbox.
    pub id: ProcessId,
    /// The number that the sandbox's own system gave it, where known.
    pub pid: Option<u32>,
    /// Its command line, shortened.
    pub command: String,
    /// What it is doing.
    pub state: ProcessState,
    /// When it was started.
    #[serde(serialize_with = "super::timestamp::serialize")]
    pub started_at: SystemTime,
    /// Whether it has a terminal.
    pub pty: bool,
}

impl ProcessInfo {
    /// A process `id` in `state`.
    pub fn new(
        id: ProcessId,
        command: impl Into<String>,
        state: ProcessState,
        started_at: SystemTime,
    ) -> Self {
        Self { id, pid: None, command: command.into(), state, started_at, pty: false }
    }
}
