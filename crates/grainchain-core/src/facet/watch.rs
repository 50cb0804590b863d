//! Changes of files as they happen.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::types::watch::{WatchPath, WatchStream};

/// Changes of files as they happen.
#[async_trait]
pub trait Watch: Debug + Send + Sync + 'static {
    /// The changes from now on, until the stream is dropped.
    async fn watch(&self, request: WatchPath) -> Result<WatchStream>;
}
