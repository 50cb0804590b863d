//! The helper's program in a volume: filled once per engine and version, mounted read-only wherever it is needed. So it works with
//! remote engines, read-only images and images without a shell, and touches none of them.

use bytes::Bytes;
use grainchain_core::types::id::random_id;
use grainchain_core::{Error, Result};
use serde_json::{Value, json};
use tar::{EntryType, Header};
use tokio::sync::Mutex;

use super::PLACE;
use crate::engine::Engine;

/// Marks the volume, and the containers that fill it; its value is the program's hash.
pub(crate) const HELPER: &str = "grainchain.helper";

/// What the names of containers begin with that fill it.
pub(crate) const FILLER: &str = "grainchain-filler-";

/// The helper's volume at one engine.
#[derive(Debug)]
pub(crate) struct HelperVolume {
    program: Bytes,
    hash: String,
    filled: Mutex<bool>,
}

impl HelperVolume {
    /// The volume for `program`.
    pub(crate) fn new(program: Bytes) -> Self {
        let hash = crate::hash::hex(&program);
        Self { program, hash, filled: Mutex::default() }
    }

    /// Its name: another program, another volume.
    pub(crate) fn name(&self) -> String {
        format!("grainchain-helper-{}", &self.hash[..16])
    }

    /// How a sandbox's container mounts it.
    pub(crate) fn mount(&self, read_only: bool) -> Value {
        json!({
            "Type": "volume",
            "Source": self.name(),
            "Target": PLACE,
            "ReadOnly": read_only,
            "VolumeOptions": { "NoCopy": true, "Labels": { (HELPER): self.hash } },
        })
    }

    /// Fills it unless it is full, by way of a container of `image` that is never started. Whoever comes meanwhile waits.
    ///
    /// Later it is only looked whether somebody has removed it: containers would be given an empty one.
    pub(crate) async fn ensure(&self, engine: &Engine, image: &str) -> Result<()> {
        let mut is_filled = self.filled.lock().await;
        if !*is_filled || !engine.has_volume(&self.name()).await? {
            *is_filled = false;
            self.fill(engine, image).await?;
            *is_filled = true;
        }
        Ok(())
    }

    async fn fill(&self, engine: &Engine, image: &str) -> Result<()> {
        let container = format!("{FILLER}{}", random_id("f"));
        let spec = json!({
            "Image": image,
            "Entrypoint": ["never-started"],
            "Labels": { (HELPER): self.hash },
            "NetworkDisabled": true,
            "HostConfig": { "NetworkMode": "none", "Mounts": [self.mount(false)] },
        });
        engine.create(&container, None, &spec).await?;
        let filled = async {
            // One that a lost client left half full has another size.
            let place = format!("{PLACE}/helper");
            if engine.size_of(&container, &place).await? == Some(self.program.len() as u64) {
                return Ok(());
            }
            engine.put_archive(&container, PLACE, self.folded()?.into()).await
        };
        let filled = filled.await;
        engine.remove(&container).await?;
        filled
    }

    /// The program as a tar. Everybody may read it: it is no secret, and it is mounted read-only.
    fn folded(&self) -> Result<Vec<u8>> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o555);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(self.program.len() as u64);
        let mut tar = tar::Builder::new(Vec::with_capacity(self.program.len() + 2048));
        tar.append_data(&mut header, "helper", &self.program[..])
            .and_then(|()| tar.into_inner())
            .map_err(|error| Error::io("fold the helper", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_program_means_another_volume() {
        let name = |program: &'static [u8]| HelperVolume::new(Bytes::from_static(program)).name();
        assert_eq!(name(b"one"), name(b"one"));
        assert_ne!(name(b"one"), name(b"two"));
    }

    #[test]
    fn sandboxes_cannot_write_to_it() {
        let mount = HelperVolume::new(Bytes::from_static(b"x")).mount(true);
        assert_eq!((&mount["ReadOnly"], &mount["Target"]), (&json!(true), &json!("/.grainchain")));
    }
}
