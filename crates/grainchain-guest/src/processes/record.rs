//! One spawned process as its guest remembers it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use grainchain_core::{Effect, Error, ErrorKind, ExitStatus, ProcessId};
use tokio::sync::Notify;

use super::journal::Journal;
use crate::ending::Tree;
use crate::sys::pipe::Writer;
use crate::sys::pty::Control;

/// Shared by the table, the task that reads its output, and all handles.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: ProcessId,
    pub(super) tree: Tree,
    /// Shortened.
    pub(super) command: String,
    pub(super) started_at: SystemTime,
    pub(super) terminal: Option<Arc<Control>>,
    pub(super) stdin: tokio::sync::Mutex<Option<Writer>>,
    /// Whether there ever was something to write to.
    pub(super) writable: bool,
    /// Present once it has ended. Held while it is reaped or signalled, so that a signal never meets a reused number.
    pub(super) status: Mutex<Option<ExitStatus>>,
    journal: Mutex<Journal>,
    /// The task that reads waits here for room.
    pub(super) room: Notify,
}

impl Record {
    pub(super) fn new(
        id: ProcessId,
        tree: Tree,
        command: String,
        started_at: SystemTime,
        terminal: Option<Arc<Control>>,
        stdin: Option<Writer>,
    ) -> Self {
        Self {
            id,
            tree,
            command,
            started_at,
            terminal,
            writable: stdin.is_some(),
            stdin: tokio::sync::Mutex::new(stdin),
            status: Mutex::new(None),
            journal: Mutex::new(Journal::new()),
            room: Notify::new(),
        }
    }

    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `journal` away from the caller's thread and wakes the reading task if there is room for it now.
    pub(super) fn wake_writer(&self, mut journal: MutexGuard<'_, Journal>) {
        let wake = journal.may_wake_writer();
        drop(journal);
        if wake {
            self.room.notify_one();
        }
    }
}

/// Why a process's events end with an error. Kept as data because every reader gets an error of its own.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// It ran out of time; what survived, if something did.
    Overdue { timeout: Duration, left: Option<String> },
    /// Its input failed, and it was killed for that.
    Input { kind: ErrorKind, message: String },
    /// Its output could not be read.
    Output { kind: ErrorKind, message: String },
    /// The runtime that read its output is gone.
    Unattended,
}

impl Failure {
    pub(super) fn input(error: &Error) -> Self {
        Self::Input { kind: error.kind(), message: error.message().to_owned() }
    }

    pub(super) fn output(error: &Error) -> Self {
        Self::Output { kind: error.kind(), message: error.message().to_owned() }
    }

    pub(super) fn to_error(&self) -> Error {
        match self {
            Self::Overdue { timeout, left } => {
                let message =
                    format!("the process was killed because it ran longer than its timeout of {timeout:?}");
                let error = match left {
                    None => Error::new(ErrorKind::Timeout, message),
                    Some(left) => {
                        Error::new(ErrorKind::Timeout, format!("{message}, but not completely: {left}"))
                    }
                };
                error.hint("raise the timeout or leave it out").effect(Effect::Done)
            }
            Self::Input { kind, message } => {
                Error::new(*kind, format!("the process was killed because its input failed: {message}"))
            }
            Self::Output { kind, message } => Error::new(*kind, message.clone()),
            Self::Unattended => {
                Error::new(ErrorKind::Connection, "the runtime that followed the process has shut down")
                    .hint("keep the runtime in which a process was spawned until it has ended")
            }
        }
    }
}
