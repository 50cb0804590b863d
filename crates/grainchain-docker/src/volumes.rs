//! Storage that outlives sandboxes: the engine's volumes that were made through us.

use async_trait::async_trait;
use grainchain_core::facet::Volumes;
use grainchain_core::{CreateVolume, Error, Result, VolumeId, VolumeInfo};

use crate::engine::Engine;

/// Marks a volume of ours.
pub(crate) const VOLUME: &str = "grainchain.volume";

/// The volumes of one engine. Their id is their name, which `volumes` in `provider_config` takes.
#[derive(Clone, Debug)]
pub(crate) struct DockerVolumes {
    pub(crate) engine: Engine,
}

#[async_trait]
impl Volumes for DockerVolumes {
    async fn list(&self) -> Result<Vec<VolumeInfo>> {
        let mut names = self.engine.volumes(VOLUME).await?;
        names.sort();
        Ok(names.into_iter().map(info).collect())
    }

    async fn create(&self, request: CreateVolume) -> Result<VolumeInfo> {
        if request.size.is_some() {
            return Err(Error::unsupported(
                "a volume with a size",
                "leave the size out: the engine's own volumes have none",
            )
            .option("size"));
        }
        let name = request.name;
        let tidy = name.starts_with(|letter: char| letter.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if !tidy || name.len() < 2 {
            return Err(Error::bad_request(format!("`{}` is no name of a volume", name.escape_debug()))
                .hint("use letters, digits, dots, dashes and underscores")
                .option("name"));
        }
        if self.engine.has_volume(&name).await? {
            return Err(Error::new(
                grainchain_core::ErrorKind::Conflict,
                format!("there is a volume `{name}` already"),
            )
            .hint("choose another name, or use the one that is there")
            .option("name"));
        }
        self.engine.create_volume(&name, VOLUME).await?;
        Ok(info(name))
    }

    async fn delete(&self, id: &VolumeId) -> Result<()> {
        // Only ours: the others belong to somebody else.
        if !self.engine.volumes(VOLUME).await?.iter().any(|name| name == id.as_str()) {
            return Err(Error::not_found(format!("there is no volume `{}`", id.as_str().escape_debug()))
                .hint("the list shows those that there are"));
        }
        self.engine.remove_volume(id.as_str()).await
    }
}

fn info(name: String) -> VolumeInfo {
    VolumeInfo::new(VolumeId::new(name.clone()), name)
}
