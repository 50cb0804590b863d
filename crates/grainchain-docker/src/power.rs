//! Standing still and going on, by the engine's freezer; ending and waking up, by an image.

use std::sync::Arc;

use async_trait::async_trait;
use grainchain_core::facet::Power;
use grainchain_core::{Capability, Error, ErrorKind, Parts, Result};

use crate::asleep::{self, Place};
use crate::detached::detached;
use crate::engine::{ContainerState, gone};
use crate::sandbox::DockerSandbox;

#[async_trait]
impl Power for DockerSandbox {
    async fn pause(&self) -> Result<()> {
        let mut is_paused = self.still.write().await;
        if let Err(error) = self.engine.pause(&self.container).await {
            self.is_already(ContainerState::Paused, error).await?;
        }
        *is_paused = true;
        Ok(())
    }

    async fn resume(&self) -> Result<()> {
        let mut is_paused = self.still.write().await;
        if let Err(error) = self.engine.unpause(&self.container).await {
            self.is_already(ContainerState::Running, error).await?;
        }
        *is_paused = false;
        Ok(())
    }

    async fn terminate(&self) -> Result<()> {
        if !self.identity.config.is_kept_by_images() {
            return Err(Capability::Terminate.unsupported());
        }
        let found = match asleep::place(&self.engine, &self.container).await? {
            Place::Container(found) => found,
            Place::Asleep(_) => return Ok(()),
            Place::Gone => return Err(gone()),
        };
        // Paused, its helper could not say when it ends.
        if found.state == ContainerState::Paused {
            self.resume().await?;
        }
        let (engine, identity) = (self.engine.clone(), self.identity_now().await);
        let (still, inside) = (Arc::clone(&self.still), self.inside.clone());
        // Begun, it goes on to its end.
        detached(async move {
            let mut is_paused = still.write().await;
            asleep::fall(&engine, &identity, inside.as_deref()).await?;
            *is_paused = false;
            if let Some(inside) = inside {
                inside.forget();
            }
            Ok(())
        })
        .await
    }

    async fn wake_up(&self) -> Result<Option<Parts>> {
        if !self.identity.config.is_kept_by_images() {
            return Err(Capability::Terminate.unsupported());
        }
        let (engine, container) = (self.engine.clone(), self.container.clone());
        let (still, stills) = (Arc::clone(&self.still), Arc::clone(&self.stills));
        // Begun, it goes on to its end.
        detached(async move {
            let _alone = still.write().await;
            let image = match asleep::place(&engine, &container).await? {
                Place::Asleep(image) => image,
                Place::Container(found) if found.state == ContainerState::Paused => {
                    return Err(
                        Error::new(ErrorKind::Conflict, "the sandbox is paused").hint("resume it instead")
                    );
                }
                Place::Container(_) => return Ok(None),
                Place::Gone => return Err(gone()),
            };
            let (identity, inside) = asleep::rise(&engine, &image, &stills).await?;
            Ok(Some(Self::new(engine, identity, stills, inside)?.parts()))
        })
        .await
    }
}

impl DockerSandbox {
    /// Nothing when the container is in `state`: the engine refuses to do what is done, and who asks for that has it. Else why it is
    /// not, which began with `error`.
    async fn is_already(&self, state: ContainerState, error: Error) -> Result<()> {
        match asleep::place(&self.engine, &self.container).await {
            Ok(Place::Container(found)) if found.state == state => Ok(()),
            _ => Err(asleep::explained(&self.engine, &self.container, error).await),
        }
    }
}
