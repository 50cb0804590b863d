//! A snapshot as a new directory tree.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::FlockOperation;

use super::build::{Item, build};
use super::dirs::{Root, clear, list};
use super::error::{At, Error, Result};
use super::manifest;
use super::record::SnapshotId;
use super::restore::RestoreReport;
use super::store::{Durability, Store};
use super::tree::Tree;

impl Store {
    /// Writes a snapshot into `dir`, which must exist and be empty.
    ///
    /// Unlike [`restore`](Self::restore) this works on any file system. After a failure `dir` is empty again; if the
    /// process ends in the middle, what it had written stays.
    ///
    /// # Errors
    ///
    /// `dir` is not an empty directory, the snapshot is missing or damaged, or `dir` cannot be written.
    pub(crate) fn export(&self, id: &SnapshotId, dir: &Path) -> Result<RestoreReport> {
        const OPERATION: &str = "export a snapshot into";
        let _lock = self.lock(FlockOperation::NonBlockingLockShared)?;
        let (_, tree) = manifest::read(&self.manifest_path(id), id)?;
        let root = Root::open(OPERATION, dir)?;
        if !list(root.fd.as_fd()).at(OPERATION, dir)?.is_empty() {
            return Err(Error::refused(OPERATION, dir, "it is not empty; name an empty directory"));
        }
        let items: Vec<Item> =
            paths(&tree).into_iter().zip(0..).map(|(path, entry)| Item { entry, path }).collect();
        let built = build(&root.fd, &tree, &items, &self.objects, self.threads, |_| false);
        let not_restored = match built {
            Ok(missing) => missing,
            Err(error) => {
                clear(root.fd.as_fd()).at("clean up after a failed export", dir)?;
                return Err(error);
            }
        };
        if self.durability == Durability::Everything {
            rustix::fs::syncfs(&root.fd).at("write out", dir)?;
        }
        Ok(RestoreReport {
            added: items.len() as u64 - 1,
            written_bytes: tree.objects().map(|(_, len)| len).sum(),
            not_restored,
            ..RestoreReport::default()
        })
    }
}

fn paths(tree: &Tree) -> Vec<Vec<u8>> {
    let mut paths: Vec<Vec<u8>> = Vec::with_capacity(tree.entries.len());
    for (at, entry) in tree.entries.iter().enumerate() {
        let path =
            if at == 0 { Vec::new() } else { super::tree::join(&paths[entry.parent as usize], &entry.name) };
        paths.push(path);
    }
    paths
}
