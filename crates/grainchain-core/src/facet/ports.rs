//! Ways in.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::types::port::PreviewUrl;

/// Ways in.
#[async_trait]
pub trait Ports: Debug + Send + Sync + 'static {
    /// Where `port` can be reached.
    async fn preview_url(&self, port: u16) -> Result<PreviewUrl>;

    /// Closes the way to `port`.
    async fn close(&self, port: u16) -> Result<()>;
}
