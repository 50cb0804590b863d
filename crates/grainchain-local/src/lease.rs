//! Who holds a sandbox: a file lock, which the kernel takes from a killed process at once.

use std::fs::File;
use std::io;
use std::time::Duration;

use grainchain_core::{Error, Result};
use rustix::fs::{FlockOperation, OFlags, flock};

use crate::layout::Folder;
use crate::lock::{MOMENT, kept, take};

const LEASE_FILE: &str = "lease";
/// Far longer than it takes others to look whether the lease is held; a client keeps its share for good.
const A_LOOK: Duration = Duration::from_millis(100);

/// Held by every client that created or connected to a sandbox; given up when dropped, also by a kill.
#[derive(Debug)]
pub(crate) struct Lease {
    _file: File,
}

impl Lease {
    /// Takes a share of the lease. Any number of clients hold one at a time. Blocks the thread.
    pub(crate) fn take(folder: &Folder) -> Result<Self> {
        let path = folder.0.join(LEASE_FILE);
        let fail = |error| Error::io(format_args!("take the lease {}", path.display()), error);
        let file = folder.open_file(LEASE_FILE, OFlags::CREATE | OFlags::RDONLY).map_err(fail)?;
        if !take(&file, FlockOperation::NonBlockingLockShared, MOMENT).map_err(fail)? {
            return Err(kept(&path, &file).hint("end it, or remove the sandbox"));
        }
        Ok(Self { _file: file })
    }
}

/// While it is held nobody holds a share of the lease or gets one.
#[derive(Debug)]
pub(crate) struct Exclusion {
    _file: File,
}

impl Exclusion {
    /// None when a client holds a share. Blocks the thread.
    pub(crate) fn take(folder: &Folder) -> Result<Option<Self>> {
        let path = folder.0.join(LEASE_FILE);
        let fail = |error| Error::io(format_args!("take the lease {}", path.display()), error);
        // Made where it is missing, so that whoever connects meets it. For writing, as below.
        let file = folder.open_file(LEASE_FILE, OFlags::CREATE | OFlags::RDWR).map_err(fail)?;
        let taken = take(&file, FlockOperation::NonBlockingLockExclusive, A_LOOK).map_err(fail)?;
        Ok(taken.then_some(Self { _file: file }))
    }
}

/// Whether any client holds the lease; none when that cannot be told.
pub(crate) fn is_held(folder: &Folder) -> Option<bool> {
    // For writing, because a network file system locks exclusively only what is open for that.
    let held = match folder.open_file(LEASE_FILE, OFlags::RDWR) {
        // Dropping the file gives the lock up again at once.
        Ok(file) => match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Some(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Some(true),
            Err(_) => None,
        },
        Err(error) => (error.kind() == io::ErrorKind::NotFound).then_some(false),
    };
    // Nothing can be said of a folder that is just being moved away by whoever ends the sandbox.
    held.filter(|held| *held || !folder.is_gone())
}
