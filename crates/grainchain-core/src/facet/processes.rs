//! Commands that run beside the caller.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::types::command::Command;
use crate::types::id::ProcessId;
use crate::types::process::{Process, ProcessInfo};

/// Commands that run beside the caller.
#[async_trait]
pub trait Processes: Debug + Send + Sync + 'static {
    /// Starts `command`.
    async fn spawn(&self, command: Command) -> Result<Process>;

    /// Follows a process that was started before, from what is still buffered.
    async fn attach(&self, id: &ProcessId) -> Result<Process>;

    /// The processes that were started and whose result was not yet fetched.
    async fn list(&self) -> Result<Vec<ProcessInfo>>;
}
