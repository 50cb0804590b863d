//! What packing and unpacking did, and what they left out

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Begins a comment in an archive that tells what the archive lacks: whoever unpacks it has no other way to know.
const LACKS: &[u8] = b"grainchain lacks\n";
/// A bound on these comments, within what a reader takes.
const MOST_NOTES: usize = 100;

/// Lists in a report end here; the counts beside them go on. A hostile tree must not fill our memory.
const LIST_CAP: usize = 1000;
/// Nor must its names: of longer paths the end is kept.
const LONGEST_PATH: usize = 4096;

/// Something that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// Its path in the archive, of longer ones than 4 KiB the end.
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
            self.changed.push(end_of(path).to_path_buf());
        }
    }

    /// What is not in the archive as it was on disk, as comments for its end.
    pub(super) fn comments(&self) -> impl Iterator<Item = Vec<u8>> {
        let skipped = self.skipped.iter().map(|skipped| (skipped.path.as_path(), skipped.reason.as_str()));
        let changed = self.changed.iter().map(|path| (path.as_path(), "changed while it was packed"));
        skipped
            .chain(changed)
            .take(MOST_NOTES)
            .map(|(path, reason)| [LACKS, reason.as_bytes(), b"\n", path.as_os_str().as_bytes()].concat())
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
    /// The first 1,000 things that were left out, here or, when [`pack`](super::pack()) made the archive, there.
    pub skipped: Vec<Skipped>,
    /// How many were left out.
    pub skipped_count: u64,
}

impl UnpackReport {
    /// Takes over what the one who packed could not give.
    pub(super) fn comment(&mut self, comment: &[u8]) {
        let Some(lack) = comment.strip_prefix(LACKS) else { return };
        if let Some(middle) = lack.iter().position(|byte| *byte == b'\n') {
            let reason = String::from_utf8_lossy(&lack[..middle]);
            self.skip(Path::new(OsStr::from_bytes(&lack[middle + 1..])), reason);
        }
    }

    pub(super) fn skip(&mut self, path: &Path, reason: impl Into<String>) {
        skip(&mut self.skipped, &mut self.skipped_count, path, reason.into());
    }
}

fn skip(list: &mut Vec<Skipped>, count: &mut u64, path: &Path, reason: String) {
    *count += 1;
    if list.len() < LIST_CAP {
        list.push(Skipped { path: end_of(path).to_path_buf(), reason });
    }
}

fn end_of(path: &Path) -> &Path {
    let path = path.as_os_str().as_bytes();
    Path::new(OsStr::from_bytes(&path[path.len().saturating_sub(LONGEST_PATH)..]))
}
