//! Who holds a sandbox: a file lock, which the kernel takes from a killed process at once.

use std::fs::File;
use std::path::Path;

use grainchain_core::{Error, Result};
use rustix::fs::{FlockOperation, flock};

/// Held by every client that created or connected to a sandbox; given up when dropped, also by a kill.
#[derive(Debug)]
pub(crate) struct Lease {
    _file: File,
}

impl Lease {
    /// Takes a share of the lease. Any number of clients hold one at a time.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let fail = |error| Error::io(format_args!("take the lease {}", path.display()), error);
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(fail)?;
        flock(&file, FlockOperation::LockShared).map_err(|error| fail(error.into()))?;
        Ok(Self { _file: file })
    }
}

/// Whether any client holds the lease; none when that cannot be told.
pub(crate) fn is_held(path: &Path) -> Option<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return (error.kind() == std::io::ErrorKind::NotFound).then_some(false),
    };
    // Dropping the file gives the lock up again at once.
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Some(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Some(true),
        Err(_) => None,
    }
}
