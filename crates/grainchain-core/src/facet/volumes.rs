//! Storage of a provider that outlives sandboxes.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::types::id::VolumeId;
use crate::types::volume::{CreateVolume, VolumeInfo};

/// Storage of a provider that outlives sandboxes.
#[async_trait]
pub trait Volumes: Debug + Send + Sync + 'static {
    /// The volumes.
    async fn list(&self) -> Result<Vec<VolumeInfo>>;

    /// Makes a volume.
    async fn create(&self, request: CreateVolume) -> Result<VolumeInfo>;

    /// Deletes a volume.
    async fn delete(&self, id: &VolumeId) -> Result<()>;
}
