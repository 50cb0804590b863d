//! Listing a directory and what is below it.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use grainchain_core::tree::{Root, Stat};
use grainchain_core::{Error, ErrorKind, FileInfo, FileKind, Result};
use rustix::io::Errno;

use super::{dirs, info, refusal};

/// More entries would be a burden for everybody who holds them in memory.
pub(super) const MOST: usize = 1_000_000;

/// The same for their names: hostile trees have long paths.
const MOST_BYTES: usize = 512 << 20;

pub(super) fn list(root: &Root, path: &Path, depth: u32) -> Result<Vec<FileInfo>> {
    list_up_to(root, path, depth, MOST)
}

pub(super) fn list_up_to(root: &Root, path: &Path, depth: u32, most: usize) -> Result<Vec<FileInfo>> {
    let top = root.subtree(path).map_err(refusal)?;
    let mut listed: Vec<(Vec<u8>, FileInfo)> = Vec::new();
    let mut bytes = 0;
    if depth == 0 {
        return Err(Error::bad_request("a list of depth 0 has nothing to tell")
            .option("depth")
            .hint("use 1 for the directory's own entries, or stat for the directory itself"));
    }
    // Paths and not descriptors wait here: a tree may be deeper than the number of files that may be open.
    let mut waiting = vec![(Vec::new(), 1)];
    while let Some((above, level)) = waiting.pop() {
        let directory = match dirs::open(top.as_fd(), &above, dirs::READ) {
            Ok(directory) => directory,
            Err(_) if !above.is_empty() => continue,
            Err(errno) => return Err(Error::io(format_args!("list {path:?}"), errno.into())),
        };
        let visited = dirs::each(directory.as_fd(), |name, _| {
            let stat = match Stat::of_entry(&directory, name) {
                Ok(stat) => stat,
                // Gone since the directory named it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(failed(path, error)),
            };
            let below = dirs::join(&above, name.to_bytes());
            bytes += below.len();
            if listed.len() == most || bytes > MOST_BYTES {
                return Err(too_many(path, most));
            }
            let mut entry = info::from_stat(String::from_utf8_lossy(&below), &stat);
            if entry.kind == FileKind::Symlink {
                let target = dirs::link_target(directory.as_fd(), name);
                entry.link_target = target.map(|target| target.to_string_lossy().into_owned());
            }
            if entry.kind == FileKind::Directory && level < depth {
                waiting.push((below.clone(), level + 1));
            }
            listed.push((below, entry));
            Ok(())
        });
        match visited {
            Ok(()) => {}
            Err(Interrupted::Refused(error)) => return Err(error),
            // It went away, or turned bad, in the middle.
            Err(Interrupted::Directory(_)) if !above.is_empty() => {}
            Err(Interrupted::Directory(errno)) => {
                return Err(Error::io(format_args!("list {path:?}"), errno.into()));
            }
        }
    }
    listed.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Ok(listed.into_iter().map(|(_, entry)| entry).collect())
}

enum Interrupted {
    Directory(Errno),
    Refused(Error),
}

impl From<Errno> for Interrupted {
    fn from(errno: Errno) -> Self {
        Self::Directory(errno)
    }
}

fn failed(path: &Path, error: io::Error) -> Interrupted {
    match Errno::from_io_error(&error) {
        Some(errno @ (Errno::ACCESS | Errno::STALE)) => Interrupted::Directory(errno),
        _ => Interrupted::Refused(Error::io(format_args!("list {path:?}"), error)),
    }
}

fn too_many(path: &Path, most: usize) -> Interrupted {
    let message =
        format!("there are more than {most} entries below {path:?}, or their names fill the memory");
    Interrupted::Refused(
        Error::new(ErrorKind::Exhausted, message)
            .hint("ask for less depth, or for one directory after the other"),
    )
}
