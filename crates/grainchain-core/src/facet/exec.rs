//! Commands that run to their end.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::types::command::Command;
use crate::types::output::Output;

/// Commands that run to their end.
#[async_trait]
pub trait Exec: Debug + Send + Sync + 'static {
    /// Runs `command` to its end. A failed command is an `Ok`; dropping the future kills its whole tree.
    async fn execute(&self, command: Command) -> Result<Output>;
}
