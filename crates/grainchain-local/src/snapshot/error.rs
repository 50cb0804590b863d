//! What can go wrong, with the operation and the path it went wrong at.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of every operation of this module.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed snapshot operation: what was attempted, on which path, and why it failed.
#[derive(Debug)]
pub(crate) struct Error {
    operation: &'static str,
    path: PathBuf,
    problem: Problem,
}

/// Why an operation failed.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The operating system refused.
    Io(io::Error),
    /// No snapshot has this id.
    NoSuchSnapshot,
    /// Something stored is missing or not what was written; the text says what.
    Damaged(String),
    /// Somebody keeps the store locked; the text says who.
    Locked(String),
    /// The request cannot be honoured as things stand; the text says why and what to do.
    Refused(String),
}

impl Error {
    pub(super) fn new(operation: &'static str, path: impl AsRef<Path>, problem: Problem) -> Self {
        Self { operation, path: path.as_ref().to_path_buf(), problem }
    }

    pub(super) fn damaged(operation: &'static str, path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Self::new(operation, path, Problem::Damaged(what.into()))
    }

    pub(super) fn refused(operation: &'static str, path: impl AsRef<Path>, why: impl Into<String>) -> Self {
        Self::new(operation, path, Problem::Refused(why.into()))
    }

    /// The path concerned: below the workspace, in the store, or the id of a snapshot.
    #[cfg(test)]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Why it failed.
    pub(crate) fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {:?}: ", self.operation, self.path)?;
        match &self.problem {
            Problem::Io(error) => write!(f, "{error}"),
            Problem::NoSuchSnapshot => f.write_str("no such snapshot"),
            Problem::Locked(holder) => write!(f, "{holder} holds it"),
            Problem::Damaged(what) | Problem::Refused(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// Adds the operation and the path to an error of the operating system.
pub(super) trait At<T> {
    fn at(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|error| Error::new(operation, path, Problem::Io(error.into())))
    }
}
