//! Standing still and going on, by the engine's freezer.

use async_trait::async_trait;
use grainchain_core::facet::Power;
use grainchain_core::{Capability, Parts, Result};

use crate::sandbox::DockerSandbox;

#[async_trait]
impl Power for DockerSandbox {
    async fn pause(&self) -> Result<()> {
        let _alone = self.still.write().await;
        self.engine.pause(&self.container).await
    }

    async fn resume(&self) -> Result<()> {
        let _alone = self.still.write().await;
        self.engine.unpause(&self.container).await
    }

    async fn terminate(&self) -> Result<()> {
        // Stopping would remove it: whatever ends its first process ends the sandbox, so that no orphan is ever left.
        Err(Capability::Terminate.unsupported())
    }

    async fn wake_up(&self) -> Result<Option<Parts>> {
        Err(Capability::Terminate.unsupported())
    }
}
