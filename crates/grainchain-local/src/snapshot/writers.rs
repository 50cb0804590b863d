//! Which files live processes can change without leaving a trace in their time stamps.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::attrs::Time;
use super::error::{At, Result};

/// What is known about processes that may write to the workspace.
#[derive(Clone, Debug, Default)]
pub(crate) enum Writers {
    /// Nothing is known, so every file is compared by content: slow and right.
    #[default]
    Unknown,
    /// These and no others, as seen just before the snapshot.
    Seen(LiveWriters),
}

/// The files that a set of processes holds open for writing or has mapped as shared.
///
/// A store through a mapping changes a page without a new time stamp once that page is dirty, and a `write` sets the
/// time stamp *before* it copies the data, which a hostile process can delay as long as it likes. Time stamps
/// therefore say nothing about such files. A file is recognised by its inode number alone, because `/proc` and
/// `stat` disagree about devices on some file systems; a coincidence costs a comparison and nothing else.
///
/// Not seen: a descriptor in flight over a Unix socket or registered with `io_uring` and closed since, and processes
/// that were not named. Stop the processes before a snapshot if that matters.
#[derive(Clone, Debug)]
pub(crate) struct LiveWriters {
    inodes: HashSet<u64>,
    since: Time,
}

impl LiveWriters {
    /// Collects from `/proc` what these processes can change. Processes that are gone are passed over.
    ///
    /// # Errors
    ///
    /// An entry of `/proc` cannot be read, above all for want of permission.
    pub(crate) fn of_processes(pids: impl IntoIterator<Item = u32>) -> Result<Self> {
        let mut seen = Self::none();
        for pid in pids {
            let maps = format!("/proc/{pid}/maps");
            gone_is_empty(seen.add_mappings(&maps)).at("read", &maps)?;
            let fds = format!("/proc/{pid}/fd");
            gone_is_empty(seen.add_descriptors(&fds)).at("read", &fds)?;
        }
        Ok(seen)
    }

    /// The caller vouches that no living process can write to the workspace.
    pub(crate) fn none() -> Self {
        Self { inodes: HashSet::new(), since: Time::now() }
    }

    pub(super) fn since(&self) -> Time {
        self.since
    }

    pub(super) fn holds(&self, ino: u64) -> bool {
        self.inodes.contains(&ino)
    }

    fn add_mappings(&mut self, path: &str) -> io::Result<()> {
        // `7f…-7f… rw-s 00000000 fe:00 1234  /path`. Every shared mapping counts: one that is read-only now can be
        // made writable, and its dirty pages then change without a fault.
        for line in fs::read(path)?.split(|byte| *byte == b'\n') {
            let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
            let shared = fields.nth(1).is_some_and(|permissions| permissions.ends_with(b"s"));
            let ino = fields.nth(2).and_then(|ino| std::str::from_utf8(ino).ok()?.parse().ok());
            if let Some(ino) = ino.filter(|ino| shared && *ino != 0) {
                self.inodes.insert(ino);
            }
        }
        Ok(())
    }

    fn add_descriptors(&mut self, path: &str) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            let inspect = || -> io::Result<Option<u64>> {
                // The permission bits of the link itself say how the file was opened.
                let writable = fs::symlink_metadata(&path)?.permissions().mode() & 0o200 != 0;
                Ok(if writable { Some(fs::metadata(&path)?.ino()) } else { None })
            };
            match inspect() {
                Ok(ino) => self.inodes.extend(ino),
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_gone(error: &io::Error) -> bool {
    let esrch = rustix::io::Errno::SRCH.raw_os_error();
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(esrch)
}

fn gone_is_empty(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })
}
