//! What can go wrong below a root, in words and as a kind

use std::borrow::Cow;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Longest path in a message, in bytes.
const MAX_SHOWN: usize = 512;

/// A failed operation on a tree: what was tried, on which path, and why it failed.
#[derive(Debug)]
pub struct TreeError {
    operation: &'static str,
    path: PathBuf,
    kind: TreeErrorKind,
    source: io::Error,
}

/// The few classes of failure that a caller can react to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TreeErrorKind {
    /// Nothing is there.
    NotFound,
    /// Something is there already.
    AlreadyExists,
    /// The operating system refuses (`EACCES`, `EPERM`).
    Denied,
    /// The path leaves the root, by `..`, by being absolute, or through a link.
    Outside,
    /// The path can never be one: empty, with a NUL byte, with a name or a whole that is too long.
    InvalidPath,
    /// Something on the way, or the target, is not a directory.
    NotADirectory,
    /// The target is a directory where a file is wanted.
    IsADirectory,
    /// The target is a pipe, a socket or a device where a file is wanted.
    NotAFile,
    /// A directory still holds entries.
    NotEmpty,
    /// No space or no quota is left.
    Full,
    /// The file system is mounted read-only.
    ReadOnly,
    /// Something is mounted there, or uses it (`EBUSY`).
    Busy,
    /// A limit was exceeded, the file system's or the caller's.
    TooLarge,
    /// An archive is truncated or malformed.
    Corrupt,
    /// Anything else; the source says what.
    Other,
}

impl TreeError {
    pub(super) fn new(operation: &'static str, path: impl Into<PathBuf>, fault: impl Into<Fault>) -> Self {
        let Fault { kind, source } = fault.into();
        Self { operation, path: path.into(), kind, source }
    }

    /// What was tried, as a verb: `open`, `rename`, `unpack`.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The path as the caller or the archive wrote it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn system(&self) -> &io::Error {
        &self.source
    }

    /// The class of the failure.
    pub fn kind(&self) -> TreeErrorKind {
        self.kind
    }
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Debug quotes the path and escapes newlines and terminal codes, which hostile names contain.
        write!(f, "{} {:?}: {}", self.operation, short(&self.path), reason(&self.source))
    }
}

impl Error for TreeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// The end of a path, which tells more than its beginning: hostile ones have a megabyte.
pub(super) fn short(path: &Path) -> Cow<'_, OsStr> {
    let bytes = path.as_os_str().as_bytes();
    match bytes.len().checked_sub(MAX_SHOWN) {
        None | Some(0) => Cow::Borrowed(path.as_os_str()),
        Some(start) => Cow::Owned(OsString::from_vec([b"...", &bytes[start..]].concat())),
    }
}

/// "No space left on device (os error 28)" as "no space left on device".
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    if error.raw_os_error().is_none() {
        return text;
    }
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// A failure that does not know yet which operation and path it belongs to.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: TreeErrorKind,
    pub(super) source: io::Error,
}

impl Fault {
    pub(super) fn new(kind: TreeErrorKind, message: impl Into<String>) -> Self {
        Self { kind, source: io::Error::other(message.into()) }
    }

    pub(super) fn outside(how: impl fmt::Display) -> Self {
        Self::new(TreeErrorKind::Outside, format!("leaves the workspace {how}"))
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(TreeErrorKind::InvalidPath, message)
    }

    pub(super) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(TreeErrorKind::Corrupt, message)
    }

    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::new(TreeErrorKind::TooLarge, message)
    }
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self { kind: kind_of(errno), source: errno.into() }
    }
}

impl From<io::Error> for Fault {
    fn from(source: io::Error) -> Self {
        let kind = source
            .raw_os_error()
            .map_or(TreeErrorKind::Other, |code| kind_of(Errno::from_raw_os_error(code)));
        Self { kind, source }
    }
}

fn kind_of(errno: Errno) -> TreeErrorKind {
    match errno {
        Errno::NOENT => TreeErrorKind::NotFound,
        Errno::EXIST => TreeErrorKind::AlreadyExists,
        Errno::ACCESS | Errno::PERM => TreeErrorKind::Denied,
        // Renaming a directory into itself is `EINVAL`.
        Errno::NAMETOOLONG | Errno::LOOP | Errno::INVAL => TreeErrorKind::InvalidPath,
        Errno::NOTDIR => TreeErrorKind::NotADirectory,
        Errno::ISDIR => TreeErrorKind::IsADirectory,
        Errno::NOTEMPTY => TreeErrorKind::NotEmpty,
        Errno::NOSPC | Errno::DQUOT => TreeErrorKind::Full,
        Errno::ROFS => TreeErrorKind::ReadOnly,
        Errno::BUSY => TreeErrorKind::Busy,
        Errno::FBIG => TreeErrorKind::TooLarge,
        _ => TreeErrorKind::Other,
    }
}

/// Attaches the operation and the path to a failure.
pub(super) trait At<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, TreeError>;
}

impl<T, E: Into<Fault>> At<T> for Result<T, E> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, TreeError> {
        self.map_err(|fault| TreeError::new(operation, path, fault))
    }
}
