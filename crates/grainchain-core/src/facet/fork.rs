//! Copies of a living sandbox.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::provider::Parts;

/// Copies of a living sandbox.
#[async_trait]
pub trait Fork: Debug + Send + Sync + 'static {
    /// Makes `count` sandboxes that begin as this one is now. All or none.
    async fn fork(&self, count: u32) -> Result<Vec<Parts>>;
}
