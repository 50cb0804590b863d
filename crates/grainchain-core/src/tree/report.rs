//! What packing and unpacking did, and what they left out

use std::path::{Path, PathBuf};

/// Lists in a report end here; the counts beside them go on. A hostile tree must not fill our memory.
const LIST_CAP: usize = 1000;

/// Something that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// Its path in the archive.
    pub path: PathBuf,
    /// The reason in words: `named pipe`.
    pub reason: String,
}

/// What [`pack`](super::pack()) wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PackReport {
    /// Entries in the archive.
    pub entries: u64,
    /// Sum of the file sizes, holes included.
    pub bytes: u64,
    /// The first 1,000 things that were left out.
    pub skipped: Vec<Skipped>,
    /// How many were left out.
    pub skipped_count: u64,
    /// The first 1,000 files that changed their size while being read: cut or filled with zeros.
    pub changed: Vec<PathBuf>,
    /// How many changed.
    pub changed_count: u64,
}

impl PackReport {
    pub(super) fn skip(&mut self, path: &Path, reason: impl Into<String>) {
        skip(&mut self.skipped, &mut self.skipped_count, path, reason.into());
    }

    pub(super) fn change(&mut self, path: &Path) {
        self.changed_count += 1;
        if self.changed.len() < LIST_CAP {
            self.changed.push(path.to_path_buf());
        }
    }
}

/// What [`unpack`](super::unpack()) made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct UnpackReport {
    /// Entries that were made, of all kinds.
    pub entries: u64,
    /// Sum of the file sizes, holes included.
    pub bytes: u64,
    /// The first 1,000 things that were left out.
    pub skipped: Vec<Skipped>,
    /// How many were left out.
    pub skipped_count: u64,
}

impl UnpackReport {
    pub(super) fn skip(&mut self, path: &Path, reason: impl Into<String>) {
        skip(&mut self.skipped, &mut self.skipped_count, path, reason.into());
    }
}

fn skip(list: &mut Vec<Skipped>, count: &mut u64, path: &Path, reason: String) {
    *count += 1;
    if list.len() < LIST_CAP {
        list.push(Skipped { path: path.to_path_buf(), reason });
    }
}
