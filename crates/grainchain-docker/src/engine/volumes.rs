//! Volumes: looked at, made, removed.

use std::collections::HashMap;

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptions};
use grainchain_core::Result;

use super::containers::absent;
use super::{CONTROL, Engine, ask};

impl Engine {
    /// `GET /volumes/{name}`: whether there is such a volume.
    pub(crate) async fn has_volume(&self, name: &str) -> Result<bool> {
        Ok(absent(ask("look at the volume", CONTROL, self.docker.inspect_volume(name)).await)?.is_some())
    }

    /// `GET /volumes?filters=`: the names of the volumes that carry `label`.
    pub(crate) async fn volumes(&self, label: &str) -> Result<Vec<String>> {
        let filters = HashMap::from([("label", vec![label.to_owned()])]);
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let listed = ask("list the volumes", CONTROL, self.docker.list_volumes(Some(options))).await?;
        Ok(listed.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect())
    }

    /// `POST /volumes/create`: no error when there is one of that name.
    pub(crate) async fn create_volume(&self, name: &str, label: &str) -> Result<()> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(HashMap::from([(label.to_owned(), String::new())])),
            ..VolumeCreateRequest::default()
        };
        ask("make the volume", CONTROL, self.docker.create_volume(request)).await.map(drop)
    }

    /// `DELETE /volumes/{name}`: no error when there is none.
    pub(crate) async fn remove_volume(&self, name: &str) -> Result<()> {
        let call = self.docker.remove_volume(name, None::<RemoveVolumeOptions>);
        absent(ask("remove the volume", CONTROL, call).await).map(drop)
    }
}
