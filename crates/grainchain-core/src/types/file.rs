//! Files of a sandbox and what is asked about them. Paths are POSIX; relative ones start at the working directory.

use std::time::SystemTime;

use serde::Serialize;

/// What a name in a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
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
    /// The system did not say.
    Unknown,
}

impl FileKind {
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

/// A file as `stat` and `list_files` show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileInfo {
    /// The path, relative to what was asked about in a list, as asked for in a `stat`. Bytes that are not UTF-8 are replaced.
    pub path: String,
    /// The last part of the path.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Its length in bytes.
    pub size: u64,
    /// Permission bits, as in `0o755`.
    pub mode: u32,
    /// When its content was last changed.
    #[serde(serialize_with = "super::timestamp::option::serialize")]
    pub modified: Option<SystemTime>,
    /// Where a symbolic link points, as written in it.
    pub link_target: Option<String>,
}

impl FileInfo {
    /// A file of `kind` at `path`.
    pub fn new(path: impl Into<String>, kind: FileKind, size: u64) -> Self {
        let path = path.into();
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(&path).to_owned();
        Self { path, name, kind, size, mode: 0, modified: None, link_target: None }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }
}

/// Asks for a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadFile {
    /// Which file.
    pub path: String,
    /// The first byte; 0 by default. Past the end there is nothing to read.
    pub offset: u64,
    /// How many bytes at most; to the end by default.
    pub length: Option<u64>,
}

impl ReadFile {
    /// The whole file at `path`.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), offset: 0, length: None }
    }

    /// Begins at `offset`.
    #[must_use]
    pub fn offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Reads at most `length` bytes.
    #[must_use]
    pub fn length(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }
}

/// Asks for a file to be written. The old content stays until the new one is complete, then the file is swapped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteFile {
    /// Which file.
    pub path: String,
    /// Permission bits; those of the replaced file, or `0o644`, by default.
    pub mode: Option<u32>,
    /// Whether missing parents are made; yes by default.
    pub parents: bool,
}

impl WriteFile {
    /// Writes to `path`.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), mode: None, parents: true }
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Fails when a parent is missing.
    #[must_use]
    pub fn without_parents(mut self) -> Self {
        self.parents = false;
        self
    }
}

/// Asks what is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// Which file.
    pub path: String,
    /// Whether a symbolic link stands for what it points to; no by default.
    pub follow: bool,
}

impl Stat {
    /// What is at `path`, a link itself if it is one.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), follow: false }
    }

    /// Follows a symbolic link.
    #[must_use]
    pub fn follow(mut self) -> Self {
        self.follow = true;
        self
    }
}

/// Asks for the entries of a directory, sorted by path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListFiles {
    /// Which directory.
    pub path: String,
    /// How many levels: 1, the default, is the directory's own entries. Links are not followed.
    pub depth: u32,
}

impl ListFiles {
    /// The entries of `path`.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), depth: 1 }
    }

    /// Goes `depth` levels down.
    #[must_use]
    pub fn depth(mut self, depth: u32) -> Self {
        self.depth = depth;
        self
    }

    /// Goes all the way down.
    #[must_use]
    pub fn recursive(self) -> Self {
        self.depth(u32::MAX)
    }
}

/// Asks for a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MakeDir {
    /// Which directory.
    pub path: String,
    /// Whether missing parents are made and an existing directory is fine; yes by default.
    pub parents: bool,
    /// Permission bits; `0o755` by default.
    pub mode: Option<u32>,
}

impl MakeDir {
    /// Makes `path` with its parents.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), parents: true, mode: None }
    }

    /// Fails when a parent is missing or the directory exists.
    #[must_use]
    pub fn without_parents(mut self) -> Self {
        self.parents = false;
        self
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }
}

/// Asks for a file or directory to be removed. Links are removed, not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remove {
    /// What.
    pub path: String,
    /// Whether a directory goes with everything in it; no by default.
    pub recursive: bool,
    /// Whether it is fine that there is nothing; no by default.
    pub missing_ok: bool,
}

impl Remove {
    /// Removes the file or empty directory at `path`.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), recursive: false, missing_ok: false }
    }

    /// With everything in it.
    #[must_use]
    pub fn recursive(mut self) -> Self {
        self.recursive = true;
        self
    }

    /// Succeeds when there is nothing.
    #[must_use]
    pub fn missing_ok(mut self) -> Self {
        self.missing_ok = true;
        self
    }
}

/// Asks for a file or directory to get another name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rename {
    /// The present path.
    pub from: String,
    /// The new path, whose parent exists.
    pub to: String,
    /// Whether a file that is there already is replaced; yes by default, as rename(2) does.
    pub replace: bool,
}

impl Rename {
    /// Renames `from` to `to`.
    pub fn new(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { from: from.into(), to: to.into(), replace: true }
    }

    /// Fails when `to` exists.
    #[must_use]
    pub fn without_replacing(mut self) -> Self {
        self.replace = false;
        self
    }
}

/// Asks for a tree as one tar stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pack {
    /// The directory, whose entries become the archive's top, or a single file.
    pub path: String,
}

impl Pack {
    /// The tree at `path`.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into() }
    }
}

/// Asks for a tar stream to be unfolded. Entries that would leave the directory are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unpack {
    /// The directory, made with its parents when missing.
    pub path: String,
}

impl Unpack {
    /// Unfolds into `path`.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into() }
    }
}

/// What unfolding a tar stream did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UnpackSummary {
    /// Entries made: files, directories and links.
    pub entries: u64,
    /// Bytes of file content written.
    pub bytes: u64,
    /// What was left out or changed while it was copied (pipes, sockets, devices, files that somebody wrote to), each with the
    /// reason; the first hundred.
    pub skipped: Vec<String>,
}

impl UnpackSummary {
    /// A summary of these counts.
    pub fn new(entries: u64, bytes: u64, skipped: Vec<String>) -> Self {
        Self { entries, bytes, skipped }
    }
}

macro_rules! from_path {
    ($($name:ident)+) => {$(
        impl From<&str> for $name {
            fn from(path: &str) -> Self {
                Self::new(path)
            }
        }

        impl From<String> for $name {
            fn from(path: String) -> Self {
                Self::new(path)
            }
        }

        impl From<&String> for $name {
            fn from(path: &String) -> Self {
                Self::new(path.as_str())
            }
        }
    )+};
}

from_path!(ReadFile WriteFile Stat ListFiles MakeDir Remove Pack Unpack);
