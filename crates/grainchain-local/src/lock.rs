//! Locks between programs. The kernel takes them from a killed one at once, and children never inherit them.

use std::fs::File;
use std::io;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use grainchain_core::{Error, ErrorKind, Result, SandboxId};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::layout::{Folder, missing};

/// How long a change waits for that of another program. Bounded, because a command can hold our locks as long as it likes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
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
    pub(crate) fn lock(&self, id: &SandboxId, patience: Duration) -> Result<Lock> {
        let path = self.0.join(LOCK_FILE);
        let fail = |error| Error::io(format_args!("take the lock {}", path.display()), error);
        let file = match self.open_file(LOCK_FILE, OFlags::CREATE | OFlags::RDWR) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(id)),
            file => file.map_err(fail)?,
        };
        let op = FlockOperation::NonBlockingLockExclusive;
        if !take(&file, op, patience).map_err(fail)? {
            let message = "another program is changing the sandbox at this moment";
            return Err(Error::new(ErrorKind::Conflict, message)
                .hint(format!("try again when it is done, or end what holds {}", path.display())));
        }
        Ok(Lock { _file: file })
    }
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
