//! Standing still and going on.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::provider::Parts;

/// Standing still and going on.
#[async_trait]
pub trait Power: Debug + Send + Sync + 'static {
    /// Freezes every process.
    async fn pause(&self) -> Result<()>;

    /// Thaws every process.
    async fn resume(&self) -> Result<()>;

    /// Ends every process and gives up the compute; files and snapshots stay.
    async fn terminate(&self) -> Result<()>;

    /// Gets compute again after `terminate`. Answers with new parts when the machine underneath was replaced.
    async fn wake_up(&self) -> Result<Option<Parts>>;
}
