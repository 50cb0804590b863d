//! How a sandbox is, how long it lives, and its end.

use std::time::Duration;

use async_trait::async_trait;
use grainchain_core::facet::Lifecycle;
use grainchain_core::{RemoveIf, Result, SandboxInfo, blocking};

use crate::sandbox::LocalSandbox;

#[async_trait]
impl Lifecycle for LocalSandbox {
    async fn info(&self) -> Result<SandboxInfo> {
        let (state, folder) = (self.state().await?, self.folder.clone());
        blocking::run(move || Ok(state.info(&folder))).await
    }

    async fn set_lifetime(&self, lifetime: Option<Duration>) -> Result<()> {
        self.alone(move |sandbox, mut state| {
            state.live_for(lifetime);
            sandbox.save(&state)?;
            sandbox.end_at(state.expires_at());
            Ok(())
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        self.end(RemoveIf::Always).await.map(drop)
    }
}
