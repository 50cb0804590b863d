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
use crate::guest::{Inside, new_token};
use crate::kept::{self, Source};
use crate::labels::{Identity, container_name};
use crate::replace::{self, NEXT, like};
use crate::sandbox::DockerSandbox;
use crate::snapshots::SNAPSHOT;
use crate::stills::Stills;

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
        self.look().await?;
        let (engine, container, origin) =
            (self.engine.clone(), self.container.clone(), self.identity_now().await);
        let (still, stills, inside) =
            (Arc::clone(&self.still), Arc::clone(&self.stills), self.inside.clone());
        // Begun, it goes on to its end: all or none.
        let copies = detached(async move {
            let tag = random_id("f").to_lowercase();
            let base = format!("{REPOSITORY}:{tag}");
            let (inspected, image) = {
                let _alone = still.write().await;
                let labels = HashMap::from([
                    (FORK.to_owned(), base.clone()),
                    // The container may stand on a snapshot; its copy is none.
                    (SNAPSHOT.to_owned(), String::new()),
                ]);
                let source = Source {
                    engine: &engine,
                    container: &container,
                    inside: inside.as_deref(),
                    apart: &origin.config.apart,
                };
                (engine.inspect_raw(&container).await, source.image(REPOSITORY, &tag, labels).await?)
            };
            let made = match inspected {
                Ok(inspected) => copies(&engine, &origin, &inspected, &image, &base, &stills, count).await,
                Err(error) => Err(error),
            };
            if made.is_err() {
                engine.remove_image(&base).await?;
            }
            made
        })
        .await?;
        let parts = copies.into_iter().map(|(copy, inside)| {
            Ok(Self::new(self.engine.clone(), copy, Arc::clone(&self.stills), inside)?.parts())
        });
        parts.collect()
    }
}

/// A copy, and its inside where it has a helper.
type Copy = (Identity, Option<Arc<Inside>>);

/// Makes all copies at once, or none.
async fn copies(
    engine: &Engine,
    origin: &Identity,
    inspected: &Value,
    image: &Image,
    base: &str,
    stills: &Stills,
    count: u32,
) -> Result<Vec<Copy>> {
    let identities: Vec<_> = (0..count).map(|_| copy_of(origin)).collect();
    let made =
        join_all(identities.iter().map(|copy| start(engine, copy, inspected, image, base, stills))).await;
    let made: Result<Vec<_>> = made.into_iter().collect();
    let error = match made {
        Ok(insides) => return Ok(identities.into_iter().zip(insides).collect()),
        Err(error) => error,
    };
    for copy in &identities {
        let name = container_name(&copy.id);
        for name in [format!("{name}{NEXT}"), name] {
            if let Err(error) = engine.remove(&name).await {
                tracing::debug!(%error, "a copy could not be removed after its fork failed");
            }
        }
    }
    Err(error)
}

async fn start(
    engine: &Engine,
    copy: &Identity,
    inspected: &Value,
    image: &Image,
    base: &str,
    stills: &Stills,
) -> Result<Option<Arc<Inside>>> {
    let mut labels = copy.labels();
    labels.insert(FORK.to_owned(), base.to_owned());
    let spec = like(inspected.clone(), image, copy, labels)?;
    let (name, kept) = (container_name(&copy.id), kept::of(image)?);
    // Whoever finds it by its name finds it whole.
    let first = if kept.is_empty() { name.clone() } else { format!("{name}{NEXT}") };
    let container = engine.create(&first, None, &spec).await?;
    let inside = replace::start(engine, &container, copy, stills).await?;
    if first != name {
        kept::bring_back(engine, image, &kept, inside.as_deref()).await?;
        engine.rename(&container, &name).await?;
    }
    Ok(inside)
}

/// The identity of a copy: everything but its id, its key and its past.
fn copy_of(origin: &Identity) -> Identity {
    let id = SandboxId::new(random_id("sb"));
    let token = origin.token.as_ref().map(|_| new_token());
    Identity {
        key: format!("{}/{id}", origin.key),
        id,
        created_at: SystemTime::now(),
        token,
        ..origin.clone()
    }
}

/// Removes the image `base` of copies that have all ended.
pub(crate) async fn release(engine: &Engine, base: &str) -> Result<()> {
    match engine.remove_unused_image(base).await {
        // Another copy still stands on it.
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        removed => removed.map(drop),
    }
}
