//! What is known about one file

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType};

use crate::types::file::FileKind;

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
    /// The attributes of an open file.
    ///
    /// # Errors
    ///
    /// Those of fstat(2).
    pub fn of_file(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::of(&rustix::fs::fstat(file)?))
    }

    /// The attributes of an entry of an open directory, a link's own if it is one.
    ///
    /// # Errors
    ///
    /// Those of fstatat(2).
    pub fn of_entry(directory: impl AsFd, name: &CStr) -> io::Result<Self> {
        Ok(Self::of(&rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

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

    /// The last modification; none where this system's clock cannot tell it.
    pub fn modified(&self) -> Option<SystemTime> {
        let whole = Duration::from_secs(self.mtime_seconds.unsigned_abs());
        let start = if self.mtime_seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(whole)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(whole)
        };
        start?.checked_add(Duration::from_nanos(u64::from(self.mtime_nanos)))
    }
}
