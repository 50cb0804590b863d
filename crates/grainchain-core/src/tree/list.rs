//! Reading the entries of a directory

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::error::{At, TreeError};
use super::stat::Stat;

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirEntry {
    /// The name, without the path that leads to it.
    pub name: OsString,
    /// Its attributes; links are not followed.
    pub stat: Stat,
}

/// An iterator over the entries of a directory, in the order of the file system.
///
/// The names are those at the time of the call; one that is gone when its turn comes is left out.
#[derive(Debug)]
pub struct ReadDir {
    directory: OwnedFd,
    names: std::vec::IntoIter<(CString, FileType)>,
    path: PathBuf,
}

impl ReadDir {
    pub(super) fn new(directory: OwnedFd, path: &Path) -> Result<Self, Errno> {
        let names = {
            use rustix::fd::AsFd;
            names(directory.as_fd())?.into_iter()
        };
        Ok(Self { directory, names, path: path.to_path_buf() })
    }
}

impl Iterator for ReadDir {
    type Item = Result<DirEntry, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        for (name, _) in self.names.by_ref() {
            let stat = match rustix::fs::statat(&self.directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Stat::of(&stat),
                Err(Errno::NOENT) => continue,
                Err(errno) => {
                    let path = self.path.join(OsString::from_vec(name.into_bytes()));
                    return Some(Err(errno).at("list", &path));
                }
            };
            return Some(Ok(DirEntry { name: OsString::from_vec(name.into_bytes()), stat }));
        }
        None
    }
}

/// All names in a directory that is open for reading, without `.` and `..`.
#[cfg(target_os = "linux")]
pub(super) fn names(directory: BorrowedFd<'_>) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut buffer = [const { std::mem::MaybeUninit::uninit() }; 32 * 1024];
    let mut entries = rustix::fs::RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(names)
}

/// All names in a directory that is open for reading, without `.` and `..`.
#[cfg(not(target_os = "linux"))]
pub(super) fn names(directory: BorrowedFd<'_>) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(names)
}
