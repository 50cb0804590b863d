//! Code in interpreters that keep their variables.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::types::code::{CodeStream, ContextInfo, CreateContext, RunCode};
use crate::types::id::ContextId;

/// Code in interpreters that keep their variables.
#[async_trait]
pub trait Code: Debug + Send + Sync + 'static {
    /// Runs code; the stream's last event is `Done`.
    async fn run_code(&self, request: RunCode) -> Result<CodeStream>;

    /// Starts an interpreter.
    async fn create_context(&self, request: CreateContext) -> Result<ContextInfo>;

    /// The interpreters that live.
    async fn list_contexts(&self) -> Result<Vec<ContextInfo>>;

    /// Ends an interpreter and starts it afresh under the same id.
    async fn restart_context(&self, id: &ContextId) -> Result<ContextInfo>;

    /// Ends an interpreter.
    async fn delete_context(&self, id: &ContextId) -> Result<()>;
}
