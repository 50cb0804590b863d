//! Making a workspace what it was, in place.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::attrs::Stat;
use super::build::build;
use super::dirs::{Root, clear, make_dir};
use super::error::{At, Error, Result};
use super::failpoint::step;
use super::index::Index;
use super::journal::{Journal, SLOTS, Step, Touch, probe};
use super::manifest;
use super::plan::{Change, Plan, could_be_same, items, pair, plan};
use super::record::SnapshotId;
use super::resolve::resolve;
use super::scan::{Scanned, Trust, scan};
use super::store::{Durability, Store};
use super::tree::{Kind, Tree};
use super::writers::Writers;

/// How to restore a snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct RestoreOptions {
    /// Who may be writing to the workspace. The default reads and compares every file.
    pub(crate) writers: Writers,
}

impl RestoreOptions {
    /// Says who may be writing to the workspace.
    #[must_use]
    pub(crate) fn writers(mut self, writers: Writers) -> Self {
        self.writers = writers;
        self
    }
}

/// What a restore or an export did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RestoreReport {
    /// Places where something was created. A directory that came back whole is one place; for an export, every name.
    pub(crate) added: u64,
    /// Places where something was replaced.
    pub(crate) replaced: u64,
    /// Places where something was removed, with everything below it.
    pub(crate) removed: u64,
    /// Files and directories that only got other attributes.
    pub(crate) retouched: u64,
    /// Files and directories that were left alone.
    pub(crate) unchanged: u64,
    /// The data that were written.
    pub(crate) written_bytes: u64,
    /// What could not be given back for want of a privilege: owners, devices, some extended attributes.
    pub(crate) not_restored: Vec<(PathBuf, String)>,
}

impl Store {
    /// Makes `workspace` what it was when the snapshot was taken, touching only what differs.
    ///
    /// Everything that needs space, and every check of stored data, comes before the first change; the changes
    /// themselves are renames. The workspace directory keeps its inode. A running process sees each path either as
    /// it was or as it will be, and goes on writing to the old file if it has one open.
    ///
    /// If this fails, the workspace is as before. If the process ends in the middle, the next `recover`, `create` or
    /// `restore` puts it back.
    ///
    /// # Errors
    ///
    /// The snapshot is missing or damaged (the path and the object are named), the workspace lies on another file
    /// system than the store, a mounted file system is in the way, or something cannot be written.
    pub(crate) fn restore(
        &self,
        workspace: &Path,
        id: &SnapshotId,
        options: &RestoreOptions,
    ) -> Result<RestoreReport> {
        let _lock = self.lock(FlockOperation::NonBlockingLockExclusive)?;
        let root = Root::open("open the workspace", workspace)?;
        self.settle(&root)?;
        let (_, tree) = manifest::read(&self.manifest_path(id), id)?;
        let work = self.work()?;
        let work_stat = Stat::of_fd(work.as_fd()).at("inspect", self.path.join("work"))?;
        if work_stat.dev != root.stat.dev {
            let why = "it is on another file system than the snapshot store; keep the two together, or export instead";
            return Err(Error::refused("restore", workspace, why));
        }
        let result = self.restore_locked(&root, id, &tree, &work, options);
        // The journal of a restore that could be neither finished nor undone stays for the next attempt.
        if Stat::of_name(work.as_fd(), b"journal").is_err() {
            clear(work.as_fd()).ok();
        }
        result
    }

    fn restore_locked(
        &self,
        root: &Root,
        id: &SnapshotId,
        tree: &Tree,
        work: &OwnedFd,
        options: &RestoreOptions,
    ) -> Result<RestoreReport> {
        let trust = Trust::new(root, &options.writers)?;
        let index = self.read_index(&root.stat);
        let mut scanned = scan(root, &index, &trust)?;
        let pairs = pair(&scanned.tree, tree);
        let wanted = worth_reading(&scanned, tree, &pairs);
        resolve(root, &mut scanned, &wanted, &trust, &self.objects, None, self.threads)?;
        let plan = plan(root, &scanned, tree, &pairs)?;
        let mut report = report(&plan);
        if !(plan.changes.is_empty() && plan.retouches.is_empty()) {
            self.change(root, id, tree, work, &plan, &mut report)?;
        }
        let mut known = Index::default();
        for (now, then) in &plan.kept {
            let (inode, stat) = (&tree.inodes[*then as usize], &scanned.stats[*now as usize]);
            if trust.is_settled(stat) && scanned.tree.inodes[*now as usize] == *inode {
                known.insert(stat, inode);
            }
        }
        // The workspace is what it should be, so a cache that cannot be written is no failure: without it everything
        // is compared next time. A stale one does no harm either, because it speaks of inodes and their versions.
        self.write_index(&known, &root.stat).ok();
        Ok(report)
    }

    fn change(
        &self,
        root: &Root,
        id: &SnapshotId,
        tree: &Tree,
        work: &OwnedFd,
        plan: &Plan,
        report: &mut RestoreReport,
    ) -> Result<()> {
        let shown = self.path.join("work");
        probe(work, &shown)?;
        let slots = make_dir(work.as_fd(), SLOTS).at("make", &shown)?;
        let items = items(&plan.changes, tree);
        report.written_bytes = written_bytes(tree, &items);
        // A directory that forbids changes cannot be moved, so those to be moved get their attributes afterwards.
        let is_slot = |item: &super::build::Item| !item.path.contains(&b'/');
        report.not_restored = build(&slots, tree, &items, &self.objects, self.threads, is_slot)?;
        if self.durability == Durability::Everything {
            rustix::fs::syncfs(work).at("write out", &shown)?;
        }
        step("everything built");
        let (mut journal, mut finish) = journal(root, id, tree, plan, &slots, &shown)?;
        journal.write(work, &shown)?;
        match journal.carry_out(root, work, slots.as_fd(), &mut finish) {
            Ok(missing) => report.not_restored.extend(missing),
            Err(error) => {
                journal.undo(root, work.as_fd())?;
                return Err(error);
            }
        }
        if self.durability == Durability::Everything {
            rustix::fs::syncfs(&root.fd).at("write out", root.show(b""))?;
        }
        Ok(())
    }
}

/// The unread files of the workspace whose content decides whether they can stay.
fn worth_reading(scanned: &Scanned, then: &Tree, pairs: &[Option<u32>]) -> Vec<u32> {
    let mut by_now = vec![None; scanned.tree.entries.len()];
    for (then_entry, now_entry) in pairs.iter().enumerate() {
        if let Some(now_entry) = now_entry {
            by_now[*now_entry as usize] = Some(then_entry as u32);
        }
    }
    let same = |now: &u32| {
        by_now[*now as usize].is_some_and(|then_entry| could_be_same(&scanned.tree, then, *now, then_entry))
    };
    scanned.unread.iter().copied().filter(same).collect()
}

fn journal(
    root: &Root,
    id: &SnapshotId,
    tree: &Tree,
    plan: &Plan,
    slots: &OwnedFd,
    shown: &Path,
) -> Result<(Journal, Vec<Touch>)> {
    let mut steps = Vec::with_capacity(plan.changes.len());
    let mut finish = Vec::new();
    for (slot, Change { path, new, .. }) in plan.changes.iter().enumerate() {
        // A device that could not be made has no inode here and has been noted.
        let node = match Stat::of_name(slots.as_fd(), slot.to_string().as_bytes()) {
            Ok(stat) => Some(stat.node()),
            Err(rustix::io::Errno::NOENT) => None,
            Err(error) => return Err(error).at("inspect", shown),
        };
        if let (Some(node), Some(entry)) = (node, new)
            && tree.inode(*entry).is_dir()
        {
            finish.push(Touch { path: path.clone(), node, attrs: tree.inode(*entry).attrs.clone() });
        }
        steps.push(Step { path: path.clone(), new: node });
    }
    let mut old = Vec::with_capacity(plan.retouches.len());
    for retouch in &plan.retouches {
        old.push(Touch { path: retouch.path.clone(), node: retouch.node, attrs: retouch.old.clone() });
        if let Some(target) = retouch.target {
            let attrs = tree.inodes[target as usize].attrs.clone();
            finish.push(Touch { path: retouch.path.clone(), node: retouch.node, attrs });
        }
    }
    Ok((Journal { target: id.clone(), root: root.stat.node(), steps, old }, finish))
}

fn report(plan: &Plan) -> RestoreReport {
    let count =
        |wanted: &dyn Fn(&Change) -> bool| plan.changes.iter().filter(|change| wanted(change)).count() as u64;
    RestoreReport {
        added: count(&|change| change.new.is_some() && !change.occupied),
        replaced: count(&|change| change.new.is_some() && change.occupied),
        removed: count(&|change| change.new.is_none()),
        retouched: plan.retouches.iter().filter(|retouch| retouch.target.is_some()).count() as u64,
        unchanged: plan.kept.len() as u64,
        ..RestoreReport::default()
    }
}

fn written_bytes(tree: &Tree, items: &[super::build::Item]) -> u64 {
    let mut seen = std::collections::HashSet::new();
    let written =
        items.iter().filter(|item| seen.insert(tree.entries[item.entry as usize].inode)).map(|item| {
            match &tree.inode(item.entry).kind {
                Kind::File { size, content: Some(content) } => content.stored_len(*size),
                _ => 0,
            }
        });
    written.sum()
}
