//! Watching directories that are new, and telling of what they hold already.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use grainchain_core::{Result, WatchKind};
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use super::inotify::{ENTRIES, Raw, refused};
use super::nodes::Circle;
use super::resolve;
use super::tracker::{MOST_FOUND, Tracker, is_temporary};
use crate::files::dirs;

/// Whether entries that are found are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finds {
    Tell,
    Keep,
}

/// Directories to be watched: the one above, and the name there.
type Waiting = Vec<(i32, Vec<u8>)>;

impl Tracker {
    /// Watches everything below the top without a word.
    pub(super) fn grow_top(&mut self) -> Result<()> {
        let Some(directory) = self.open(self.top) else { return Ok(()) };
        let mut waiting = Waiting::new();
        self.scan(self.top, directory.as_fd(), Finds::Keep, &mut waiting);
        self.grow(waiting, Finds::Keep)
    }

    /// Watches the directory that has a name now, if it is one.
    pub(super) fn grow_if_recursive(&mut self, entry: &Raw) -> Result<()> {
        if self.recursive {
            self.grow(vec![(entry.wd, entry.name.clone())], Finds::Tell)?;
        }
        Ok(())
    }

    /// Watches the directories that wait, and all below.
    pub(super) fn grow(&mut self, mut waiting: Waiting, finds: Finds) -> Result<()> {
        let mut above: Option<(i32, OwnedFd)> = None;
        while let Some((parent, name)) = waiting.pop() {
            if above.as_ref().is_none_or(|(wd, _)| *wd != parent) {
                above = self.open(parent).map(|directory| (parent, directory));
            }
            let Some((_, directory)) = &above else {
                // It has been moved; once the kernel has told where to, `settle` looks again.
                self.stale.insert(parent);
                continue;
            };
            // Gone again, no directory any more, or not ours to read.
            let opened = rustix::fs::openat(directory, name.as_slice(), dirs::READ, Mode::empty());
            let Ok(child) = opened else { continue };
            if let Some(wd) = self.watch(parent, &name, child.as_fd())? {
                self.scan(wd, child.as_fd(), finds, &mut waiting);
            }
        }
        Ok(())
    }

    /// Watches an open directory as `name` in `parent`.
    fn watch(&mut self, parent: i32, name: &[u8], directory: BorrowedFd<'_>) -> Result<Option<i32>> {
        let Ok(identity) = resolve::identity(directory) else { return Ok(None) };
        let elsewhere = self.nodes.get(parent).is_some_and(|node| node.identity.0 != identity.0);
        if elsewhere && is_kernels(directory) {
            return Ok(None);
        }
        let wd = match self.inotify.add(directory, ENTRIES) {
            Ok(wd) => wd,
            Err(errno @ (Errno::NOSPC | Errno::NOMEM)) => {
                let path = self.nodes.path_in(parent, name);
                return Err(refused(format_args!("watch {:?}", String::from_utf8_lossy(&path)), errno));
            }
            Err(_) => return Ok(None),
        };
        if self.nodes.child(parent, name).is_some_and(|other| other != wd) {
            self.drop_child(parent, name);
        }
        match self.nodes.place(wd, parent, name, identity) {
            Ok(()) => Ok(Some(wd)),
            Err(Circle) => {
                self.confused = true;
                Ok(None)
            }
        }
    }

    /// Looks through a directory that is watched already.
    fn scan(&mut self, wd: i32, directory: BorrowedFd<'_>, finds: Finds, waiting: &mut Waiting) {
        let path = self.nodes.path(wd);
        let mut told = false;
        let looked = dirs::each::<Errno>(directory, |name, kind| {
            let is_directory = match kind {
                FileType::Unknown => dirs::stat(directory, name)
                    .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
                kind => kind == FileType::Directory,
            };
            let name = name.to_bytes();
            if is_directory {
                waiting.push((wd, name.to_vec()));
            }
            if finds == Finds::Keep || (!is_directory && is_temporary(name)) {
                return Ok(());
            }
            if self.events.len() >= MOST_FOUND {
                self.flooded = true;
                return Ok(());
            }
            told = true;
            self.tell(&dirs::join(&path, name), WatchKind::Created);
            if let Some(node) = self.nodes.get_mut(wd) {
                node.found.insert(name.to_vec());
            }
            Ok(())
        });
        if told {
            self.found_in.push((self.batch, wd));
        }
        if looked.is_err() {
            // It went away while we looked; if not, it is worth another look.
            self.stale.insert(wd);
        }
    }

    /// Looks again into directories that were elsewhere, for subdirectories that nobody watches.
    pub(super) fn settle(&mut self) -> Result<()> {
        for wd in std::mem::take(&mut self.stale) {
            if self.nodes.get(wd).is_none() {
                continue;
            }
            let Some(directory) = self.open(wd) else {
                self.stale.insert(wd);
                continue;
            };
            let mut waiting = Waiting::new();
            self.scan(wd, directory.as_fd(), Finds::Keep, &mut waiting);
            waiting.retain(|(parent, name)| self.nodes.child(*parent, name).is_none());
            self.grow(waiting, Finds::Tell)?;
        }
        Ok(())
    }

    pub(super) fn drop_child(&mut self, parent: i32, name: &[u8]) {
        if let Some(wd) = self.nodes.child(parent, name) {
            self.drop_node(wd);
        }
    }

    pub(super) fn drop_node(&mut self, wd: i32) {
        for gone in self.nodes.take_out(wd) {
            self.stale.remove(&gone);
            self.inotify.remove(gone);
        }
    }
}

/// Process tables and the like never say when they change, and have no end.
#[allow(clippy::unnecessary_cast, reason = "the field types differ between architectures")]
fn is_kernels(directory: BorrowedFd<'_>) -> bool {
    const PROC: u64 = 0x9fa0;
    const SYSFS: u64 = 0x6265_6572;
    const CGROUP2: u64 = 0x6367_7270;
    rustix::fs::fstatfs(directory).is_ok_and(|system| matches!(system.f_type as u64, PROC | SYSFS | CGROUP2))
}
