//! What a listing says about a snapshot.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use super::error::{At, Error, Problem, Result};

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const PREFIX: &str = "snap_";
const DIGITS: usize = 26;

/// The name of a snapshot: `snap_` and 128 random bits in base 32.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SnapshotId(String);

impl SnapshotId {
    pub(super) fn random() -> Result<Self> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits)
            .map_err(|error| std::io::Error::other(error.to_string()))
            .at("make", "a snapshot id")?;
        let mut number = u128::from_le_bytes(bits);
        let mut text = PREFIX.to_owned();
        for _ in 0..DIGITS {
            text.push(char::from(ALPHABET[(number & 31) as usize]));
            number >>= 5;
        }
        Ok(Self(text))
    }

    /// Reads an id.
    ///
    /// # Errors
    ///
    /// [`Problem::NoSuchSnapshot`] for anything that no snapshot could be called.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let digits = text.strip_prefix(PREFIX).unwrap_or_default();
        if digits.len() == DIGITS && digits.bytes().all(|digit| ALPHABET.contains(&digit)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::new("find snapshot", text, Problem::NoSuchSnapshot))
        }
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A snapshot, as [`Store::list`](super::Store::list) describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotRecord {
    /// Its id.
    pub(crate) id: SnapshotId,
    /// The name its creator gave it. Names need not be unique.
    pub(crate) name: Option<String>,
    /// The snapshot it was taken after, which may have been deleted since.
    pub(crate) parent: Option<SnapshotId>,
    /// When it was begun.
    pub(crate) created: SystemTime,
    /// What its creator wanted remembered.
    pub(crate) metadata: BTreeMap<String, String>,
    /// How many names it holds, the root not counted.
    pub(crate) entries: u64,
    /// The sizes of its files, holes included, each hard-linked file once.
    pub(crate) size_bytes: u64,
    /// What it added to the store, the manifest not counted.
    pub(crate) added_bytes: u64,
    /// What kept changing while it was read, below the workspace. What the snapshot holds of these may never have
    /// existed at one moment.
    pub(crate) changing: Vec<PathBuf>,
    /// Mount points below the workspace: kept as empty directories, because what is mounted there belongs to
    /// another file system.
    pub(crate) mounts: Vec<PathBuf>,
}

/// A manifest that could not be read. The other snapshots are not affected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokenRecord {
    /// The name of the manifest's file. If it is a snapshot id, [`Store::delete`](super::Store::delete) removes it.
    pub(crate) file_name: PathBuf,
    /// What is wrong with it.
    pub(crate) reason: String,
}
