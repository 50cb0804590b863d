//! The kernel's queue of changes.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use grainchain_core::{Error, ErrorKind, Result};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// What is told of a directory.
pub(super) const ENTRIES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::EXCL_UNLINK)
    .union(WatchFlags::ONLYDIR);

/// What is told of the directory above the watched one: that an entry is gone. As long as somebody holds a directory open, the
/// kernel does not tell of its removal itself.
pub(super) const REMOVALS: WatchFlags =
    WatchFlags::DELETE.union(WatchFlags::ONLYDIR).union(WatchFlags::MASK_ADD);

/// How many are taken out of the queue at once.
const BATCH: usize = 4096;

/// One change as the kernel tells it.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) wd: i32,
    pub(super) flags: ReadFlags,
    pub(super) cookie: u32,
    pub(super) name: Vec<u8>,
}

impl Raw {
    pub(super) fn is_directory(&self) -> bool {
        self.flags.contains(ReadFlags::ISDIR)
    }
}

/// Whether the kernel had more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Empty,
    More,
}

/// An inotify descriptor; its watches end with it.
#[derive(Clone, Debug)]
pub(super) struct Inotify(pub(super) Arc<OwnedFd>);

impl Inotify {
    pub(super) fn new() -> Result<Self> {
        match inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
            Ok(descriptor) => Ok(Self(Arc::new(descriptor))),
            Err(Errno::MFILE) => {
                let message = "there are too many watchers on this machine";
                Err(Error::new(ErrorKind::Exhausted, message)
                    .hint("end some, or raise the sysctl fs.inotify.max_user_instances"))
            }
            Err(errno) => Err(Error::io("start watching", errno.into())),
        }
    }

    /// Watches the very directory that is open, whatever its path may lead to by now.
    pub(super) fn add(
        &self,
        directory: BorrowedFd<'_>,
        flags: WatchFlags,
    ) -> std::result::Result<i32, Errno> {
        inotify::add_watch(&*self.0, format!("/proc/self/fd/{}", directory.as_raw_fd()), flags)
    }

    pub(super) fn remove(&self, wd: i32) {
        // Fails when the directory is gone, and its watch with it.
        inotify::remove_watch(&*self.0, wd).ok();
    }

    /// Appends what the kernel has queued, a bounded part of it.
    pub(super) fn read(&self, into: &mut impl Extend<Raw>) -> std::result::Result<Queue, Errno> {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = Reader::new(&*self.0, &mut buffer);
        let mut count = 0;
        loop {
            // Only between two buffers: what is in one would be lost.
            if count >= BATCH && reader.is_buffer_empty() {
                return Ok(Queue::More);
            }
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_bytes().to_vec()).unwrap_or_default();
                    let (wd, flags, cookie) = (event.wd(), event.events(), event.cookie());
                    into.extend([Raw { wd, flags, cookie, name }]);
                    count += 1;
                }
                Err(Errno::AGAIN) => return Ok(Queue::Empty),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Why a directory cannot be watched.
pub(super) fn refused(what: impl std::fmt::Display, errno: Errno) -> Error {
    match errno {
        Errno::NOSPC => Error::new(
            ErrorKind::Exhausted,
            format!("{what}: the machine allows no more watched directories"),
        )
        .hint("watch fewer directories, or raise the sysctl fs.inotify.max_user_watches"),
        errno => Error::io(what, errno.into()),
    }
}
