//! Locks between programs. The kernel takes them from a killed one at once, and children never inherit them.
//!
//! Every wait is bounded, because a command can hold any of them as long as it likes. The thread that waits goes on when the caller's
//! deadline has passed, so the bounds are below the default deadlines: whoever did not shorten these gets the error that says what holds
//! the lock.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use grainchain_core::{Error, ErrorKind, Result, SandboxId};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::holder::holder;
use crate::layout::{Folder, missing};

/// How long a change waits for that of another program.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long is waited for a lock that programs like this one never hold, or only for a moment, while others want it.
pub(crate) const MOMENT: Duration = Duration::from_secs(5);
const LOCK_FILE: &str = "lock";

/// Held while a sandbox is changed as a whole; given up when dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Folder {
    /// Waits until no other program changes the sandbox. Blocks the thread.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such sandbox (any more), `Conflict` when another program takes too long.
    pub(crate) fn lock(&self, id: &SandboxId) -> Result<Lock> {
        let (path, file) = self.lock_file(id)?;
        if exclude(&path, &file, PATIENCE)? {
            return Ok(Lock { _file: file });
        }
        let (path, holder) = (path.display(), holder(&file));
        let message = format!("the sandbox is being changed at this moment: {holder} holds {path}");
        Err(Error::new(ErrorKind::Conflict, message).hint("try again when it is done, or end it"))
    }

    /// As [`lock`](Self::lock), but does not wait: none when another program is changing the sandbox.
    pub(crate) fn try_lock(&self, id: &SandboxId) -> Result<Option<Lock>> {
        let (path, file) = self.lock_file(id)?;
        Ok(exclude(&path, &file, Duration::ZERO)?.then_some(Lock { _file: file }))
    }

    fn lock_file(&self, id: &SandboxId) -> Result<(PathBuf, File)> {
        let path = self.0.join(LOCK_FILE);
        match self.open_file(LOCK_FILE, OFlags::CREATE | OFlags::RDWR) {
            Ok(file) => Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing(id)),
            Err(error) => Err(Error::io(format_args!("take the lock {}", path.display()), error)),
        }
    }
}

fn exclude(path: &Path, file: &File, patience: Duration) -> Result<bool> {
    take(file, FlockOperation::NonBlockingLockExclusive, patience)
        .map_err(|error| Error::io(format_args!("take the lock {}", path.display()), error))
}

/// The error for a lock at `path` that somebody keeps too long.
pub(crate) fn kept(path: &Path, file: &File) -> Error {
    Error::new(ErrorKind::Conflict, format!("{} is locked by {}", path.display(), holder(file)))
}

/// Takes a lock, trying again for as long as `patience` says. Returns whether it was had.
pub(crate) fn take(file: &File, operation: FlockOperation, patience: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_micros(200);
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => continue,
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
        // The kernel's own waiting knows no deadline.
        park_timeout(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
