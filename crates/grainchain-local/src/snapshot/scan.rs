//! The first pass over a workspace: names and inodes, without reading files.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::attrs::{Attrs, Stat, Time, xattrs_of_name};
use super::dirs::{Chain, Root, list};
use super::error::{At, Result};
use super::index::Index;
use super::tree::{Entry, Inode, Kind, Tree};
use super::writers::Writers;

/// How old a time stamp must be before a second change is sure to bring a different one.
///
/// The kernel stamps files with a clock that ticks every 1 to 10 ms; the rest is a margin.
const RACY_MILLIS: u32 = 40;

/// Which time stamps prove that a file is unchanged.
///
/// An inode is *settled* if its last change lies well before the moment the look at it began and nobody can change
/// it without a new time stamp. Only then may what was read stand in the [`Index`].
#[derive(Debug)]
pub(super) struct Trust<'a> {
    writers: &'a Writers,
    /// `None`: nothing is settled here.
    before: Option<Time>,
}

impl<'a> Trust<'a> {
    pub(super) fn new(root: &Root, writers: &'a Writers) -> Result<Self> {
        let now = Time::now();
        let start = match writers {
            // A process that appeared after the look at `/proc` may have mapped a file since.
            Writers::Seen(seen) => now.min(seen.since()),
            Writers::Unknown => now,
        };
        let file_system = rustix::fs::fstatfs(&root.fd).at("inspect the file system of", root.show(b""))?;
        Ok(Self {
            writers,
            before: stamps_writes(file_system.f_type as u64).then(|| start.minus_millis(RACY_MILLIS)),
        })
    }

    /// Whether the index may speak for this inode now.
    fn may_skip(&self, stat: &Stat) -> bool {
        if stat.file_type() != FileType::RegularFile {
            return self.before.is_some();
        }
        let unwritten = match self.writers {
            Writers::Unknown => false,
            Writers::Seen(seen) => !seen.holds(stat.ino),
        };
        self.before.is_some() && unwritten
    }

    /// Whether what is read now may be believed next time.
    pub(super) fn is_settled(&self, stat: &Stat) -> bool {
        let unwritten = match self.writers {
            // The next look decides whether to believe it; without any, nothing is skipped anyway.
            Writers::Unknown => stat.file_type() != FileType::RegularFile,
            Writers::Seen(seen) => !seen.holds(stat.ino),
        };
        unwritten && self.before.is_some_and(|before| stat.ctime < before)
    }

    /// Whether the file can change under our hands without a new time stamp.
    pub(super) fn is_written(&self, stat: &Stat) -> bool {
        match self.writers {
            Writers::Unknown => true,
            Writers::Seen(seen) => seen.holds(stat.ino),
        }
    }
}

/// Whether a file system gives an inode a new `ctime` when it is written through a mapping.
///
/// tmpfs does not, ZFS does so later, and a network file system may answer from a cache.
fn stamps_writes(magic: u64) -> bool {
    const EXT4: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683e;
    const F2FS: u64 = 0xf2f5_2010;
    const BCACHEFS: u64 = 0xca45_1a4e;
    const OVERLAY: u64 = 0x794c_7630;
    matches!(magic & 0xffff_ffff, EXT4 | XFS | BTRFS | F2FS | BCACHEFS | OVERLAY)
}

/// A workspace as it was found.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) tree: Tree,
    /// What the kernel said about each inode of the tree.
    pub(super) stats: Vec<Stat>,
    /// Regular files nobody has read yet, each by one of its names.
    pub(super) unread: Vec<u32>,
    /// Entries where something else is mounted.
    pub(super) mounts: Vec<u32>,
    /// Entries that vanished between the first look and the second.
    pub(super) gone: HashSet<u32>,
    /// Directories that changed all the time while they were listed.
    pub(super) changing: Vec<PathBuf>,
}

/// How often a directory or file that changes under our hands is tried again.
pub(super) const ATTEMPTS: usize = 4;

/// Lists the whole workspace and describes what the index knows or what needs no reading.
pub(super) fn scan(root: &Root, index: &Index, trust: &Trust<'_>) -> Result<Scanned> {
    let mut found = Scanner { root, index, trust, links: HashMap::new(), scanned: Scanned::empty() };
    let at_root = root.fd.try_clone().at("open", root.show(b""))?;
    let mut chain = Chain::new(&at_root);
    let stat = Stat::of_fd(std::os::fd::AsFd::as_fd(&root.fd)).at("inspect", root.show(b""))?;
    let inode = found.describe(std::os::fd::AsFd::as_fd(&root.fd), b"", &stat)?;
    found.push(0, Vec::new(), inode, &stat);
    let mut pending = vec![0_u32];
    while let Some(dir) = pending.pop() {
        found.enter(&mut chain, dir, &mut pending)?;
    }
    Ok(found.scanned)
}

impl Scanned {
    fn empty() -> Self {
        Self {
            tree: Tree::default(),
            stats: Vec::new(),
            unread: Vec::new(),
            mounts: Vec::new(),
            gone: HashSet::new(),
            changing: Vec::new(),
        }
    }
}

struct Scanner<'a> {
    root: &'a Root,
    index: &'a Index,
    trust: &'a Trust<'a>,
    links: HashMap<(u64, u64), u32>,
    scanned: Scanned,
}

impl Scanner<'_> {
    fn push(&mut self, parent: u32, name: Vec<u8>, inode: Inode, stat: &Stat) -> u32 {
        let at = self.scanned.tree.inodes.len() as u32;
        if matches!(inode.kind, Kind::File { content: None, .. }) {
            self.scanned.unread.push(self.scanned.tree.entries.len() as u32);
        }
        self.scanned.tree.inodes.push(inode);
        self.scanned.stats.push(*stat);
        self.name(parent, name, at)
    }

    fn name(&mut self, parent: u32, name: Vec<u8>, inode: u32) -> u32 {
        self.scanned.tree.entries.push(Entry { parent, name, inode });
        self.scanned.tree.entries.len() as u32 - 1
    }

    fn enter(&mut self, chain: &mut Chain<'_>, dir: u32, pending: &mut Vec<u32>) -> Result<()> {
        let path = self.scanned.tree.path(dir);
        let expected = self.scanned.stats[self.scanned.tree.entries[dir as usize].inode as usize];
        let fd = match chain.enter(&path) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                self.scanned.gone.insert(dir);
                return Ok(());
            }
            Err(error) => return Err(error).at("open", self.root.show(&path)),
        };
        let mut before = Stat::of_fd(fd).at("inspect", self.root.show(&path))?;
        if before.node() != expected.node() {
            self.scanned.gone.insert(dir);
            return Ok(());
        }
        let mut attempts = 0;
        let children = loop {
            attempts += 1;
            let names = list(fd).at("list", self.root.show(&path))?;
            let mut children = Vec::with_capacity(names.len());
            for name in names {
                match Stat::of_name(fd, &name) {
                    Ok(stat) => children.push((name, stat)),
                    Err(Errno::NOENT) => {}
                    Err(error) => {
                        return Err(error).at("inspect", self.root.show(&[&path, &b"/"[..], &name].concat()));
                    }
                }
            }
            let after = Stat::of_fd(fd).at("inspect", self.root.show(&path))?;
            if after.same_version(&before) {
                break children;
            }
            if attempts == ATTEMPTS {
                self.scanned.changing.push(super::dirs::os(&path).into());
                break children;
            }
            before = after;
        };
        if !before.same_version(&expected) {
            // Its attributes may have changed as well since its parent was listed.
            let inode = self
                .describe(fd, b"", &before)
                .or_else(|error| if is_gone(&error) { Ok(dir_inode(&before)) } else { Err(error) })?;
            let at = self.scanned.tree.entries[dir as usize].inode as usize;
            self.scanned.tree.inodes[at] = inode;
            self.scanned.stats[at] = before;
        }
        let first = pending.len();
        for (name, stat) in children {
            let shared = stat.nlink > 1 && stat.file_type() != FileType::Directory;
            if let Some(inode) = self.links.get(&stat.node()).filter(|_| shared) {
                self.name(dir, name, *inode);
                continue;
            }
            let inode = match self.describe(fd, &name, &stat) {
                Err(error) if is_gone(&error) => continue,
                other => other?,
            };
            let is_dir = inode.is_dir();
            let entry = self.push(dir, name, inode, &stat);
            if shared {
                self.links.insert(stat.node(), self.scanned.tree.inodes.len() as u32 - 1);
            }
            if stat.mount_root || (is_dir && stat.dev != self.root.stat.dev) {
                self.scanned.mounts.push(entry);
            } else if is_dir {
                pending.push(entry);
            }
        }
        pending[first..].reverse();
        Ok(())
    }

    /// What is to be said about an inode, from the index or from itself.
    fn describe(&self, dir: std::os::fd::BorrowedFd<'_>, name: &[u8], stat: &Stat) -> Result<Inode> {
        if let Some(known) = self.index.get(stat).filter(|_| self.trust.may_skip(stat)) {
            return Ok(known.clone());
        }
        let failed = || self.root.show(name);
        let kind = match stat.file_type() {
            FileType::Directory => Kind::Dir,
            // Its attributes are read together with its data.
            FileType::RegularFile => {
                let kind = Kind::File { size: stat.size, content: None };
                return Ok(Inode { attrs: Attrs::of(stat, Vec::new()), kind });
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new()).at("read the link", failed())?;
                Kind::Symlink(target.into_bytes())
            }
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::CharacterDevice => Kind::Device { character: true, rdev: stat.rdev },
            FileType::BlockDevice => Kind::Device { character: false, rdev: stat.rdev },
            FileType::Unknown => {
                return Err(Errno::OPNOTSUPP).at("describe the unknown kind of file", failed());
            }
        };
        let name: &[u8] = if name.is_empty() { b"." } else { name };
        let xattrs = xattrs_of_name(dir, name).at("read the attributes of", failed())?;
        Ok(Inode { attrs: Attrs::of(stat, xattrs), kind })
    }
}

fn dir_inode(stat: &Stat) -> Inode {
    Inode { attrs: Attrs::of(stat, Vec::new()), kind: Kind::Dir }
}

fn is_gone(error: &super::error::Error) -> bool {
    match error.problem() {
        super::error::Problem::Io(error) => {
            error.kind() == std::io::ErrorKind::NotFound
                || error.raw_os_error() == Some(Errno::INVAL.raw_os_error())
        }
        _ => false,
    }
}
