//! Points to go back to.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::provider::Parts;
use crate::types::id::SnapshotId;
use crate::types::snapshot::{CreateSnapshot, SnapshotInfo};

/// Points to go back to.
#[async_trait]
pub trait Snapshots: Debug + Send + Sync + 'static {
    /// Takes a snapshot.
    async fn create(&self, request: CreateSnapshot) -> Result<SnapshotInfo>;

    /// Goes back to a snapshot. Answers with new parts when the machine underneath was replaced.
    async fn restore(&self, id: &SnapshotId) -> Result<Option<Parts>>;

    /// The snapshots of this sandbox, oldest first.
    async fn list(&self) -> Result<Vec<SnapshotInfo>>;

    /// Deletes a snapshot; those that descend from it stay whole.
    async fn delete(&self, id: &SnapshotId) -> Result<()>;
}
