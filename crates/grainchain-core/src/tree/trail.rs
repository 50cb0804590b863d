//! The way from a directory down to another one, with a bounded number of open descriptors

use std::collections::VecDeque;
use std::ffi::{CStr, CString};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Opens a directory for lookups only, which needs no read permission.
#[cfg(target_os = "linux")]
pub(super) const LOOKUP: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
pub(super) const LOOKUP: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory for reading its entries.
pub(super) const READ_DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// Deeper levels stay open, older ones are found again by name: a tree may be deeper than the number of
/// descriptors that a process may hold.
const KEEP: usize = 48;

/// A chain of directories below `base`, each opened in its parent without following links.
///
/// Going up never opens `..`, which somebody may have moved elsewhere in the meantime: it returns to the
/// descriptor it came from, or walks down again from `base`.
#[derive(Debug)]
pub(super) struct Trail<'b> {
    base: BorrowedFd<'b>,
    flags: OFlags,
    names: Vec<CString>,
    open: VecDeque<OwnedFd>,
}

impl<'b> Trail<'b> {
    pub(super) fn new(base: BorrowedFd<'b>, flags: OFlags) -> Self {
        Self { base, flags, names: Vec::new(), open: VecDeque::new() }
    }

    pub(super) fn here(&self) -> BorrowedFd<'_> {
        self.open.back().map_or(self.base, AsFd::as_fd)
    }

    pub(super) fn names(&self) -> &[CString] {
        &self.names
    }

    /// Opens the directory `name` of the current one, without following a link.
    pub(super) fn open_child(&self, name: &CStr) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(self.here(), name, self.flags, Mode::empty())
    }

    /// Steps into a directory that `open_child` opened.
    pub(super) fn push(&mut self, name: CString, directory: OwnedFd) {
        self.names.push(name);
        self.keep(directory);
    }

    fn keep(&mut self, directory: OwnedFd) {
        if self.open.len() == KEEP {
            self.open.pop_front();
        }
        self.open.push_back(directory);
    }

    /// Steps back so that `depth` names remain.
    pub(super) fn truncate(&mut self, depth: usize) -> Result<(), Errno> {
        while self.names.len() > depth {
            self.names.pop();
            self.open.pop_back();
        }
        if self.open.is_empty() && !self.names.is_empty() { self.reopen() } else { Ok(()) }
    }

    fn reopen(&mut self) -> Result<(), Errno> {
        for index in 0..self.names.len() {
            let directory = rustix::fs::openat(self.here(), &self.names[index], self.flags, Mode::empty());
            match directory {
                Ok(directory) => self.keep(directory),
                Err(errno) => {
                    // A half-walked trail would make `here` a wrong place: forget all of it.
                    self.names.clear();
                    self.open.clear();
                    return Err(errno);
                }
            }
        }
        Ok(())
    }

    /// The directory the trail ends in, or none when that is the base.
    pub(super) fn into_here(mut self) -> Option<OwnedFd> {
        self.open.pop_back()
    }
}
