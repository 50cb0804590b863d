//! Whole trees as one tar stream.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::types::content::Content;
use crate::types::file::{Pack, Unpack, UnpackSummary};

/// Whole trees as one tar stream.
#[async_trait]
pub trait Archive: Debug + Send + Sync + 'static {
    /// The tree at a path as a tar stream: modes, times, links, sparse files and extended attributes included.
    async fn pack(&self, request: Pack) -> Result<Content>;

    /// Unfolds a tar stream below a path.
    async fn unpack(&self, request: Unpack, archive: Content) -> Result<UnpackSummary>;
}
