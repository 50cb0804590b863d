//! Points to go back to, as images committed from the container.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use grainchain_core::facet::Snapshots;
use grainchain_core::types::id::random_id;
use grainchain_core::{
    CreateSnapshot, Error, ErrorKind, Parts, Result, SandboxId, SnapshotId, SnapshotInfo, SnapshotKind,
};
use serde::{Deserialize, Serialize};

use crate::asleep::{self, ASLEEP};
use crate::detached::detached;
use crate::engine::{ContainerState, Engine, Image};
use crate::fork::FORK;
use crate::kept::Source;
use crate::labels::{BORN, RESTORED, SANDBOX, nanoseconds};
use crate::replace;
use crate::sandbox::DockerSandbox;

/// What snapshots are called; their id is the tag.
const REPOSITORY: &str = "grainchain/snapshot";

/// Marks a snapshot; its value is its id.
pub(crate) const SNAPSHOT: &str = "grainchain.snapshot";
/// What else is known of a snapshot, as JSON.
const RECORD: &str = "grainchain.snapshot.record";

/// What is known of a snapshot beside its content.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    name: Option<String>,
    parent: Option<String>,
    /// Nanoseconds since 1970, as text: JSON's numbers are too short.
    created: String,
    metadata: BTreeMap<String, String>,
    notes: Vec<String>,
}

#[async_trait]
impl Snapshots for DockerSandbox {
    async fn create(&self, request: CreateSnapshot) -> Result<SnapshotInfo> {
        if request.kind != SnapshotKind::Filesystem {
            return Err(
                Error::unsupported("a snapshot of the memory", "take one of the files").option("kind")
            );
        }
        let (engine, container, id) = (self.engine.clone(), self.container.clone(), self.identity.id.clone());
        let (still, config, inside) =
            (Arc::clone(&self.still), self.identity.config.clone(), self.inside.clone());
        // Begun, it goes on to its end: a commit that nobody waits for would leave an image that nobody knows.
        detached(async move {
            let _alone = still.write().await;
            let (found, taken) = tokio::join!(asleep::awake(&engine, &container), taken(&engine, &id));
            let (found, taken) = (found?, taken?);
            let born = found.labels.get(BORN).and_then(|text| text.parse::<u128>().ok()).unwrap_or_default();
            let restored = found.labels.get(RESTORED).filter(|id| !id.is_empty());
            let since = taken.into_iter().rfind(|info| nanoseconds(info.created_at) > born);
            let parent = since.map(|info| info.id.to_string()).or_else(|| restored.cloned());
            let snapshot = SnapshotId::new(random_id("snap").to_lowercase());
            let now = SystemTime::now();
            let record = Record {
                name: request.name,
                parent,
                created: nanoseconds(now).to_string(),
                metadata: request.metadata,
                notes: config
                    .outside
                    .iter()
                    .map(|place| format!("what lies in {place} is not in it"))
                    .collect(),
            };
            let labels = HashMap::from([
                (SNAPSHOT.to_owned(), snapshot.to_string()),
                // The container may stand on the image of a fork.
                (FORK.to_owned(), String::new()),
                (RECORD.to_owned(), serde_json::to_string(&record).unwrap_or_default()),
            ]);
            let source = Source {
                engine: &engine,
                container: &container,
                inside: inside.as_deref(),
                apart: &config.apart,
            };
            let image = source.image(REPOSITORY, snapshot.as_str(), labels).await?;
            info_of(&image)
                .ok_or_else(|| Error::unexpected("a snapshot's labels are not as they were written"))
        })
        .await
    }

    async fn restore(&self, id: &SnapshotId) -> Result<Option<Parts>> {
        let (found, image) = tokio::join!(self.look(), find(&self.engine, &self.identity.id, id));
        let (is_running, image) = (found?.state == ContainerState::Running, image?);
        let (engine, still) = (self.engine.clone(), Arc::clone(&self.still));
        // One that stands still can be told nothing.
        let old = self.inside.clone().filter(|_| is_running);
        let identity = self.identity_now().await;
        let (id, stills) = (id.clone(), Arc::clone(&self.stills));
        // Begun, it goes on to its end: half way the sandbox would have no container.
        detached(async move {
            let _alone = still.write_owned().await;
            let inside = replace::replace(&engine, &identity, &image, &id, &stills, old.as_deref()).await?;
            Ok(Some(Self::new(engine, identity, stills, inside)?.parts()))
        })
        .await
    }

    async fn list(&self) -> Result<Vec<SnapshotInfo>> {
        self.there().await?;
        taken(&self.engine, &self.identity.id).await
    }

    async fn delete(&self, id: &SnapshotId) -> Result<()> {
        find(&self.engine, &self.identity.id, id).await?;
        if self.engine.remove_image(&tag(id)).await? { Ok(()) } else { Err(missing(id)) }
    }
}

fn tag(id: &SnapshotId) -> String {
    format!("{REPOSITORY}:{id}")
}

fn missing(id: &SnapshotId) -> Error {
    let shown: String = id.as_str().chars().take(80).collect();
    Error::not_found(format!("there is no snapshot `{}`", shown.escape_debug()))
        .hint("`list_snapshots` shows those that there are")
}

/// The snapshot `id` of `sandbox`.
async fn find(engine: &Engine, sandbox: &SandboxId, id: &SnapshotId) -> Result<Image> {
    let text = id.as_str();
    if text.is_empty()
        || text.len() > 120
        || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return Err(missing(id));
    }
    let image = engine.image(&tag(id)).await?.ok_or_else(|| missing(id))?;
    let is_its_own = image.labels.get(SANDBOX).is_some_and(|own| own == sandbox.as_str());
    if is_its_own { Ok(image) } else { Err(missing(id)) }
}

fn of_sandbox(sandbox: &SandboxId) -> [String; 2] {
    [SNAPSHOT.to_owned(), format!("{SANDBOX}={sandbox}")]
}

/// The snapshots of `sandbox`, oldest first.
async fn taken(engine: &Engine, sandbox: &SandboxId) -> Result<Vec<SnapshotInfo>> {
    let images = engine.images(&of_sandbox(sandbox)).await?;
    let mut infos: Vec<_> = images.iter().filter_map(info_of).collect();
    infos.sort_by(|a, b| a.created_at.cmp(&b.created_at).then_with(|| a.id.cmp(&b.id)));
    Ok(infos)
}

/// What an image tells; none when it has lost its name, which is how it is deleted while a container still stands on it.
fn info_of(image: &Image) -> Option<SnapshotInfo> {
    let id = SnapshotId::new(image.labels.get(SNAPSHOT)?.as_str());
    image.tags.iter().find(|name| **name == tag(&id))?;
    let record: Record = serde_json::from_str(image.labels.get(RECORD)?).ok()?;
    let nanoseconds = record.created.parse().ok()?;
    let mut info = SnapshotInfo::new(
        id,
        SnapshotKind::Filesystem,
        SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds),
    );
    info.name = record.name;
    info.parent = record.parent.map(SnapshotId::new);
    info.metadata = record.metadata;
    info.notes = record.notes;
    Some(info)
}

/// Removes all snapshots of `sandbox`, also those that have lost their names, and what it slept in.
pub(crate) async fn remove_all(engine: &Engine, sandbox: &SandboxId) -> Result<()> {
    // The newest first: what others stand on cannot go before them.
    let mut images = engine.images(&[format!("{SANDBOX}={sandbox}")]).await?;
    // Copies still stand on the image of a fork.
    let is_set = |image: &Image, label| image.labels.get(label).is_some_and(|value| !value.is_empty());
    images.retain(|image| !is_set(image, FORK) || is_set(image, ASLEEP));
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    for image in images {
        remove_image(engine, &image).await?;
    }
    Ok(())
}

/// Removes the image of a snapshot. One that another still stands on goes with that one.
pub(crate) async fn remove_image(engine: &Engine, image: &Image) -> Result<()> {
    match engine.remove_image(image.tags.first().unwrap_or(&image.id)).await {
        Err(error) if error.kind() == ErrorKind::Conflict => {
            tracing::debug!(%error, "a snapshot's image is still in use");
            Ok(())
        }
        removed => removed.map(drop),
    }
}
