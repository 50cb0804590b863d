//! How a sandbox is, how long it lives, and its end.

use std::time::Duration;

use async_trait::async_trait;
use grainchain_core::facet::Lifecycle;
use grainchain_core::{Capability, ErrorKind, RemoveIf, Result, SandboxInfo};

use crate::asleep::{self, Place};
use crate::engine::{ContainerState, gone};
use crate::labels::info_of;
use crate::sandbox::{DockerSandbox, end, tell};

/// How long the end waits for what goes on before it.
const TURN: Duration = Duration::from_secs(10);

#[async_trait]
impl Lifecycle for DockerSandbox {
    async fn info(&self) -> Result<SandboxInfo> {
        let found = match asleep::place(&self.engine, &self.container).await? {
            Place::Container(found) => found,
            Place::Asleep(image) => return asleep::info_of(&image).ok_or_else(gone),
            Place::Gone => return Err(gone()),
        };
        let mut info = info_of(&found).ok_or_else(gone)?;
        if let (Some(inside), ContainerState::Running) = (&self.inside, found.state) {
            tell(&mut info, &inside.remote().await?.state().await?, true);
        }
        Ok(info)
    }

    async fn set_lifetime(&self, lifetime: Option<Duration>) -> Result<()> {
        match &self.inside {
            Some(inside) => inside.remote().await?.set_lifetime(lifetime).await.map(drop),
            // Its first process was told at the start how long to sleep, and labels cannot be changed.
            None => Err(Capability::SetLifetime.unsupported()),
        }
    }

    async fn close(&self) -> Result<()> {
        // A restore that is half way would bring it back. One that hangs does not keep it alive.
        let _alone = tokio::time::timeout(TURN, self.still.write()).await.ok();
        if let Some(inside) = &self.inside {
            inside.close();
        }
        match end(&self.engine, &self.identity.id, RemoveIf::Always).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            ended => ended.map(drop),
        }
    }
}
