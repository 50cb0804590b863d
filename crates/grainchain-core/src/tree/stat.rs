//! What is known about one file

use std::time::{Duration, SystemTime};

use rustix::fs::FileType;

/// What kind of thing a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character or block device.
    Device,
    /// Something this library has no name for.
    Unknown,
}

impl FileKind {
    pub(super) fn of(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice | FileType::BlockDevice => Self::Device,
            FileType::Unknown => Self::Unknown,
        }
    }

    /// The kind in words, for messages: `named pipe`.
    pub fn describe(self) -> &'static str {
        match self {
            Self::File => "regular file",
            Self::Directory => "directory",
            Self::Symlink => "symbolic link",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
            Self::Device => "device",
            Self::Unknown => "file of an unknown kind",
        }
    }
}

/// Whether an operation acts on a symbolic link or on what it points to.
///
/// This is about the last name of a path only; links before it are always followed, below the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Links {
    /// Act on the target, which must lie below the root.
    #[default]
    Follow,
    /// Act on the link itself.
    Keep,
}

/// What a rename does when the new name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replace {
    /// Replace a file, or an empty directory by a directory.
    #[default]
    Allow,
    /// Fail with [`AlreadyExists`](super::TreeErrorKind::AlreadyExists).
    Refuse,
}

/// The attributes of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Size in bytes; for a symbolic link, the length of its target.
    pub size_bytes: u64,
    /// Permission bits, including setuid, setgid and sticky.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Number of names.
    pub links: u64,
    /// Seconds of the last modification since 1970, negative before.
    pub mtime_seconds: i64,
    /// Nanoseconds to add to `mtime_seconds`.
    pub mtime_nanos: u32,
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) blocks: u64,
}

impl Stat {
    #[allow(clippy::unnecessary_cast, reason = "the field types differ between platforms")]
    pub(super) fn of(raw: &rustix::fs::Stat) -> Self {
        Self {
            kind: FileKind::of(FileType::from_raw_mode(raw.st_mode as _)),
            size_bytes: u64::try_from(raw.st_size).unwrap_or(0),
            mode: raw.st_mode as u32 & 0o7777,
            uid: raw.st_uid as u32,
            gid: raw.st_gid as u32,
            links: raw.st_nlink as u64,
            mtime_seconds: raw.st_mtime as i64,
            mtime_nanos: raw.st_mtime_nsec as u32,
            dev: raw.st_dev as u64,
            ino: raw.st_ino as u64,
            blocks: raw.st_blocks as u64,
        }
    }

    /// The last modification as a [`SystemTime`].
    pub fn modified(&self) -> SystemTime {
        let whole = Duration::from_secs(self.mtime_seconds.unsigned_abs());
        let start = if self.mtime_seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(whole)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(whole)
        };
        start.unwrap_or(SystemTime::UNIX_EPOCH) + Duration::from_nanos(u64::from(self.mtime_nanos))
    }
}
