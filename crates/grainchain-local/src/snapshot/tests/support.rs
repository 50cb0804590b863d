//! A scratch workspace with a store beside it, and a way to compare two trees.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::snapshot::attrs::{xattrs_of_fd, xattrs_of_name};
use crate::snapshot::dirs::open_dir;
use crate::snapshot::restore::RestoreReport;
use crate::snapshot::{
    CreateOptions, LiveWriters, RestoreOptions, SnapshotId, SnapshotRecord, Store, Writers,
};

pub(super) struct Bench {
    pub(super) dir: TempDir,
    pub(super) work: PathBuf,
    pub(super) store: Store,
}

impl Bench {
    pub(super) fn new() -> Self {
        // Beside the build output and not in the system's temporary directory, which is often tmpfs: there, time
        // stamps prove nothing and every file would be compared.
        Self::below(std::env::current_exe().unwrap().parent().unwrap())
    }

    pub(super) fn below(base: &Path) -> Self {
        let dir = tempfile::tempdir_in(base).unwrap();
        let work = dir.path().join("workspace");
        fs::create_dir(&work).unwrap();
        let store = open(&dir.path().join("snapshots"));
        Self { dir, work, store }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    pub(super) fn write(&self, name: &str, data: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Takes a snapshot of a workspace that nobody writes to.
    pub(super) fn create(&self) -> SnapshotRecord {
        self.store.create(&self.work, CreateOptions::default().writers(quiet())).unwrap()
    }

    /// Restores into a workspace that nobody writes to.
    pub(super) fn restore(&self, id: &SnapshotId) -> RestoreReport {
        self.store.restore(&self.work, id, &RestoreOptions::default().writers(quiet())).unwrap()
    }

    pub(super) fn export(&self, id: &SnapshotId) -> PathBuf {
        let dir = self.dir.path().join(format!("export-{}", SnapshotId::random().unwrap()));
        fs::create_dir(&dir).unwrap();
        self.store.export(id, &dir).unwrap();
        dir
    }

    pub(super) fn objects(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for fan in fs::read_dir(self.dir.path().join("snapshots/objects")).unwrap() {
            found.extend(fs::read_dir(fan.unwrap().path()).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.sort();
        found
    }
}

/// A store that waits for its lock as long as a loaded machine needs.
pub(super) fn open(path: &Path) -> Store {
    let mut store = Store::open(path).unwrap();
    store.patience = Duration::from_secs(60);
    store
}

pub(super) fn quiet() -> Writers {
    Writers::Seen(LiveWriters::none())
}

/// Everything a snapshot promises to keep, in a form that shows differences well.
pub(super) fn describe(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut groups: HashMap<u64, usize> = HashMap::new();
    let mut pending = vec![root.to_path_buf()];
    describe_one(root, root, &mut groups, &mut found);
    while let Some(dir) = pending.pop() {
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        for path in names {
            if describe_one(root, &path, &mut groups, &mut found) {
                pending.push(path);
            }
        }
    }
    found
}

fn describe_one(
    root: &Path,
    path: &Path,
    groups: &mut HashMap<u64, usize>,
    found: &mut BTreeMap<Vec<u8>, String>,
) -> bool {
    let meta = fs::symlink_metadata(path).unwrap();
    let kind = meta.file_type();
    let what = if kind.is_dir() {
        "dir".to_owned()
    } else if kind.is_symlink() {
        format!("link to {:?}", fs::read_link(path).unwrap())
    } else if kind.is_file() {
        let data = fs::read(path).unwrap();
        format!("file of {} with {}", data.len(), blake3::hash(&data))
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else if kind.is_socket() {
        "socket".to_owned()
    } else {
        format!("device {}", meta.rdev())
    };
    let next = groups.len();
    let group = *groups.entry(meta.ino()).or_insert(next);
    let xattrs = if path == root {
        xattrs_of_fd(fs::File::open(path).unwrap().as_fd())
    } else {
        let dir = open_dir(fs::File::open(path.parent().unwrap()).unwrap().as_fd(), b".").unwrap();
        xattrs_of_name(dir.as_fd(), path.file_name().unwrap().as_bytes())
    };
    let links = if kind.is_dir() { String::new() } else { format!("group {group}") };
    let text = format!(
        "{what} {:o} {}:{} {}.{:09} {:?} {links}",
        meta.mode() & 0o7777,
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec(),
        xattrs.unwrap(),
    );
    found.insert(path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec(), text);
    kind.is_dir()
}

/// Says aloud that a test could not run.
pub(super) fn skipped(why: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "SKIPPED: {why}").unwrap();
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
