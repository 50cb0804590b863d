//! How a sandbox is, how long it lives, and its end.

use std::time::Duration;

use async_trait::async_trait;
use grainchain_core::facet::Lifecycle;
use grainchain_core::{Result, SandboxInfo};

use crate::sandbox::LocalSandbox;

#[async_trait]
impl Lifecycle for LocalSandbox {
    async fn info(&self) -> Result<SandboxInfo> {
        Ok(self.state().await?.info(&self.folder))
    }

    async fn set_lifetime(&self, lifetime: Option<Duration>) -> Result<()> {
        let _changing = self.changing.lock().await;
        let state = self.update(move |state| state.live_for(lifetime)).await?;
        self.end_at(state.expires_at());
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.end_at(None);
        self.end().await
    }
}
