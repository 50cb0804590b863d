//! What a rename means for the tree, whose directories may have been renamed again by the time we hear of it.

use std::os::fd::{AsFd, OwnedFd};

use grainchain_core::{Result, WatchKind};
use rustix::fs::Mode;

use super::growth::Finds;
use super::inotify::Raw;
use super::nodes::Identity;
use super::resolve;
use super::tracker::{Moved, Tracker};
use crate::files::dirs;

impl Tracker {
    /// It went where nobody looks.
    pub(super) fn moved_out(&mut self, from: &Raw) -> Result<()> {
        if self.is_file_watch() {
            self.handle_file(from);
            return Ok(());
        }
        let Some(node) = self.nodes.get_mut(from.wd) else { return Ok(()) };
        node.found.remove(&from.name);
        if super::tracker::is_ours(from) {
            return Ok(());
        }
        let path = self.nodes.path_in(from.wd, &from.name);
        self.tell(&path, WatchKind::Removed);
        if from.is_directory() {
            self.drop_child(from.wd, &from.name);
        }
        Ok(())
    }

    /// It went into a directory that is not watched any more, or not yet: perhaps in exchange for what was there.
    pub(super) fn moved_away(&mut self, from: &Raw) -> Result<()> {
        self.moved_out(from)?;
        if self.open(from.wd).is_none() {
            self.confused = true;
        } else if self.identity_at(from.wd, &from.name).is_some() {
            let path = self.nodes.path_in(from.wd, &from.name);
            self.tell(&path, WatchKind::Created);
            self.grow_if_recursive(from)?;
        }
        Ok(())
    }

    /// It came from where nobody looks.
    pub(super) fn moved_in(&mut self, to: &Raw) -> Result<()> {
        let path = self.nodes.path_in(to.wd, &to.name);
        self.drop_child(to.wd, &to.name);
        self.tell(&path, WatchKind::Created);
        if to.is_directory() { self.grow_if_recursive(to) } else { Ok(()) }
    }

    /// It went from one watched directory to another.
    pub(super) fn moved(&mut self, from: &Raw, to: &Raw) -> Result<()> {
        if let Some(node) = self.nodes.get_mut(from.wd) {
            node.found.remove(&from.name);
        }
        let old = self.nodes.path_in(from.wd, &from.name);
        let new = self.nodes.path_in(to.wd, &to.name);
        if let Some(there) = self.way_there(from, to) {
            // After a real way back the old name is free; after an exchange it is not.
            let exchanged = self.identity_at(from.wd, &from.name).is_some();
            let files = there == Moved::File && !from.is_directory();
            if exchanged && (files || !self.recursive) {
                self.tell(&new, WatchKind::Created);
                return Ok(());
            }
            if exchanged || self.open(from.wd).is_none() {
                // Whole trees have changed places, and there are no words for that; or nobody can say any more what it was.
                self.confused = true;
                return Ok(());
            }
        }
        if from.is_directory() && self.recursive {
            return self.moved_directory(from, to, &old, &new);
        }
        self.drop_child(to.wd, &to.name);
        self.tell_renamed(&old, &new);
        Ok(())
    }

    fn moved_directory(&mut self, from: &Raw, to: &Raw, old: &[u8], new: &[u8]) -> Result<()> {
        let source = self.nodes.child(from.wd, &from.name);
        let known = source.and_then(|wd| self.nodes.get(wd)).map(|node| node.identity);
        let above = self.open(to.wd);
        if above.is_none() {
            self.stale.insert(to.wd);
        }
        let actual = above.and_then(|above| identity_in(&above, &to.name));
        match (source, actual) {
            // As expected, or gone on already: then the next event says where.
            (Some(wd), actual) if actual.is_none() || actual == known => {
                if self.nodes.child(to.wd, &to.name).is_some_and(|other| other != wd) {
                    self.drop_child(to.wd, &to.name);
                }
                self.tell_renamed(old, new);
                if self.nodes.place(wd, to.wd, &to.name, known.unwrap_or_default()).is_err() {
                    self.confused = true;
                }
                return Ok(());
            }
            // What we took for it came to its old name later, and stays there.
            (Some(_), _) if self.identity_at(from.wd, &from.name) == known => {
                self.tell(new, WatchKind::Created);
            }
            (Some(wd), _) => {
                self.drop_node(wd);
                self.tell(old, WatchKind::Removed);
                self.tell(new, WatchKind::Created);
            }
            (None, None) => {
                self.drop_child(to.wd, &to.name);
                self.tell_renamed(old, new);
                return Ok(());
            }
            (None, Some(actual)) => {
                let there = self.nodes.child(to.wd, &to.name).and_then(|wd| self.nodes.get(wd));
                if there.is_some_and(|node| node.identity == actual) {
                    // It was found at its new place before, and told of.
                    self.tell(old, WatchKind::Removed);
                    return Ok(());
                }
                self.tell_renamed(old, new);
            }
        }
        self.grow(vec![(to.wd, to.name.clone())], Finds::Tell)
    }

    fn tell_renamed(&mut self, old: &[u8], new: &[u8]) {
        let new = String::from_utf8_lossy(new).into_owned();
        self.tell(old, WatchKind::RenamedTo(new));
    }

    /// What has a name in a watched directory now.
    fn identity_at(&self, wd: i32, name: &[u8]) -> Option<Identity> {
        resolve::entry(self.open(wd)?.as_fd(), name).ok()
    }
}

fn identity_in(directory: &OwnedFd, name: &[u8]) -> Option<Identity> {
    let opened = rustix::fs::openat(directory, name, dirs::LOOKUP, Mode::empty()).ok()?;
    resolve::identity(opened.as_fd()).ok()
}
