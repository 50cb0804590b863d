//! Points in a sandbox's life to go back to.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use crate::types::id::SnapshotId;

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SnapshotKind {
    /// The files. Processes end on restore.
    #[default]
    Filesystem,
    /// The files and the memory of all processes.
    Memory,
}

/// Asks for a snapshot.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CreateSnapshot {
    /// What it holds; the files by default.
    pub kind: SnapshotKind,
    /// A name for people; need not be unique.
    pub name: Option<String>,
    /// Labels of the user's own.
    pub metadata: BTreeMap<String, String>,
}

impl CreateSnapshot {
    /// A snapshot of the files.
    pub fn filesystem() -> Self {
        Self::default()
    }

    /// A snapshot of files and memory.
    pub fn memory() -> Self {
        Self { kind: SnapshotKind::Memory, ..Self::default() }
    }

    /// Gives it a name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }
}

impl From<&str> for CreateSnapshot {
    fn from(name: &str) -> Self {
        Self::default().name(name)
    }
}

/// A snapshot as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Its id.
    pub id: SnapshotId,
    /// What it holds.
    pub kind: SnapshotKind,
    /// The name given to it.
    pub name: Option<String>,
    /// The snapshot that the state descends from.
    pub parent: Option<SnapshotId>,
    /// When it was taken.
    #[serde(serialize_with = "super::timestamp::serialize")]
    pub created_at: SystemTime,
    /// The bytes of all files in it, where known.
    pub size_bytes: Option<u64>,
    /// Labels of the user's own.
    pub metadata: BTreeMap<String, String>,
    /// What is not exactly as it was, in words: a file that never stood still, a socket that cannot be kept.
    pub notes: Vec<String>,
}

impl SnapshotInfo {
    /// A snapshot `id` of `kind`.
    pub fn new(id: SnapshotId, kind: SnapshotKind, created_at: SystemTime) -> Self {
        Self {
            id,
            kind,
            name: None,
            parent: None,
            created_at,
            size_bytes: None,
            metadata: BTreeMap::new(),
            notes: Vec::new(),
        }
    }
}
