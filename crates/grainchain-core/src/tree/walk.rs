//! Resolving a path component by component, for kernels and links that `openat2` does not serve

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::Mode;
use rustix::io::Errno;

use super::beneath::Root;
use super::error::Fault;
use super::stat::Links;
use super::trail::{LOOKUP, Trail};

/// The kernel's own limit.
const MAX_LINKS: u32 = 40;

/// A directory below a root: the root itself or one that was opened for this purpose.
#[derive(Debug)]
pub(super) enum Place<'r> {
    Root(BorrowedFd<'r>),
    Below(OwnedFd),
}

impl Place<'_> {
    pub(super) fn into_owned(self) -> std::io::Result<OwnedFd> {
        match self {
            Self::Root(fd) => fd.try_clone_to_owned(),
            Self::Below(fd) => Ok(fd),
        }
    }
}

impl AsFd for Place<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Below(fd) => fd.as_fd(),
        }
    }
}

/// Where a path leads: a directory, and a name in it unless the path is that directory itself.
///
/// With [`Links::Follow`] the name was not a symbolic link when it was looked at, and may not exist.
#[derive(Debug)]
pub(super) struct Spot<'r> {
    pub(super) directory: Place<'r>,
    pub(super) name: Option<CString>,
}

/// Walks `path`, which is relative to `root`.
///
/// Missing directories on the way are made with mode `make`, if it is given.
pub(super) fn walk<'r>(
    root: &'r Root,
    path: &[u8],
    links: Links,
    make: Option<Mode>,
) -> Result<Spot<'r>, Fault> {
    let mut trail = Trail::new(root.fd(), LOOKUP);
    let mut todo: Vec<Vec<u8>> = Vec::new();
    expand(&mut todo, path);
    let mut followed = 0;
    let mut attempts = 0;
    while let Some(part) = todo.pop() {
        match part.as_slice() {
            b"" | b"." => continue,
            b".." => {
                let depth = trail.names().len();
                match depth.checked_sub(1) {
                    Some(depth) => trail.truncate(depth)?,
                    None if root.is_everything() => {}
                    None => return Err(Fault::outside("through `..`")),
                }
                continue;
            }
            _ => {}
        }
        let name = CString::new(part).map_err(|_| Fault::invalid("the path contains a NUL byte"))?;
        if todo.is_empty() {
            if links == Links::Keep {
                return Ok(spot(root, trail, Some(name)));
            }
            match rustix::fs::readlinkat(trail.here(), &name, Vec::new()) {
                Ok(target) => follow(root, &mut trail, &mut todo, &mut followed, &name, target.as_bytes())?,
                Err(Errno::INVAL | Errno::NOENT) => return Ok(spot(root, trail, Some(name))),
                Err(errno) => return Err(errno.into()),
            }
            continue;
        }
        match trail.open_child(&name) {
            Ok(directory) => trail.push(name, directory),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                match rustix::fs::readlinkat(trail.here(), &name, Vec::new()) {
                    Ok(target) => {
                        follow(root, &mut trail, &mut todo, &mut followed, &name, target.as_bytes())?
                    }
                    Err(Errno::INVAL) => return Err(Errno::NOTDIR.into()),
                    Err(errno) => return Err(errno.into()),
                }
            }
            Err(Errno::NOENT) if make.is_some() && attempts < MAX_LINKS => {
                match rustix::fs::mkdirat(trail.here(), &name, make.unwrap_or(Mode::RWXU)) {
                    Ok(()) => {}
                    // Somebody else made it first, or removes it as fast as it is made.
                    Err(Errno::EXIST) => attempts += 1,
                    Err(errno) => return Err(errno.into()),
                }
                todo.push(name.into_bytes());
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(spot(root, trail, None))
}

fn spot<'r>(root: &'r Root, trail: Trail<'r>, name: Option<CString>) -> Spot<'r> {
    let directory = trail.into_here().map_or(Place::Root(root.fd()), Place::Below);
    Spot { directory, name }
}

fn expand(todo: &mut Vec<Vec<u8>>, path: &[u8]) {
    todo.extend(path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
}

fn follow(
    root: &Root,
    trail: &mut Trail<'_>,
    todo: &mut Vec<Vec<u8>>,
    followed: &mut u32,
    name: &CString,
    target: &[u8],
) -> Result<(), Fault> {
    *followed += 1;
    if *followed > MAX_LINKS {
        return Err(Errno::LOOP.into());
    }
    if target.starts_with(b"/") {
        let Some(rest) = root.below(target) else {
            let name = OsStr::from_bytes(name.as_bytes());
            let target = Path::new(OsStr::from_bytes(target));
            return Err(Fault::outside(format_args!("through the symbolic link {name:?} to {target:?}")));
        };
        trail.truncate(0)?;
        expand(todo, rest);
    } else {
        expand(todo, target);
    }
    Ok(())
}
