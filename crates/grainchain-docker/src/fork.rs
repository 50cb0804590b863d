//! Copies of a living sandbox: its files as they are now, none of its processes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::future::join_all;
use grainchain_core::facet::Fork;
use grainchain_core::types::id::random_id;
use grainchain_core::{Error, ErrorKind, Parts, Result, SandboxId};
use serde_json::Value;

use crate::detached::detached;
use crate::engine::{Engine, Image};
use crate::labels::{Identity, container_name};
use crate::replace::like;
use crate::sandbox::DockerSandbox;
use crate::snapshots::SNAPSHOT;

/// The image that copies stand on, by its name; on the image and on every container made from it.
pub(crate) const FORK: &str = "grainchain.fork";

/// What such images are called.
const REPOSITORY: &str = "grainchain/fork";

/// More copies than this are a mistake rather than a wish.
const MOST: u32 = 1000;

#[async_trait]
impl Fork for DockerSandbox {
    async fn fork(&self, count: u32) -> Result<Vec<Parts>> {
        if !(1..=MOST).contains(&count) {
            return Err(Error::bad_request(format!("cannot make {count} copies"))
                .hint(format!("ask for 1 to {MOST}"))
                .option("count"));
        }
        let (engine, container, origin) =
            (self.engine.clone(), self.container.clone(), self.identity.clone());
        let still = Arc::clone(&self.still);
        // Begun, it goes on to its end: all or none.
        let copies = detached(async move {
            let tag = random_id("f").to_lowercase();
            let base = format!("{REPOSITORY}:{tag}");
            let inspected = {
                let _alone = still.write().await;
                let labels = HashMap::from([
                    (FORK.to_owned(), base.clone()),
                    // The container may stand on a snapshot; its copy is none.
                    (SNAPSHOT.to_owned(), String::new()),
                ]);
                engine.commit(&container, REPOSITORY, &tag, labels).await?;
                engine.inspect_raw(&container).await
            };
            let made = match (inspected, engine.image(&base).await) {
                (Ok(inspected), Ok(Some(image))) => {
                    copies(&engine, &origin, &inspected, &image, &base, count).await
                }
                (Err(error), _) | (_, Err(error)) => Err(error),
                (_, Ok(None)) => Err(Error::new(
                    ErrorKind::Server,
                    "the engine says that it made the copies' image, and does not have it",
                )),
            };
            if made.is_err() {
                engine.remove_image(&base).await?;
            }
            made
        })
        .await?;
        Ok(copies
            .into_iter()
            .map(|copy| Self::new(self.engine.clone(), copy, Arc::clone(&self.stills)).parts())
            .collect())
    }
}

/// Makes all copies at once, or none.
async fn copies(
    engine: &Engine,
    origin: &Identity,
    inspected: &Value,
    image: &Image,
    base: &str,
    count: u32,
) -> Result<Vec<Identity>> {
    let identities: Vec<_> = (0..count).map(|_| copy_of(origin)).collect();
    let made = join_all(identities.iter().map(|copy| start(engine, copy, inspected, image, base))).await;
    let Some(error) = made.into_iter().find_map(Result::err) else { return Ok(identities) };
    for copy in &identities {
        if let Err(error) = engine.remove(&container_name(&copy.id)).await {
            tracing::debug!(%error, "a copy could not be removed after its fork failed");
        }
    }
    Err(error)
}

async fn start(engine: &Engine, copy: &Identity, inspected: &Value, image: &Image, base: &str) -> Result<()> {
    let mut labels = copy.labels();
    labels.insert(FORK.to_owned(), base.to_owned());
    let spec = like(inspected.clone(), image, copy, labels)?;
    let name = container_name(&copy.id);
    engine.create(&name, None, &spec).await?;
    engine.start(&name).await
}

/// The identity of a copy: everything but its id, its key and its past.
fn copy_of(origin: &Identity) -> Identity {
    let id = SandboxId::new(random_id("sb"));
    Identity { key: format!("{}/{id}", origin.key), id, created_at: SystemTime::now(), ..origin.clone() }
}

/// Removes the image `base` of copies that have all ended.
pub(crate) async fn release(engine: &Engine, base: &str) -> Result<()> {
    match engine.remove_unused_image(base).await {
        // Another copy still stands on it.
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        removed => removed.map(drop),
    }
}
