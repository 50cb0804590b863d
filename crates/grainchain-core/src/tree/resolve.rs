//! How a path becomes a descriptor below a root

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::beneath::Root;
use super::error::Fault;
use super::stat::Links;
use super::trail::LOOKUP;
use super::walk::{Place, Spot, walk};

/// The kernel refuses longer paths; the walker does the same, so that both ways agree.
const MAX_PATH_BYTES: usize = 4096;

/// How often an operation starts again because a file turned into a link under its hands.
const RACES: usize = 8;

impl Root {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    pub(super) fn is_everything(&self) -> bool {
        self.everything
    }

    /// What remains of an absolute path below the root; none if it lies elsewhere.
    pub(super) fn below<'p>(&self, absolute: &'p [u8]) -> Option<&'p [u8]> {
        let path = Path::new(OsStr::from_bytes(absolute));
        let rest = self.names.iter().find_map(|name| path.strip_prefix(name).ok())?.as_os_str().as_bytes();
        if rest.is_empty() {
            return Some(b".");
        }
        // `strip_prefix` also drops what stands at the end, and a trailing slash says "must be a directory".
        let start = rest.as_ptr().addr() - absolute.as_ptr().addr();
        absolute.get(start..)
    }

    /// The path relative to the root, checked for what can never be a path.
    pub(super) fn relative<'p>(&self, path: &'p Path) -> Result<&'p [u8], Fault> {
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() {
            return Err(Fault::invalid("the path is empty"));
        }
        if bytes.contains(&0) {
            return Err(Fault::invalid("the path contains a NUL byte"));
        }
        if bytes.len() >= MAX_PATH_BYTES {
            return Err(Fault::invalid(format!("the path is longer than {} bytes", MAX_PATH_BYTES - 1)));
        }
        if !bytes.starts_with(b"/") {
            return Ok(bytes);
        }
        self.below(bytes).ok_or_else(|| {
            Fault::outside(format_args!(
                "because it is absolute and does not begin with {:?}",
                self.host_path()
            ))
        })
    }

    /// Opens by `openat2`, or answers none when the walker has to decide.
    #[cfg(target_os = "linux")]
    pub(super) fn fast(&self, path: &[u8], flags: OFlags, mode: Mode) -> Option<Result<OwnedFd, Errno>> {
        use rustix::fs::ResolveFlags;

        if self.walk_only.load(Ordering::Relaxed) {
            return None;
        }
        let scope = if self.everything { ResolveFlags::IN_ROOT } else { ResolveFlags::BENEATH };
        match rustix::fs::openat2(self.fd(), path, flags, mode, scope | ResolveFlags::NO_MAGICLINKS) {
            Err(Errno::NOSYS) => {
                self.walk_only.store(true, Ordering::Relaxed);
                None
            }
            // A filter's refusal, a way out, a magic link, or a rename while `..` was resolved: the walker
            // either finds the way or says in words why there is none.
            Err(Errno::PERM | Errno::XDEV | Errno::LOOP | Errno::AGAIN) => None,
            opened => Some(opened),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn fast(&self, _path: &[u8], _flags: OFlags, _mode: Mode) -> Option<Result<OwnedFd, Errno>> {
        None
    }

    /// Opens `path`, following links below the root.
    pub(super) fn open_fd(&self, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Fault> {
        // Like the kernel, an exclusive creation does not follow a link at the end.
        let exclusive = flags.contains(OFlags::CREATE | OFlags::EXCL);
        let follows = !exclusive && (!flags.contains(OFlags::NOFOLLOW) || flags.contains(OFlags::DIRECTORY));
        let flags = if follows { flags - OFlags::NOFOLLOW } else { flags };
        if let Some(opened) = self.fast(path, flags, mode) {
            return Ok(opened?);
        }
        let links = if follows { Links::Follow } else { Links::Keep };
        for _ in 0..RACES {
            let spot = walk(self, path, links, None)?;
            let name = spot.name.as_deref().unwrap_or(c".");
            match rustix::fs::openat(&spot.directory, name, flags | OFlags::NOFOLLOW, mode) {
                Err(Errno::LOOP) if follows => continue,
                // With O_DIRECTORY the kernel reports a link as something that is not a directory.
                Err(Errno::NOTDIR) if follows && is_link(&spot) => continue,
                opened => return Ok(opened?),
            }
        }
        Err(Errno::LOOP.into())
    }

    /// Opens `path` for looking at it and changing its attributes.
    pub(super) fn lookup(&self, path: &Path) -> Result<OwnedFd, Fault> {
        #[cfg(target_os = "linux")]
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        #[cfg(not(target_os = "linux"))]
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = self.open_fd(self.relative(path)?, flags, Mode::empty())?;
        Ok(file)
    }

    /// The directory that holds the last name of `path`, and that name; the name may be missing or a link.
    pub(super) fn entry(&self, path: &Path) -> Result<(Place<'_>, CString), Fault> {
        let relative = self.relative(path)?;
        let trimmed = relative.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let relative = &relative[..trimmed];
        let (parent, name) = match relative.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&relative[..=slash], &relative[slash + 1..]),
            None => (&b""[..], relative),
        };
        if matches!(name, b"" | b"." | b"..") {
            return Err(Fault::invalid("the path does not end in a name"));
        }
        let name = CString::new(name).map_err(|_| Fault::invalid("the path contains a NUL byte"))?;
        if parent.is_empty() {
            return Ok((Place::Root(self.fd()), name));
        }
        Ok((Place::Below(self.open_fd(parent, LOOKUP, Mode::empty())?), name))
    }

    /// Like `entry`, but when the name is a link, the place the link leads to.
    pub(super) fn target(&self, path: &Path) -> Result<(Place<'_>, CString), Fault> {
        let (directory, name) = self.entry(path)?;
        match rustix::fs::readlinkat(&directory, &name, Vec::new()) {
            Err(Errno::INVAL | Errno::NOENT) => return Ok((directory, name)),
            Err(errno) => return Err(errno.into()),
            Ok(_) => {}
        }
        let spot = walk(self, self.relative(path)?, Links::Follow, None)?;
        match spot.name {
            Some(name) => Ok((spot.directory, name)),
            None => Err(Errno::ISDIR.into()),
        }
    }

    /// Makes the missing directories above the last name of `path`.
    pub(super) fn make_parents(&self, path: &Path) -> Result<(), Fault> {
        let relative = self.relative(path)?;
        let trimmed = relative.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let Some(slash) = relative[..trimmed].iter().rposition(|byte| *byte == b'/') else { return Ok(()) };
        walk(self, &relative[..=slash], Links::Follow, Some(Mode::from_raw_mode(0o777)))?;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn without_openat2(self) -> Self {
        self.walk_only.store(true, Ordering::Relaxed);
        self
    }
}

fn is_link(spot: &Spot<'_>) -> bool {
    spot.name.as_ref().is_some_and(|name| rustix::fs::readlinkat(&spot.directory, name, Vec::new()).is_ok())
}
