//! Files, trees and their changes.

use grainchain_core::{FileInfo, FileKind, UnpackSummary, WatchEvent, WatchKind};
use serde::{Deserialize, Serialize};

use super::time::WireTime;

/// What is at a path.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireFile {
    path: String,
    name: String,
    kind: WireKind,
    size: u64,
    mode: u32,
    modified: Option<WireTime>,
    link_target: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireKind {
    File,
    Directory,
    Symlink,
    Fifo,
    Socket,
    Device,
    Unknown,
}

impl From<FileInfo> for WireFile {
    fn from(info: FileInfo) -> Self {
        Self {
            path: info.path,
            name: info.name,
            kind: match info.kind {
                FileKind::File => WireKind::File,
                FileKind::Directory => WireKind::Directory,
                FileKind::Symlink => WireKind::Symlink,
                FileKind::Fifo => WireKind::Fifo,
                FileKind::Socket => WireKind::Socket,
                FileKind::Device => WireKind::Device,
                _ => WireKind::Unknown,
            },
            size: info.size,
            mode: info.mode,
            modified: info.modified.map(Into::into),
            link_target: info.link_target,
        }
    }
}

impl From<WireFile> for FileInfo {
    fn from(wire: WireFile) -> Self {
        let kind = match wire.kind {
            WireKind::File => FileKind::File,
            WireKind::Directory => FileKind::Directory,
            WireKind::Symlink => FileKind::Symlink,
            WireKind::Fifo => FileKind::Fifo,
            WireKind::Socket => FileKind::Socket,
            WireKind::Device => FileKind::Device,
            WireKind::Unknown => FileKind::Unknown,
        };
        let mut info = Self::new(wire.path, kind, wire.size);
        info.name = wire.name;
        info.mode = wire.mode;
        info.modified = wire.modified.map(Into::into);
        info.link_target = wire.link_target;
        info
    }
}

/// What an archive brought.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireSummary {
    entries: u64,
    bytes: u64,
    skipped: Vec<String>,
}

impl From<UnpackSummary> for WireSummary {
    fn from(summary: UnpackSummary) -> Self {
        Self { entries: summary.entries, bytes: summary.bytes, skipped: summary.skipped }
    }
}

impl From<WireSummary> for UnpackSummary {
    fn from(wire: WireSummary) -> Self {
        Self::new(wire.entries, wire.bytes, wire.skipped)
    }
}

/// A change.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireWatch {
    path: String,
    kind: WireWatchKind,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireWatchKind {
    Created,
    Modified,
    Attributes,
    Removed,
    RenamedTo(String),
    Overflow,
}

impl From<WatchEvent> for WireWatch {
    fn from(event: WatchEvent) -> Self {
        let kind = match event.kind {
            WatchKind::Created => WireWatchKind::Created,
            WatchKind::Modified => WireWatchKind::Modified,
            WatchKind::Attributes => WireWatchKind::Attributes,
            WatchKind::Removed => WireWatchKind::Removed,
            WatchKind::RenamedTo(to) => WireWatchKind::RenamedTo(to),
            // The one that always tells the truth: look again.
            _ => WireWatchKind::Overflow,
        };
        Self { path: event.path, kind }
    }
}

impl From<WireWatch> for WatchEvent {
    fn from(wire: WireWatch) -> Self {
        let kind = match wire.kind {
            WireWatchKind::Created => WatchKind::Created,
            WireWatchKind::Modified => WatchKind::Modified,
            WireWatchKind::Attributes => WatchKind::Attributes,
            WireWatchKind::Removed => WatchKind::Removed,
            WireWatchKind::RenamedTo(to) => WatchKind::RenamedTo(to),
            WireWatchKind::Overflow => WatchKind::Overflow,
        };
        Self::new(wire.path, kind)
    }
}
