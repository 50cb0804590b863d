//! Changing the workspace so that an interruption at any point can be undone.
//!
//! Everything new is built beforehand in *slots* outside the workspace. The journal, which is on the disk before the
//! first change, says which slot belongs to which place and what the directories looked like. A change is one rename
//! that exchanges slot and place, so the slot then holds what was there before. Removing the journal is the moment
//! at which the restore has happened. Undoing looks at the inodes, not at a log of what was done, and can itself be
//! interrupted.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use super::attrs::{Attrs, Stat, apply, grasp};
use super::build::Missing;
use super::codec::{Garbled, Reader, Writer};
use super::dirs::{Chain, Root, make_dir, open_dir, os, shift};
use super::error::{At, Error, Problem, Result};
use super::failpoint::step;
use super::record::SnapshotId;
use super::scan::ATTEMPTS;
use super::store::{Recovered, create_file};
use super::tree::split;

const JOURNAL: &str = "journal";
pub(super) const SLOTS: &[u8] = b"slots";

/// One place in the workspace and the slot of the same number.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) path: Vec<u8>,
    /// The inode that was built for this place.
    pub(super) new: Option<(u64, u64)>,
}

/// An inode and the attributes to give it, if it still stands at this path.
#[derive(Debug)]
pub(super) struct Touch {
    pub(super) path: Vec<u8>,
    pub(super) node: (u64, u64),
    pub(super) attrs: Attrs,
}

#[derive(Debug)]
pub(super) struct Journal {
    pub(super) target: SnapshotId,
    pub(super) root: (u64, u64),
    pub(super) steps: Vec<Step>,
    /// How to give back what the steps disturb.
    pub(super) old: Vec<Touch>,
}

impl Journal {
    /// Puts the journal where a recovery finds it.
    pub(super) fn write(&self, work: &OwnedFd, shown: &Path) -> Result<()> {
        const OPERATION: &str = "write the restore journal in";
        let file = create_file(work, "journal.new").at(OPERATION, shown)?;
        (&file).write_all(&self.encode()).at(OPERATION, shown)?;
        rustix::fs::fsync(&file).at(OPERATION, shown)?;
        step("journal written");
        rustix::fs::renameat(work, "journal.new", work, JOURNAL).at(OPERATION, shown)?;
        rustix::fs::fsync(work).at(OPERATION, shown)?;
        step("journal published");
        Ok(())
    }

    /// Carries out the steps, then gives the inodes in `finish` their attributes, and removes the journal.
    pub(super) fn carry_out(
        &self,
        root: &Root,
        work: &OwnedFd,
        slots: BorrowedFd<'_>,
        finish: &mut [Touch],
    ) -> Result<Missing> {
        let mut chain = Chain::new(&root.fd);
        for (slot, change) in self.steps.iter().enumerate() {
            let (dir, name) = split(&change.path);
            let slot = slot.to_string();
            chain
                .enter(dir)
                .and_then(|dir| exchange((slots, slot.as_bytes()), (dir, name), change.new.is_some()))
                .at("restore", root.show(&change.path))?;
            step("place exchanged");
        }
        let missing = touch(root, finish)?;
        rustix::fs::unlinkat(work, JOURNAL, AtFlags::empty()).at("finish the restore of", root.show(b""))?;
        step("journal removed");
        Ok(missing)
    }

    /// Puts everything back and removes the journal. Returns the places whose directory is gone.
    pub(super) fn undo(&mut self, root: &Root, work: BorrowedFd<'_>) -> Result<Vec<std::path::PathBuf>> {
        let slots = open_dir(work, SLOTS).at("undo the restore of", root.show(b""))?;
        let mut chain = Chain::new(&root.fd);
        let mut lost = Vec::new();
        for (slot, change) in self.steps.iter().enumerate() {
            let (dir, name) = split(&change.path);
            let slot = slot.to_string();
            let undone = chain
                .enter(dir)
                .and_then(|dir| put_back((slots.as_fd(), slot.as_bytes()), (dir, name), change.new));
            match undone {
                // Whoever removed the directory meanwhile has removed what was in it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => lost.push(os(&change.path).into()),
                other => other.at("undo the restore of", root.show(&change.path))?,
            }
            step("place put back");
        }
        touch(root, &mut self.old)?;
        rustix::fs::unlinkat(work, JOURNAL, AtFlags::empty())
            .at("finish undoing the restore of", root.show(b""))?;
        step("undo finished");
        Ok(lost)
    }

    fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.bytes(self.target.as_str().as_bytes());
        to.u64(self.root.0);
        to.u64(self.root.1);
        to.u32(self.steps.len() as u32);
        for change in &self.steps {
            to.bytes(&change.path);
            to.u8(change.new.is_some().into());
            let (dev, ino) = change.new.unwrap_or_default();
            to.u64(dev);
            to.u64(ino);
        }
        to.u32(self.old.len() as u32);
        for touch in &self.old {
            to.bytes(&touch.path);
            to.u64(touch.node.0);
            to.u64(touch.node.1);
            to.attrs(&touch.attrs);
        }
        to.sealed()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Garbled> {
        let mut from = Reader::unseal(bytes)?;
        let target = SnapshotId::parse(&from.text()?).map_err(|_| "an id is not one")?;
        let root = (from.u64()?, from.u64()?);
        let steps = from.list(|from| {
            let path = from.bytes()?.to_vec();
            let new = from.flag()?;
            let node = (from.u64()?, from.u64()?);
            Ok(Step { path, new: new.then_some(node) })
        })?;
        let old = from.list(|from| {
            Ok(Touch { path: from.bytes()?.to_vec(), node: (from.u64()?, from.u64()?), attrs: from.attrs()? })
        })?;
        from.end()?;
        Ok(Self { target, root, steps, old })
    }
}

/// Undoes the restore that a journal in `work` speaks of.
pub(super) fn recover(root: &Root, work: BorrowedFd<'_>, shown: &Path) -> Result<Recovered> {
    const OPERATION: &str = "undo an interrupted restore with the journal";
    let path = shown.join(JOURNAL);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Recovered::default()),
        Err(error) => return Err(Error::new(OPERATION, &path, Problem::Io(error))),
    };
    let mut journal = Journal::decode(&bytes).map_err(|why| Error::damaged(OPERATION, &path, why))?;
    if journal.root != root.stat.node() {
        let why = format!("it is about another directory than {:?}; recover that one", root.show(b""));
        return Err(Error::refused(OPERATION, &path, why));
    }
    let lost = journal.undo(root, work)?;
    Ok(Recovered { undone: Some(journal.target), lost, ..Recovered::default() })
}

/// Refuses a file system on which places cannot be exchanged, before anything depends on it.
pub(super) fn probe(work: &OwnedFd, shown: &Path) -> Result<()> {
    for name in [&b"probe-a"[..], b"probe-b"] {
        make_dir(work.as_fd(), name).at("probe the file system of", shown)?;
    }
    rustix::fs::renameat_with(work, "probe-a", work, "probe-b", RenameFlags::EXCHANGE)
        .at("exchange two names on the file system of", shown)
}

type Place<'a> = (BorrowedFd<'a>, &'a [u8]);

fn exchange(slot: Place<'_>, place: Place<'_>, has_new: bool) -> rustix::io::Result<()> {
    if !has_new {
        return match shift(place, slot, RenameFlags::NOREPLACE) {
            // Somebody else has removed it already.
            Err(Errno::NOENT) => Ok(()),
            other => other,
        };
    }
    // A live process may put something there or take it away between two attempts.
    let mut attempts = 0;
    loop {
        attempts += 1;
        match shift(slot, place, RenameFlags::EXCHANGE) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        match shift(slot, place, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) if attempts < ATTEMPTS => {}
            other => return other,
        }
    }
}

fn put_back(slot: Place<'_>, place: Place<'_>, new: Option<(u64, u64)>) -> rustix::io::Result<()> {
    let node = |(dir, name): Place<'_>| match Stat::of_name(dir, name) {
        Ok(stat) => Ok(Some(stat.node())),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    };
    match node(slot)? {
        held if new.is_some() && held == new => Ok(()),
        Some(_) => {
            if node(place)?.is_some() {
                shift(slot, place, RenameFlags::EXCHANGE)?;
                // An empty slot says that this place is done, should the undoing be interrupted as well.
                let mut discarded = slot.1.to_vec();
                discarded.extend_from_slice(b".discarded");
                shift(slot, (slot.0, &discarded), RenameFlags::empty())
            } else {
                shift(slot, place, RenameFlags::NOREPLACE)
            }
        }
        None if new.is_some() && node(place)? == new => shift(place, slot, RenameFlags::NOREPLACE),
        None => Ok(()),
    }
}

/// Gives inodes their attributes, children before parents. One that is no longer there is left alone.
fn touch(root: &Root, touches: &mut [Touch]) -> Result<Missing> {
    touches.sort_by(|a, b| b.path.cmp(&a.path));
    let mut chain = Chain::new(&root.fd);
    let mut missing = Missing::new();
    for touch in touches.iter() {
        let (dir, name) = split(&touch.path);
        let fd = match chain.enter(dir).and_then(|dir| grasp(dir, name)) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(error) => return Err(error).at("give attributes to", root.show(&touch.path)),
        };
        if Stat::of_fd(fd.as_fd()).at("inspect", root.show(&touch.path))?.node() != touch.node {
            continue;
        }
        let what = apply(fd.as_fd(), &touch.attrs).at("give attributes to", root.show(&touch.path))?;
        missing.extend(what.into_iter().map(|what| (os(&touch.path).into(), what)));
        step("attributes given");
    }
    Ok(missing)
}
