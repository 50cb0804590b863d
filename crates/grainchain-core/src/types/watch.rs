//! Changes of files as they happen.

use std::pin::Pin;

use futures_util::Stream;
use serde::Serialize;

use crate::error::Result;

/// Asks for the changes below a directory, or of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchPath {
    /// What is watched.
    pub path: String,
    /// Whether directories below are watched too, those made later included; yes by default.
    pub recursive: bool,
}

impl WatchPath {
    /// Everything below `path`.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), recursive: true }
    }

    /// The directory's own entries alone.
    #[must_use]
    pub fn flat(mut self) -> Self {
        self.recursive = false;
        self
    }
}

impl From<&str> for WatchPath {
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WatchKind {
    /// It is new, or was moved here from outside.
    Created,
    /// Its content changed.
    Modified,
    /// Its permissions or times changed.
    Attributes,
    /// It is gone, or was moved outside.
    Removed,
    /// It has this new path.
    RenamedTo(String),
    /// Changes came faster than they could be told; look again at everything below.
    Overflow,
}

/// One change. Paths are relative to what is watched; empty for that itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WatchEvent {
    /// What it happened to.
    pub path: String,
    /// What happened.
    pub kind: WatchKind,
}

impl WatchEvent {
    /// `kind` happened to `path`.
    pub fn new(path: impl Into<String>, kind: WatchKind) -> Self {
        Self { path: path.into(), kind }
    }
}

/// Changes from the moment `watch` returned, until the stream is dropped.
pub type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchEvent>> + Send>>;
