//! Finding what is to be watched.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use grainchain_core::tree::{Links, Root};
use grainchain_core::{Error, ErrorKind, FileKind, Result};
use rustix::fs::{CWD, Mode};
use rustix::io::Errno;

use super::nodes::Identity;
use crate::files::{dirs, refusal};

/// How often to look again for something that is moved away under our hands.
const RACES: usize = 8;

/// A directory to watch, or one entry of it.
pub(super) struct Target {
    /// Open for reading.
    pub(super) directory: OwnedFd,
    /// The one entry that counts.
    pub(super) file: Option<Vec<u8>>,
}

pub(super) fn target(root: &Root, path: &Path) -> Result<Target> {
    let stat = root.stat(path, Links::Follow).map_err(refusal)?;
    match stat.kind {
        FileKind::Directory => {
            let top = root.subtree(path).map_err(refusal)?;
            let directory = dirs::open(top.as_fd(), b"", dirs::READ).map_err(|errno| failed(path, errno))?;
            Ok(Target { directory, file: None })
        }
        FileKind::File => file(root, path),
        other => Err(Error::bad_request(format!(
            "{path:?} is a {} and neither a directory nor a regular file",
            other.describe()
        ))),
    }
}

/// The directory that really holds a file: `path` may have led there through links.
fn file(root: &Root, path: &Path) -> Result<Target> {
    for _ in 0..RACES {
        let file = root.open_read(path).map_err(refusal)?;
        let identity = identity(file.as_fd()).map_err(|errno| failed(path, errno))?;
        let real = place(file.as_fd()).map_err(|errno| failed(path, errno))?;
        let real = Path::new(OsStr::from_bytes(&real));
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else { break };
        let Ok(parent) = root.subtree(parent) else { continue };
        let Ok(directory) = dirs::open(parent.as_fd(), b"", dirs::READ) else { continue };
        if entry(directory.as_fd(), name.as_bytes()) == Ok(identity) {
            return Ok(Target { directory, file: Some(name.as_bytes().to_vec()) });
        }
    }
    let message = format!("{path:?} is renamed faster than it can be found");
    Err(Error::new(ErrorKind::Conflict, message).hint("watch the directory that holds it"))
}

/// The directory above `directory` and the name it has there; none for the top of everything, and where we may not look.
pub(super) fn above(directory: BorrowedFd<'_>) -> Option<(OwnedFd, Vec<u8>)> {
    let identity = identity(directory).ok()?;
    for _ in 0..RACES {
        let above = rustix::fs::openat(directory, c"..", dirs::READ, Mode::empty()).ok()?;
        let real = place(directory).ok()?;
        let name = Path::new(OsStr::from_bytes(&real)).file_name()?.as_bytes().to_vec();
        if entry(above.as_fd(), &name) == Ok(identity) {
            return Some((above, name));
        }
    }
    None
}

pub(super) fn identity(descriptor: BorrowedFd<'_>) -> std::result::Result<Identity, Errno> {
    rustix::fs::fstat(descriptor).map(|stat| of(&stat))
}

/// What has a name now.
pub(super) fn entry(directory: BorrowedFd<'_>, name: &[u8]) -> std::result::Result<Identity, Errno> {
    rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).map(|stat| of(&stat))
}

#[allow(clippy::unnecessary_cast, reason = "the field types differ between architectures")]
fn of(stat: &rustix::fs::Stat) -> Identity {
    (stat.st_dev as u64, stat.st_ino as u64)
}

/// The path of an open file as the kernel sees it.
fn place(descriptor: BorrowedFd<'_>) -> std::result::Result<Vec<u8>, Errno> {
    let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    rustix::fs::readlinkat(CWD, link, Vec::new()).map(std::ffi::CString::into_bytes)
}

pub(super) fn failed(path: &Path, errno: Errno) -> Error {
    super::inotify::refused(format_args!("watch {path:?}"), errno)
}
