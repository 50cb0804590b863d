//! How a sandbox is, how long it lives, and its end.

use std::time::Duration;

use async_trait::async_trait;
use grainchain_core::facet::Lifecycle;
use grainchain_core::{Capability, ErrorKind, RemoveIf, Result, SandboxInfo};

use crate::engine::gone;
use crate::labels::info_of;
use crate::sandbox::{DockerSandbox, end};

/// How long the end waits for what goes on before it.
const TURN: Duration = Duration::from_secs(10);

#[async_trait]
impl Lifecycle for DockerSandbox {
    async fn info(&self) -> Result<SandboxInfo> {
        info_of(&self.look().await?).ok_or_else(gone)
    }

    async fn set_lifetime(&self, _lifetime: Option<Duration>) -> Result<()> {
        // Its first process was told at the start how long to sleep, and labels cannot be changed.
        Err(Capability::SetLifetime.unsupported())
    }

    async fn close(&self) -> Result<()> {
        // A restore that is half way would bring it back. One that hangs does not keep it alive.
        let _alone = tokio::time::timeout(TURN, self.still.write()).await.ok();
        match end(&self.engine, &self.identity.id, RemoveIf::Always).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            ended => ended.map(drop),
        }
    }
}
