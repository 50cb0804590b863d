//! Taking a snapshot.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::FlockOperation;

use super::dirs::{Root, clear, os};
use super::error::{At, Result};
use super::failpoint::step;
use super::index::Index;
use super::record::{SnapshotId, SnapshotRecord};
use super::resolve::resolve;
use super::scan::{Trust, scan};
use super::store::{CREATING, Store, create_file};
use super::tree::Kind;
use super::writers::Writers;

/// How to take a snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct CreateOptions {
    /// A name for people.
    pub(crate) name: Option<String>,
    /// The snapshot this one follows; it must exist.
    pub(crate) parent: Option<SnapshotId>,
    /// Anything to be remembered.
    pub(crate) metadata: BTreeMap<String, String>,
    /// Who may be writing to the workspace. The default reads and compares every file.
    pub(crate) writers: Writers,
}

impl CreateOptions {
    /// Says who may be writing to the workspace.
    #[must_use]
    pub(crate) fn writers(mut self, writers: Writers) -> Self {
        self.writers = writers;
        self
    }
}

impl Store {
    /// Takes a snapshot of `workspace`.
    ///
    /// Each file is captured as it was at one moment, or named in [`SnapshotRecord::changing`]. The tree as a whole is
    /// captured at one moment only if nobody writes to it meanwhile: stop its processes first if that matters.
    ///
    /// If this fails or the process ends, there is no new snapshot and the others are as before.
    ///
    /// # Errors
    ///
    /// Something below the workspace cannot be read (the path is named), the store cannot be written, or the parent
    /// does not exist.
    pub(crate) fn create(&self, workspace: &Path, options: CreateOptions) -> Result<SnapshotRecord> {
        let _lock = self.lock(FlockOperation::NonBlockingLockExclusive)?;
        let root = Root::open("open the workspace", workspace)?;
        self.settle(&root)?;
        if let Some(parent) = &options.parent {
            self.record(parent)?;
        }
        let work = self.work()?;
        // Says to whoever finds it that data without a manifest may lie about.
        create_file(&work, CREATING).at("write", self.path.join("work"))?;
        let created = self.create_locked(&root, options, &work);
        if created.is_err() {
            // So that a full disk does not stay full. The failure itself matters more than what this might meet.
            self.sweep().ok();
        }
        // What cannot be removed is tried again by the next operation and takes nothing away from this one.
        clear(work.as_fd()).ok();
        created
    }

    fn create_locked(
        &self,
        root: &Root,
        options: CreateOptions,
        work: &std::os::fd::OwnedFd,
    ) -> Result<SnapshotRecord> {
        let created = SystemTime::now();
        let trust = Trust::new(root, &options.writers)?;
        let index = self.read_index(&root.stat);
        let mut scanned = scan(root, &index, &trust)?;
        step("scanned");
        let unread = std::mem::take(&mut scanned.unread);
        let resolved = resolve(root, &mut scanned, &unread, &trust, &self.objects, Some(work), self.threads)?;
        let mut changing = std::mem::take(&mut scanned.changing);
        changing.extend(resolved.changing);
        let noted: HashSet<_> = changing.iter().cloned().collect();
        let mut known = Index::default();
        for (inode, stat) in scanned.tree.inodes.iter().zip(&scanned.stats) {
            let read = !matches!(inode.kind, Kind::File { content: None, .. });
            if read && trust.is_settled(stat) {
                known.insert(stat, inode);
            }
        }
        for entry in &scanned.gone {
            let path = scanned.tree.path(*entry);
            if !noted.contains(Path::new(os(&path))) {
                changing.push(os(&path).into());
            }
        }
        changing.sort();
        let mounts = scanned.mounts.iter().map(|entry| os(&scanned.tree.path(*entry)).into()).collect();
        let gone = scanned.gone;
        let tree =
            if gone.is_empty() { scanned.tree } else { scanned.tree.retain(|entry| !gone.contains(&entry)) };
        let size_of = |kind: &Kind| if let Kind::File { size, .. } = kind { *size } else { 0 };
        let record = SnapshotRecord {
            id: SnapshotId::random()?,
            name: options.name,
            parent: options.parent,
            created,
            metadata: options.metadata,
            entries: tree.entries.len() as u64 - 1,
            size_bytes: tree.inodes.iter().map(|inode| size_of(&inode.kind)).sum(),
            added_bytes: resolved.added,
            changing,
            mounts,
        };
        // The index comes first, so that nothing can fail once the snapshot exists. It may promise what a failed
        // `create` has stored: such data stay until a sweep, which corrects the index.
        self.write_index(&known, &root.stat)?;
        self.commit_manifest(&record, &tree, work)?;
        Ok(record)
    }
}
