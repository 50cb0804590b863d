//! How a sandbox is, how long it lives, and its end.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::types::info::SandboxInfo;

/// How a sandbox is, how long it lives, and its end.
#[async_trait]
pub trait Lifecycle: Debug + Send + Sync + 'static {
    /// Its status, times and limits.
    async fn info(&self) -> Result<SandboxInfo>;

    /// Lets it live for `lifetime` from now; none lifts the limit where the provider allows that.
    async fn set_lifetime(&self, lifetime: Option<std::time::Duration>) -> Result<()>;

    /// Ends it: kills what runs and removes what it holds. Closing what is gone already is no error.
    async fn close(&self) -> Result<()>;
}
