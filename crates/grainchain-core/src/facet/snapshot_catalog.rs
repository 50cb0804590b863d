//! The snapshots of a provider, whatever sandbox they came from.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::types::id::SnapshotId;
use crate::types::snapshot::SnapshotInfo;

/// The snapshots of a provider, whatever sandbox they came from.
#[async_trait]
pub trait SnapshotCatalog: Debug + Send + Sync + 'static {
    /// The snapshots.
    async fn list(&self) -> Result<Vec<SnapshotInfo>>;

    /// Deletes a snapshot.
    async fn delete(&self, id: &SnapshotId) -> Result<()>;
}
