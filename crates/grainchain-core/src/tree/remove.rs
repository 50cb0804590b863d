//! Removing files and whole trees without ever following a link

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::beneath::{Root, set_mode};
use super::error::{At, Fault, TreeError, TreeErrorKind};
use super::list::names;
use super::trail::{LOOKUP, READ_DIR, Trail};

#[cfg(not(target_os = "macos"))]
type Device = u64;
#[cfg(target_os = "macos")]
type Device = i32;

/// How often a directory is emptied again because somebody keeps filling it.
const REFILLS: u32 = 64;

impl Root {
    /// Removes a file, a link (not its target) or any other thing that is not a directory.
    ///
    /// # Errors
    ///
    /// [`TreeErrorKind::IsADirectory`], [`TreeErrorKind::NotFound`], [`TreeErrorKind::Denied`].
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.entry(path)
            .and_then(|(directory, name)| Ok(rustix::fs::unlinkat(directory, name, AtFlags::empty())?))
            .at("remove", path)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// [`TreeErrorKind::NotEmpty`], [`TreeErrorKind::NotADirectory`], [`TreeErrorKind::NotFound`].
    pub fn remove_dir(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.entry(path)
            .and_then(|(directory, name)| Ok(rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?))
            .at("remove", path)
    }

    /// Removes whatever `path` names, with everything below it.
    ///
    /// Links are removed, never followed. Directories that their owner has locked are unlocked first. Another
    /// file system mounted inside is refused and stays whole, as does everything not yet removed by then.
    /// A missing path is an error, but entries that vanish meanwhile are not.
    ///
    /// # Errors
    ///
    /// [`TreeErrorKind::NotFound`], [`TreeErrorKind::Denied`], [`TreeErrorKind::NotEmpty`] when somebody
    /// fills a directory faster than it can be emptied, and [`TreeErrorKind::Other`] for mount points.
    pub fn remove_all(&self, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        let (directory, name) = self.entry(path).at("remove", path)?;
        remove_any(directory.as_fd(), &name, path)
    }
}

/// Removes `name` in `parent`, recursively; `path` is for messages.
pub(super) fn remove_any(parent: BorrowedFd<'_>, name: &CStr, path: &Path) -> Result<(), TreeError> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(errno) if means_directory(errno) => {}
        removed => return removed.at("remove", path),
    }
    let device = rustix::fs::fstat(parent).at("remove", path)?.st_dev;
    for _ in 0..REFILLS {
        let top = match open(parent, name) {
            // Linux says EPERM for what must not be removed; elsewhere it is a directory's answer.
            Err(Fault { kind: TreeErrorKind::NotADirectory, .. }) => {
                return rustix::fs::unlinkat(parent, name, AtFlags::empty()).at("remove", path);
            }
            opened => opened.at("remove", path)?,
        };
        empty(&top, device, path)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => continue,
            removed => return removed.at("remove", path),
        }
    }
    Err(Errno::NOTEMPTY).at("remove", path)
}

/// Removes everything below `top` by a loop, since hostile trees are deeper than any stack.
fn empty(top: &OwnedFd, device: Device, path: &Path) -> Result<(), TreeError> {
    let mut trail = Trail::new(top.as_fd(), READ_DIR);
    same_device(top, device).map_err(|fault| fail(path, &trail, None, fault))?;
    let mut levels = vec![clear(top.as_fd()).map_err(|fault| fail(path, &trail, None, fault))?];
    let mut refills = 0;
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.pop() {
            let directory = match open(trail.here(), &name) {
                Ok(directory) => directory,
                Err(Fault { kind: TreeErrorKind::NotFound, .. }) => continue,
                Err(Fault { kind: TreeErrorKind::NotADirectory | TreeErrorKind::InvalidPath, .. }) => {
                    // Swapped since it was listed: a link or a file is simply unlinked.
                    match rustix::fs::unlinkat(trail.here(), &name, AtFlags::empty()) {
                        Ok(()) | Err(Errno::NOENT) => continue,
                        Err(errno) => return Err(fail(path, &trail, Some(&name), errno.into())),
                    }
                }
                Err(fault) => return Err(fail(path, &trail, Some(&name), fault)),
            };
            same_device(&directory, device).map_err(|fault| fail(path, &trail, Some(&name), fault))?;
            let below = clear(directory.as_fd()).map_err(|fault| fail(path, &trail, Some(&name), fault))?;
            trail.push(name, directory);
            levels.push(below);
            continue;
        }
        levels.pop();
        let Some(name) = trail.names().last().cloned() else { break };
        let depth = trail.names().len() - 1;
        match trail.truncate(depth) {
            Ok(()) => {}
            // The way down was renamed or removed by somebody else: look again from the top.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if refills < REFILLS => {
                refills += 1;
                levels = vec![clear(top.as_fd()).map_err(|fault| fail(path, &trail, None, fault))?];
                continue;
            }
            Err(errno) => return Err(fail(path, &trail, None, errno.into())),
        }
        match rustix::fs::unlinkat(trail.here(), &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) if refills < REFILLS => {
                refills += 1;
                if let Some(level) = levels.last_mut() {
                    level.push(name);
                }
            }
            Err(errno) => return Err(fail(path, &trail, Some(&name), errno.into())),
        }
    }
    Ok(())
}

/// Unlinks what is not a directory in `directory` and returns the names of those that are.
fn clear(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Fault> {
    let mut below = Vec::new();
    let mut unlocked = false;
    for (name, kind) in names(directory)? {
        if kind == FileType::Directory {
            // Deleting a subdirectory later needs write permission here just as well.
            below.push(name);
            continue;
        }
        let mut removed = rustix::fs::unlinkat(directory, &name, AtFlags::empty());
        if removed == Err(Errno::ACCESS) && !unlocked {
            unlocked = true;
            rustix::fs::fchmod(directory, Mode::RWXU)?;
            removed = rustix::fs::unlinkat(directory, &name, AtFlags::empty());
        }
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) if means_directory(errno) => below.push(name),
            Err(errno) => return Err(errno.into()),
        }
    }
    if !below.is_empty() && !unlocked {
        let mode = Mode::from_raw_mode(rustix::fs::fstat(directory)?.st_mode);
        if !mode.contains(Mode::RWXU) && !rustix::process::geteuid().is_root() {
            rustix::fs::fchmod(directory, Mode::RWXU)?;
        }
    }
    Ok(below)
}

/// Opens a directory for emptying it, unlocking it if its owner has locked it.
fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Fault> {
    match rustix::fs::openat(parent, name, READ_DIR, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let locked = rustix::fs::openat(parent, name, LOOKUP, Mode::empty())?;
            set_mode(&locked, Mode::RWXU)?;
            Ok(rustix::fs::openat(parent, name, READ_DIR, Mode::empty())?)
        }
        opened => Ok(opened?),
    }
}

fn same_device(directory: &OwnedFd, device: Device) -> Result<(), Fault> {
    if rustix::fs::fstat(directory)?.st_dev == device {
        return Ok(());
    }
    Err(Fault::new(TreeErrorKind::Busy, "another file system is mounted here; unmount it first"))
}

fn means_directory(errno: Errno) -> bool {
    errno == Errno::ISDIR || (cfg!(not(target_os = "linux")) && errno == Errno::PERM)
}

fn fail(path: &Path, trail: &Trail<'_>, name: Option<&CStr>, fault: Fault) -> TreeError {
    let mut full = PathBuf::from(path);
    for part in trail.names().iter().map(CString::as_c_str).chain(name) {
        full.push(OsStr::from_bytes(part.to_bytes()));
    }
    TreeError::new("remove", full, fault)
}
