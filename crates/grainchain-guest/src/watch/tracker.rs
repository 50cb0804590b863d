//! From what the kernel says to what has happened in the tree.

use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grainchain_core::tree::Root;
use grainchain_core::{Error, Result, WatchEvent, WatchKind};
use rustix::fs::inotify::ReadFlags;

use super::inotify::{ENTRIES, Inotify, Queue, REMOVALS, Raw};
use super::nodes::Nodes;
use super::resolve;
use crate::files::dirs;

/// How long the second half of a rename may take to follow the first. The kernel queues both in one go.
const SECOND_HALF: Duration = Duration::from_millis(50);

/// How many changes may come between the two at most.
const BETWEEN: usize = 16 * 1024;

/// How many finds in a new directory are told one by one; a tree of a million files is an overflow.
/// Fewer in tests, which would take long to make so many.
pub(super) const MOST_FOUND: usize = if cfg!(test) { 2_000 } else { 100_000 };

/// How many renames are remembered, to recognise one that is half of an exchange.
const REMEMBERED: usize = 16;

/// What a rename has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    Directory,
    File,
}

/// A directory and a name in it.
type Entry = (i32, Vec<u8>);

/// Everything about one watch. Blocks.
#[derive(Debug)]
pub(super) struct Tracker {
    pub(super) inotify: Inotify,
    /// What is watched, or holds the file that is.
    pub(super) directory: OwnedFd,
    file: Option<Vec<u8>>,
    pub(super) recursive: bool,
    pub(super) top: i32,
    /// The directory above the watched one, and the name that it has there.
    above: Option<(i32, Vec<u8>)>,
    pub(super) nodes: Nodes,
    raw: VecDeque<Raw>,
    pub(super) events: VecDeque<WatchEvent>,
    /// Directories that could not be looked through because they were elsewhere by then.
    pub(super) stale: HashSet<i32>,
    /// Directories with entries in `found`, each with the batch in which they were found.
    pub(super) found_in: Vec<(u64, i32)>,
    pub(super) batch: u64,
    /// The latest renames, from and to.
    renames: VecDeque<(Entry, Entry, Moved)>,
    awaiting: Option<Instant>,
    /// What is known of the tree contradicts itself.
    pub(super) confused: bool,
    /// More was found than is told.
    pub(super) flooded: bool,
    ended: bool,
}

impl Tracker {
    pub(super) fn start(root: &Root, path: &Path, recursive: bool) -> Result<Self> {
        let target = resolve::target(root, path)?;
        let inotify = Inotify::new()?;
        let fail = |errno| resolve::failed(path, errno);
        let top = inotify.add(target.directory.as_fd(), ENTRIES).map_err(fail)?;
        let identity = resolve::identity(target.directory.as_fd()).map_err(fail)?;
        let mut above = None;
        if target.file.is_none()
            && let Some((parent, name)) = resolve::above(target.directory.as_fd())
            && resolve::identity(parent.as_fd()) != Ok(identity)
        {
            // Where it may not be watched, the end goes unnoticed and nothing else.
            above = inotify.add(parent.as_fd(), REMOVALS).ok().map(|wd| (wd, name));
        }
        let mut tracker = Self {
            inotify,
            directory: target.directory,
            recursive: recursive && target.file.is_none(),
            file: target.file,
            top,
            above,
            nodes: Nodes::default(),
            raw: VecDeque::new(),
            events: VecDeque::new(),
            stale: HashSet::new(),
            found_in: Vec::new(),
            batch: 0,
            renames: VecDeque::new(),
            awaiting: None,
            confused: false,
            flooded: false,
            ended: false,
        };
        tracker.nodes.insert_top(top, identity);
        if tracker.recursive {
            tracker.grow_top()?;
            // Somebody moves directories about already: the events to come will tell.
            tracker.confused = false;
        }
        Ok(tracker)
    }

    pub(super) fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.inotify.0)
    }

    pub(super) fn take(&mut self) -> Option<WatchEvent> {
        self.events.pop_front()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn is_file_watch(&self) -> bool {
        self.file.is_some()
    }

    /// Until when the second half of a rename is waited for.
    pub(super) fn awaits_second_half(&self) -> Option<Instant> {
        self.awaiting
    }

    /// Works off what the kernel has queued.
    pub(super) fn advance(&mut self) -> Result<Queue> {
        let overdue = self.awaiting.is_some_and(|until| Instant::now() >= until);
        let queue =
            self.inotify.read(&mut self.raw).map_err(|errno| Error::io("read changes", errno.into()))?;
        self.batch += 1;
        let waited = self.awaiting.take();
        let mut first = true;
        while !self.ended
            && let Some(raw) = self.raw.pop_front()
        {
            if raw.flags.contains(ReadFlags::MOVED_FROM) {
                let second = self.raw.iter().position(|other| {
                    other.flags.contains(ReadFlags::MOVED_TO) && other.cookie == raw.cookie
                });
                match second.and_then(|index| self.raw.remove(index)) {
                    Some(second) => self.rename(&raw, &second)?,
                    // Only the one that was waited for is late.
                    None if (first && overdue) || self.raw.len() > BETWEEN => self.moved_out(&raw)?,
                    None => {
                        let until = waited.filter(|_| first).unwrap_or_else(|| Instant::now() + SECOND_HALF);
                        self.awaiting = Some(until);
                        self.raw.push_front(raw);
                        break;
                    }
                }
            } else {
                self.handle(&raw)?;
            }
            first = false;
            self.recover()?;
        }
        if self.raw.is_empty() && queue == Queue::Empty && !self.ended {
            self.settle()?;
            self.recover()?;
            self.forget_found();
        }
        Ok(queue)
    }

    /// Starts again where the tree has turned out to be different from what was known.
    fn recover(&mut self) -> Result<()> {
        if self.confused {
            self.resync()?;
        }
        if std::mem::take(&mut self.flooded) {
            self.tell(b"", WatchKind::Overflow);
        }
        Ok(())
    }

    pub(super) fn resync(&mut self) -> Result<()> {
        let old: HashSet<_> = self.nodes.numbers().collect();
        let identity = self.nodes.get(self.top).map(|node| node.identity).unwrap_or_default();
        self.nodes = Nodes::default();
        self.nodes.insert_top(self.top, identity);
        self.stale.clear();
        self.found_in.clear();
        if self.recursive {
            self.grow_top()?;
        }
        self.confused = false;
        for wd in old {
            if self.nodes.get(wd).is_none() {
                self.inotify.remove(wd);
            }
        }
        // Last, so that whoever looks now sees at least as much as what was missed.
        self.flooded = true;
        Ok(())
    }

    fn handle(&mut self, raw: &Raw) -> Result<()> {
        if raw.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            return self.resync();
        }
        if let Some((wd, name)) = &self.above
            && raw.wd == *wd
            && raw.flags.contains(ReadFlags::DELETE)
            && raw.name == *name
        {
            self.end();
            return Ok(());
        }
        let Some(node) = self.nodes.get_mut(raw.wd) else { return Ok(()) };
        if raw.name.is_empty() {
            self.handle_self(raw);
            return Ok(());
        }
        if self.file.is_some() {
            self.handle_file(raw);
            return Ok(());
        }
        if is_ours(raw) {
            return Ok(());
        }
        if raw.flags.intersects(ReadFlags::CREATE | ReadFlags::DELETE) {
            let known = node.found.remove(&raw.name);
            if known && raw.flags.contains(ReadFlags::CREATE) {
                return Ok(());
            }
        }
        let path = self.nodes.path_in(raw.wd, &raw.name);
        if raw.flags.contains(ReadFlags::CREATE) {
            self.tell(&path, WatchKind::Created);
            if raw.is_directory() {
                self.grow_if_recursive(raw)?;
            }
        } else if raw.flags.contains(ReadFlags::MOVED_TO) {
            self.moved_in(raw)?;
        } else if raw.flags.contains(ReadFlags::DELETE) {
            self.tell(&path, WatchKind::Removed);
            if raw.is_directory() {
                self.drop_child(raw.wd, &raw.name);
            }
        } else if raw.flags.contains(ReadFlags::MODIFY) {
            self.tell(&path, WatchKind::Modified);
        } else if raw.flags.contains(ReadFlags::ATTRIB) {
            self.tell(&path, WatchKind::Attributes);
        }
        Ok(())
    }

    /// What happened to a watched directory itself; the one above it has told of it already, unless it is the top.
    fn handle_self(&mut self, raw: &Raw) {
        let gone = ReadFlags::DELETE_SELF | ReadFlags::UNMOUNT | ReadFlags::IGNORED;
        if raw.wd != self.top {
            if raw.flags.intersects(ReadFlags::UNMOUNT | ReadFlags::IGNORED) {
                self.drop_node(raw.wd);
            }
        } else if raw.flags.intersects(gone)
            || (self.file.is_none() && raw.flags.contains(ReadFlags::MOVE_SELF))
        {
            self.end();
        } else if self.file.is_none() && raw.flags.contains(ReadFlags::ATTRIB) {
            self.tell(b"", WatchKind::Attributes);
        }
    }

    pub(super) fn handle_file(&mut self, raw: &Raw) {
        if self.file.as_ref() != Some(&raw.name) {
            return;
        }
        if raw.flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
            self.end();
        } else if raw.flags.intersects(ReadFlags::MODIFY | ReadFlags::MOVED_TO | ReadFlags::CREATE) {
            self.tell(b"", WatchKind::Modified);
        } else if raw.flags.contains(ReadFlags::ATTRIB) {
            self.tell(b"", WatchKind::Attributes);
        }
    }

    /// The two halves of a rename.
    fn rename(&mut self, from: &Raw, to: &Raw) -> Result<()> {
        if self.file.is_some() {
            self.handle_file(from);
            if !self.ended {
                self.handle_file(to);
            }
            return Ok(());
        }
        match (self.nodes.get(from.wd).is_some(), self.nodes.get(to.wd).is_some()) {
            (true, true) if is_ours(from) && is_ours(to) => Ok(()),
            (_, true) if is_ours(from) => self.moved_in(to),
            (true, _) if is_ours(to) => self.moved_out(from),
            (true, true) => self.moved(from, to),
            (true, false) => self.moved_away(from),
            (false, true) => self.moved_in(to),
            (false, false) => Ok(()),
        }
    }

    /// Remembers a rename, and tells whether its opposite happened shortly before and moved a directory. An exchange of two
    /// names comes as two renames, there and back.
    pub(super) fn way_there(&mut self, from: &Raw, to: &Raw) -> Option<Moved> {
        let (old, new) = ((from.wd, from.name.clone()), (to.wd, to.name.clone()));
        let before = self.renames.iter().rev().find(|(one, other, _)| *one == new && *other == old);
        let before = before.map(|(_, _, moved)| *moved);
        if self.renames.len() == REMEMBERED {
            self.renames.pop_front();
        }
        let moved = if from.is_directory() { Moved::Directory } else { Moved::File };
        self.renames.push_back((old, new, moved));
        before
    }

    /// What is watched is no longer where it was.
    fn end(&mut self) {
        self.tell(b"", WatchKind::Removed);
        self.ended = true;
    }

    pub(super) fn tell(&mut self, path: &[u8], kind: WatchKind) {
        let path = String::from_utf8_lossy(path);
        let again = matches!(kind, WatchKind::Modified | WatchKind::Attributes | WatchKind::Overflow)
            && self.events.back().is_some_and(|last| last.path == path && last.kind == kind);
        if !again {
            self.events.push_back(WatchEvent::new(path, kind));
        }
    }

    /// Once the queue has been empty after a find, nothing that was found will be told of again.
    fn forget_found(&mut self) {
        let batch = self.batch;
        let (nodes, found_in) = (&mut self.nodes, &mut self.found_in);
        found_in.retain(|(found, wd)| {
            if *found < batch
                && let Some(node) = nodes.get_mut(*wd)
            {
                node.found = HashSet::new();
            }
            *found >= batch
        });
    }
}

/// Whether it is about a file that a write of ours makes on its way; nobody is to know of those.
pub(super) fn is_ours(raw: &Raw) -> bool {
    !raw.is_directory() && is_temporary(&raw.name)
}

pub(super) fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(b".grainchain-")
        .is_some_and(|rest| rest.len() == 16 && rest.iter().all(|byte| byte.is_ascii_hexdigit()))
}

/// Opening the directories of the tree.
impl Tracker {
    /// Opens a watched directory, if it is where it was when it was last heard of.
    pub(super) fn open(&self, wd: i32) -> Option<OwnedFd> {
        let node = self.nodes.get(wd)?;
        let directory = dirs::open(self.directory.as_fd(), &self.nodes.path(wd), dirs::READ).ok()?;
        (resolve::identity(directory.as_fd()) == Ok(node.identity)).then_some(directory)
    }
}
