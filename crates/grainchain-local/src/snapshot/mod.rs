//! Snapshots of a directory tree: a synchronous library over a content-addressed store.
//!
//! A [`Store`] keeps manifests and objects in a directory of its own; the workspace shares no inode with it. What
//! the files of a snapshot hold can therefore never change afterwards, whatever happens in the workspace. The
//! choices and their measurements are in `docs/decisions/0003-local-snapshots.md`.
//!
//! The workspace is hostile territory: every access goes through directory descriptors below its root and never
//! follows a symbolic link. Linux only: it needs `/proc`, `statx` and `RENAME_EXCHANGE`.

mod attrs;
mod build;
mod codec;
mod create;
mod dirs;
mod error;
mod export;
mod failpoint;
mod index;
mod journal;
mod manifest;
mod objects;
mod plan;
mod record;
mod resolve;
mod restore;
mod scan;
mod store;
mod tree;
mod writers;

#[cfg(test)]
mod tests;

pub(crate) use create::CreateOptions;
pub(crate) use error::{Error, Problem};
pub(crate) use record::{SnapshotId, SnapshotRecord};
pub(crate) use restore::RestoreOptions;
pub(crate) use store::Store;
pub(crate) use writers::{LiveWriters, Writers};
