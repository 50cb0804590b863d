//! Going through a tree of directories without following a link, however deep it is.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat};
use rustix::io::Errno;

/// Opens a directory for lookups, which needs no permission to read it.
pub(crate) const LOOKUP: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory for reading its entries.
pub(crate) const READ: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// The kernel takes no longer paths at once.
const MAX_PATH_BYTES: usize = 4000;

/// Opens the directory `path` below `top`, or `top` again when it is empty. A link on the way is an error (`ELOOP` or `ENOTDIR`).
pub(crate) fn open(top: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    if path.is_empty() {
        return rustix::fs::openat(top, c".", flags, Mode::empty());
    }
    let mut here: Option<OwnedFd> = None;
    let mut rest = path;
    loop {
        let (piece, after) = split(rest, MAX_PATH_BYTES)?;
        let step = if after.is_empty() { flags } else { LOOKUP };
        let from = here.as_ref().map_or(top, AsFd::as_fd);
        let opened = open_piece(from, piece, step)?;
        if after.is_empty() {
            return Ok(opened);
        }
        (here, rest) = (Some(opened), after);
    }
}

/// The longest beginning that ends before a slash and is not too long, and what comes after that slash.
fn split(path: &[u8], most: usize) -> Result<(&[u8], &[u8]), Errno> {
    if path.len() <= most {
        return Ok((path, b""));
    }
    let slash = path[..most].iter().rposition(|byte| *byte == b'/').ok_or(Errno::NAMETOOLONG)?;
    Ok((&path[..slash], &path[slash + 1..]))
}

fn open_piece(from: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    if !path.contains(&b'/') {
        return rustix::fs::openat(from, path, flags, Mode::empty());
    }
    let strict = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(from, path, flags, Mode::empty(), strict) {
        // An old kernel, a filter, or a rename somewhere on the machine: name by name it always works.
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => {}
        opened => return opened,
    }
    let mut here: Option<OwnedFd> = None;
    let mut names = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = names.next() {
        let step = if names.peek().is_some() { LOOKUP } else { flags };
        let opened = rustix::fs::openat(here.as_ref().map_or(from, AsFd::as_fd), name, step, Mode::empty())?;
        here = Some(opened);
    }
    here.ok_or(Errno::NOENT)
}

/// Calls `visit` for every entry of a directory that is open for reading.
pub(crate) fn each<E: From<Errno>>(
    directory: BorrowedFd<'_>,
    mut visit: impl FnMut(&CStr, FileType) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            visit(name, entry.file_type())?;
        }
    }
    Ok(())
}

/// The attributes of an entry, a link's own if it is one.
pub(crate) fn stat(directory: BorrowedFd<'_>, name: &CStr) -> Result<Stat, Errno> {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Where a link points, when it still is one.
pub(crate) fn link_target(directory: BorrowedFd<'_>, name: &CStr) -> Option<CString> {
    rustix::fs::readlinkat(directory, name, Vec::new()).ok()
}

/// `name` below `path`.
pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}
