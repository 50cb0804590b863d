//! The store: its layout, its lock, and what concerns all its snapshots.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::holder::holder;
use crate::lock::{MOMENT, take};

use super::attrs::Stat;
use super::dirs::{Root, clear, list, make_dir, open_dir, os};
use super::error::{At, Error, Problem, Result};
use super::failpoint::step;
use super::index::Index;
use super::manifest;
use super::objects::{Objects, Visit};
use super::record::{BrokenRecord, SnapshotId, SnapshotRecord};
use super::tree::{ObjectId, Tree};

/// What survives a crash of the machine. A crash of the process loses nothing in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The manifest is on the disk when `create` returns; the data follow when the kernel writes them, usually
    /// within half a minute. Data lost in between are noticed by their hash when the snapshot is restored.
    ///
    /// The default, because it costs milliseconds where writing everything out costs as long as the disk takes.
    #[default]
    Manifest,
    /// Everything is on the disk when `create` or `restore` returns.
    Everything,
}

/// Snapshots of one workspace, in a directory of their own.
///
/// Every operation takes the store's lock for as long as it runs, across processes; one that changes the store
/// excludes all others. Put the store on the file system of the workspace: restoring needs that.
#[derive(Debug)]
pub(crate) struct Store {
    pub(super) dir: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) objects: Objects,
    pub(super) durability: Durability,
    pub(super) threads: usize,
    /// How long the lock is waited for. Whoever changes a sandbox as a whole excludes the others before, so that hardly anybody but
    /// a hostile command can hold it.
    pub(super) patience: Duration,
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Readable snapshots.
    pub(crate) snapshots: u64,
    /// Distinct pieces of data.
    pub(crate) objects: u64,
    /// The disk space of these data, manifests not counted.
    pub(crate) disk_bytes: u64,
}

/// What [`Store::delete`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deleted {
    /// The disk space that was freed.
    pub(crate) freed_bytes: u64,
    /// Unreadable manifests for whose sake no data were freed: nobody knows what they need.
    pub(crate) kept_for: Vec<BrokenRecord>,
}

/// What [`Store::recover`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// The snapshot whose restore had been interrupted and has been undone.
    pub(crate) undone: Option<SnapshotId>,
    /// Places whose directory is gone, so that nothing could be put back there.
    pub(crate) lost: Vec<PathBuf>,
    /// Whether anything half made by an interrupted operation was removed.
    pub(crate) cleaned: bool,
}

/// Held while an operation runs; the kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

pub(super) const WORK: &[u8] = b"work";
/// In the work directory while a snapshot is being taken.
pub(super) const CREATING: &str = "creating";
const INDEX: &str = "index";

impl Store {
    /// Opens the store in `dir`, which is created if it is not there.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or opened, or is a symbolic link.
    pub(crate) fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(dir.as_ref(), true)
    }

    pub(super) fn open_with(path: &Path, reflink: bool) -> Result<Self> {
        const OPERATION: &str = "open the snapshot store";
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(path).at(OPERATION, path)?;
        let dir = Root::open(OPERATION, path)?.fd;
        make_dir(dir.as_fd(), b"manifests").at(OPERATION, path.join("manifests"))?;
        make_dir(dir.as_fd(), WORK).at(OPERATION, path.join("work"))?;
        let objects = make_dir(dir.as_fd(), b"objects").at(OPERATION, path.join("objects"))?;
        let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
        let objects = Objects::new(objects, reflink);
        Ok(Self {
            dir,
            path: path.to_path_buf(),
            objects,
            durability: Durability::default(),
            threads,
            patience: MOMENT,
        })
    }

    /// Sets what survives a crash of the machine.
    #[must_use]
    #[cfg_attr(not(test), expect(dead_code, reason = "no facet asks for it yet"))]
    pub(crate) fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Every snapshot, oldest first, and the manifests that could not be read.
    ///
    /// # Errors
    ///
    /// The store itself cannot be listed.
    pub(crate) fn list(&self) -> Result<(Vec<SnapshotRecord>, Vec<BrokenRecord>)> {
        let mut good = Vec::new();
        let mut broken = Vec::new();
        for (file_name, id) in self.manifest_names()? {
            let read = id.ok_or_else(|| "its name is not a snapshot id".to_owned()).and_then(|id| {
                manifest::read_record(&self.manifest_path(&id), &id).map_err(|error| error.to_string())
            });
            match read {
                Ok(record) => good.push(record),
                Err(reason) => broken.push(BrokenRecord { file_name, reason }),
            }
        }
        good.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok((good, broken))
    }

    /// Describes one snapshot.
    ///
    /// # Errors
    ///
    /// There is no such snapshot, or its manifest is damaged.
    pub(crate) fn record(&self, id: &SnapshotId) -> Result<SnapshotRecord> {
        manifest::read_record(&self.manifest_path(id), id)
    }

    /// How much the store holds.
    ///
    /// # Errors
    ///
    /// The store cannot be listed.
    #[cfg_attr(not(test), expect(dead_code, reason = "no facet asks for it yet"))]
    pub(crate) fn usage(&self) -> Result<Usage> {
        let _lock = self.lock(FlockOperation::NonBlockingLockShared)?;
        let mut usage = Usage { snapshots: self.list()?.0.len() as u64, ..Usage::default() };
        let counted = self.objects.visit(|_, stat| {
            usage.objects += 1;
            usage.disk_bytes += stat.blocks * 512;
            Visit::Keep
        });
        counted.at("list", self.path.join("objects"))?;
        Ok(usage)
    }

    /// Removes a snapshot and the data that no other snapshot needs.
    ///
    /// # Errors
    ///
    /// There is no such snapshot, or the store cannot be changed.
    pub(crate) fn delete(&self, id: &SnapshotId) -> Result<Deleted> {
        let _lock = self.lock(FlockOperation::NonBlockingLockExclusive)?;
        let path = self.manifest_path(id);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::new("delete snapshot", id.as_str(), Problem::NoSuchSnapshot));
            }
            other => other.at("delete snapshot", &path)?,
        }
        step("manifest removed");
        self.sweep()
    }

    /// Removes the objects that no manifest needs. The lock must be held.
    pub(super) fn sweep(&self) -> Result<Deleted> {
        let mut live: HashSet<ObjectId> = HashSet::new();
        let mut deleted = Deleted::default();
        for (file_name, id) in self.manifest_names()? {
            // A file that no snapshot could be called was not put there by us and needs nothing.
            let Some(id) = id else { continue };
            match manifest::read(&self.manifest_path(&id), &id) {
                Ok((_, tree)) => live.extend(tree.objects().map(|(object, _)| object)),
                Err(error) => deleted.kept_for.push(BrokenRecord { file_name, reason: error.to_string() }),
            }
        }
        if !deleted.kept_for.is_empty() {
            return Ok(deleted);
        }
        // First the index forgets, then the data go: an index must never promise what is not there.
        if let Some(bytes) = Index::without_objects(&self.path.join(INDEX), &live)
            && self.write_index_bytes(&bytes).is_err()
        {
            // On a full disk there is no room for a smaller index, but none is just as right.
            std::fs::remove_file(self.path.join(INDEX)).at("remove", self.path.join(INDEX))?;
        }
        let swept = self.objects.visit(|object, stat| {
            if object.is_some_and(|object| live.contains(&object)) {
                return Visit::Keep;
            }
            deleted.freed_bytes += stat.blocks * 512;
            Visit::Remove
        });
        swept.at("remove unused data below", self.path.join("objects"))?;
        Ok(deleted)
    }

    /// Cleans up after an operation that was interrupted by the end of its process: a restore is undone, and what
    /// was half made is removed.
    ///
    /// `create` and `restore` do this themselves before they begin.
    ///
    /// # Errors
    ///
    /// The interrupted restore was of another directory, or the workspace or the store cannot be changed.
    pub(crate) fn recover(&self, workspace: &Path) -> Result<Recovered> {
        let work = self.work()?;
        if list(work.as_fd()).at("list", self.path.join("work"))?.is_empty() {
            // Nobody has begun anything: no reason to wait for whoever holds the lock.
            return Ok(Recovered::default());
        }
        let _lock = self.lock(FlockOperation::NonBlockingLockExclusive)?;
        let root = Root::open("open the workspace", workspace)?;
        self.settle(&root)
    }

    /// Undoes an interrupted restore, removes what an interrupted create has stored, and empties the work directory. The lock must be held.
    pub(super) fn settle(&self, root: &Root) -> Result<Recovered> {
        let work = open_dir(self.dir.as_fd(), WORK).at("open", self.path.join("work"))?;
        let mut recovered = super::journal::recover(root, work.as_fd(), &self.path.join("work"))?;
        let left = list(work.as_fd()).at("list", self.path.join("work"))?;
        recovered.cleaned = !left.is_empty();
        if left.iter().any(|name| name == CREATING.as_bytes()) {
            self.sweep()?;
        }
        clear(work.as_fd()).at("clean up", self.path.join("work"))?;
        Ok(recovered)
    }

    /// An empty directory for temporary files. The lock must be held and the store settled.
    pub(super) fn work(&self) -> Result<OwnedFd> {
        open_dir(self.dir.as_fd(), WORK).at("open", self.path.join("work"))
    }

    pub(super) fn lock(&self, how: FlockOperation) -> Result<Lock> {
        const OPERATION: &str = "lock";
        let path = self.path.join("lock");
        // Commands may have put a pipe in its place, or claimed it with a lease of the kernel's: neither is waited for.
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        // Opened each time: the lock belongs to the open file, so that threads exclude each other as well.
        let fd =
            rustix::fs::openat(&self.dir, "lock", flags, Mode::RUSR | Mode::WUSR).at(OPERATION, &path)?;
        let file = File::from(fd);
        if take(&file, how, self.patience).at(OPERATION, &path)? {
            return Ok(Lock(file));
        }
        Err(Error::new(OPERATION, &path, Problem::Locked(holder(&file))))
    }

    pub(super) fn manifest_path(&self, id: &SnapshotId) -> PathBuf {
        self.path.join("manifests").join(id.as_str())
    }

    fn manifest_names(&self) -> Result<Vec<(PathBuf, Option<SnapshotId>)>> {
        let path = self.path.join("manifests");
        let dir = open_dir(self.dir.as_fd(), b"manifests").at("open", &path)?;
        let names = list(dir.as_fd()).at("list", &path)?;
        let id = |name: &[u8]| SnapshotId::parse(std::str::from_utf8(name).ok()?).ok();
        Ok(names.into_iter().map(|name| (os(&name).into(), id(&name))).collect())
    }

    /// Makes a snapshot exist, at one moment and for good.
    pub(super) fn commit_manifest(&self, record: &SnapshotRecord, tree: &Tree, work: &OwnedFd) -> Result<()> {
        let path = self.manifest_path(&record.id);
        if self.durability == Durability::Everything {
            rustix::fs::syncfs(&self.dir).at("write out the data of", &path)?;
        }
        let file = create_file(work, "manifest").at("write", &path)?;
        (&file).write_all(&manifest::encode(record, tree)).at("write", &path)?;
        step("manifest written");
        rustix::fs::fsync(&file).at("write out", &path)?;
        let dir = open_dir(self.dir.as_fd(), b"manifests").at("open", self.path.join("manifests"))?;
        // An id that exists is refused here, however unlikely it is.
        rustix::fs::renameat_with(work, "manifest", &dir, record.id.as_str(), RenameFlags::NOREPLACE)
            .at("publish", &path)?;
        step("manifest published");
        rustix::fs::fsync(&dir).at("write out", self.path.join("manifests"))
    }

    pub(super) fn read_index(&self, root: &Stat) -> Index {
        Index::read(&self.path.join(INDEX), root)
    }

    pub(super) fn write_index(&self, index: &Index, root: &Stat) -> Result<()> {
        self.write_index_bytes(&index.encode(root))
    }

    fn write_index_bytes(&self, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(INDEX);
        let work = self.work()?;
        match rustix::fs::unlinkat(&work, INDEX, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error).at("write", &path),
        }
        let file = create_file(&work, INDEX).at("write", &path)?;
        (&file).write_all(bytes).at("write", &path)?;
        step("index written");
        rustix::fs::renameat(&work, INDEX, &self.dir, INDEX).at("write", &path)
    }
}

pub(super) fn create_file(dir: &OwnedFd, name: &str) -> rustix::io::Result<File> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
}
