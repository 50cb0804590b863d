//! Walking below a root by descriptors, so that no symbolic link can lead anywhere else.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, RenameFlags};
use rustix::io::{Errno, Result};

use super::attrs::{Stat, grasp};
use super::error::{self, At};

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A file name or path as the operating system spells it.
pub(super) fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// The directory that everything happens below.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) fd: OwnedFd,
    pub(super) stat: Stat,
    path: PathBuf,
}

impl Root {
    /// Opens `path`, which may lead through symbolic links but must not be one.
    pub(super) fn open(operation: &'static str, path: &Path) -> error::Result<Self> {
        let fd =
            rustix::fs::openat(CWD, path, DIRECTORY | OFlags::RDONLY, Mode::empty()).at(operation, path)?;
        let stat = Stat::of_fd(fd.as_fd()).at(operation, path)?;
        Ok(Self { fd, stat, path: path.to_path_buf() })
    }

    /// The full path of something below, for messages only.
    pub(super) fn show(&self, below: &[u8]) -> PathBuf {
        if below.is_empty() { self.path.clone() } else { self.path.join(os(below)) }
    }
}

/// How many levels a [`Chain`] keeps open. Deeper ones are walked anew, which bounds the descriptors that a
/// hostile tree can make us hold.
const KEPT: usize = 48;

/// Opens directories below a root one component at a time, keeping the way there for the next call.
#[derive(Debug)]
pub(super) struct Chain<'a> {
    root: BorrowedFd<'a>,
    kept: Vec<(Vec<u8>, OwnedFd)>,
    deep: Option<OwnedFd>,
}

impl<'a> Chain<'a> {
    pub(super) fn new(root: &'a impl AsFd) -> Self {
        Self { root: root.as_fd(), kept: Vec::new(), deep: None }
    }

    /// The directory at `path` below the root.
    ///
    /// Fails with `ENOTDIR` or `ELOOP` if a component is a symbolic link.
    pub(super) fn enter(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>> {
        self.deep = None;
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        let common = self.kept.iter().zip(&names).take_while(|((kept, _), name)| kept == *name).count();
        self.kept.truncate(common);
        for name in &names[common..] {
            let next = {
                let here = self.deep.as_ref().or(self.kept.last().map(|(_, fd)| fd));
                rustix::fs::openat(
                    here.map_or(self.root, AsFd::as_fd),
                    *name,
                    DIRECTORY | OFlags::PATH,
                    Mode::empty(),
                )?
            };
            if self.kept.len() < KEPT && self.deep.is_none() {
                self.kept.push((name.to_vec(), next));
            } else {
                self.deep = Some(next);
            }
        }
        Ok(self.deep.as_ref().or(self.kept.last().map(|(_, fd)| fd)).map_or(self.root, AsFd::as_fd))
    }
}

/// Opens the directory `name` in `dir`, not following a link.
pub(super) fn open_dir(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    rustix::fs::openat(dir, name, DIRECTORY | OFlags::RDONLY, Mode::empty())
}

/// Creates the directory `name` in `dir` for this user alone, unless it is there, and opens it.
pub(super) fn make_dir(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    match rustix::fs::mkdirat(dir, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => open_dir(dir, name),
        Err(error) => Err(error),
    }
}

/// The names in a directory, sorted.
pub(super) fn list(dir: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>> {
    let fd = open_dir(dir, b".")?;
    let mut buffer = [MaybeUninit::uninit(); 16384];
    let mut entries = RawDir::new(fd, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort();
    Ok(names)
}

/// Sets permission bits on a directory that its owner may not enter or change.
pub(super) fn unlock(fd: BorrowedFd<'_>) -> Result<()> {
    let stat = Stat::of_fd(fd)?;
    if stat.file_type() == FileType::Directory && stat.mode & 0o700 != 0o700 {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
        let mode = Mode::from_raw_mode(stat.mode & 0o7777 | 0o700);
        rustix::fs::chmodat(CWD, path.as_str(), mode, AtFlags::empty())?;
    }
    Ok(())
}

/// Renames, and tries once more with the directories concerned made writable if permissions forbid it.
pub(super) fn shift(
    from: (BorrowedFd<'_>, &[u8]),
    to: (BorrowedFd<'_>, &[u8]),
    flags: RenameFlags,
) -> Result<()> {
    match rustix::fs::renameat_with(from.0, from.1, to.0, to.1, flags) {
        Err(Errno::ACCESS | Errno::PERM) => {
            for (dir, name) in [from, to] {
                unlock(dir)?;
                match grasp(dir, name) {
                    Ok(fd) => unlock(fd.as_fd())?,
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(error),
                }
            }
            rustix::fs::renameat_with(from.0, from.1, to.0, to.1, flags)
        }
        other => other,
    }
}

/// Empties a directory, never following a link and never entering a mounted file system.
///
/// Directories are pulled up to the top before they are emptied, so that the depth of a hostile tree costs neither
/// stack nor descriptors.
pub(super) fn clear(top: BorrowedFd<'_>) -> Result<()> {
    let device = Stat::of_fd(top)?.dev;
    let mut pulled = 0_u64;
    loop {
        let names = list(top)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            if Stat::of_name(top, &name)?.file_type() != FileType::Directory {
                rustix::fs::unlinkat(top, name.as_slice(), AtFlags::empty())?;
                continue;
            }
            let path_only = grasp(top, &name)?;
            unlock(path_only.as_fd())?;
            let dir = open_dir(top, &name)?;
            let stat = Stat::of_fd(dir.as_fd())?;
            if stat.mount_root || stat.dev != device {
                return Err(Errno::BUSY);
            }
            for child in list(dir.as_fd())? {
                if Stat::of_name(dir.as_fd(), &child)?.file_type() == FileType::Directory {
                    loop {
                        pulled += 1;
                        let to = format!(".pulled-{pulled}");
                        let to = (top, to.as_bytes());
                        match shift((dir.as_fd(), &child), to, RenameFlags::NOREPLACE) {
                            Err(Errno::EXIST) => {}
                            other => break other?,
                        }
                    }
                } else {
                    rustix::fs::unlinkat(&dir, child.as_slice(), AtFlags::empty())?;
                }
            }
            rustix::fs::unlinkat(top, name.as_slice(), AtFlags::REMOVEDIR)?;
        }
    }
}
