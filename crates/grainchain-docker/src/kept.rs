//! Folders that no commit holds, in memory or in volumes without a name: the helper packs them while every process stands still, and they
//! lie in the image of a snapshot or a fork as files below the place that the helper's volume hides in every sandbox.

mod pieces;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use grainchain_core::types::id::random_id;
use grainchain_core::{Content, Error, ErrorKind, Result};
use grainchain_guest::Remote;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tar::EntryType;

use crate::engine::{ContainerState, Engine, Image, gone};
use crate::guest::{Inside, PLACE, paused};
use crate::labels::SANDBOX;

/// On an image: what it holds of folders apart, as JSON. Empty where that is nothing, and on every container.
pub(crate) const KEPT: &str = "grainchain.kept";

/// One folder apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Where it is in the sandbox.
    place: String,
    bytes: u64,
    hash: String,
}

/// What an image is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) container: &'a str,
    /// Where it has a helper.
    pub(crate) inside: Option<&'a Inside>,
    /// The folders that no commit holds.
    pub(crate) apart: &'a [String],
}

impl Source<'_> {
    /// Makes the image `repository:tag` of everything that belongs to the sandbox, all of it as it was at one moment.
    ///
    /// # Errors
    ///
    /// `Conflict` when the sandbox is paused and has folders apart; the engine's and the helper's refusals.
    pub(crate) async fn image(
        &self,
        repository: &str,
        tag: &str,
        labels: HashMap<String, String>,
    ) -> Result<Image> {
        match self.with_some_apart().await? {
            None => self.engine.commit(self.container, repository, tag, plain(labels)).await?,
            Some(remote) => {
                let held = remote.hold_still().await?;
                let taken = self.take(&remote, labels.clone()).await;
                let released = held.release().await;
                self.name(taken?, released, repository, tag, labels).await?;
            }
        }
        self.made(repository, tag).await
    }

    /// Makes the image as [`image`](Self::image) does, and removes the container. With a helper nothing runs in between. The engine alone
    /// could not see to that: what it has frozen runs for a moment before it is dead.
    ///
    /// # Errors
    ///
    /// As there. Then everything goes on, unless the container is half removed.
    pub(crate) async fn into_image(
        self,
        repository: &str,
        tag: &str,
        labels: HashMap<String, String>,
    ) -> Result<()> {
        // What is held goes on when this is dropped.
        let _held = match self.inside {
            Some(inside) => Some(inside.remote().await?.hold_still().await?),
            None => None,
        };
        match self.with_some_apart().await? {
            None => self.engine.commit(self.container, repository, tag, plain(labels)).await?,
            Some(remote) => {
                let taken = self.take(&remote, labels.clone()).await?;
                self.name(taken, Ok(()), repository, tag, labels).await?;
            }
        }
        self.made(repository, tag).await?;
        // Whatever becomes of the removal, the image stays: a container that runs comes before it, and one that does not was all there is.
        self.engine.remove(self.container).await.map(drop)
    }

    /// Its helper, where that takes part because there are folders apart.
    async fn with_some_apart(&self) -> Result<Option<Arc<Remote>>> {
        let Some(inside) = self.inside.filter(|_| !self.apart.is_empty()) else { return Ok(None) };
        // Its helper could not answer.
        if self.engine.inspect(self.container).await?.ok_or_else(gone)?.state == ContainerState::Paused {
            return Err(paused());
        }
        inside.remote().await.map(Some)
    }

    /// The image that was made, with no more layers than are stacked.
    async fn made(&self, repository: &str, tag: &str) -> Result<Image> {
        let (engine, name) = (self.engine, format!("{repository}:{tag}"));
        let image = look(engine, &name).await?;
        if image.layers <= engine.deepest() {
            return Ok(image);
        }
        let flat = flat(engine, &image, repository, tag).await;
        if flat.is_err() {
            engine.remove_image(&name).await?;
        }
        flat
    }

    /// Takes everything while all stands still: the container's own files into an image without a name, and the folders apart into a
    /// container of that.
    async fn take(&self, remote: &Remote, labels: HashMap<String, String>) -> Result<Taken> {
        let half = self.engine.commit_unnamed(self.container, plain(labels)).await?;
        let filled = async {
            let container = unstarted(self.engine, &half).await?;
            let kept = fill(self.engine, &container, remote, self.apart).await;
            Ok((container, kept))
        };
        let filled = filled.await;
        Ok(Taken { half, filled })
    }

    /// Makes the image of what was taken, unless `released` says that something did not go on. Nothing else of it stays.
    async fn name(
        &self,
        Taken { half, filled }: Taken,
        released: Result<()>,
        repository: &str,
        tag: &str,
        mut labels: HashMap<String, String>,
    ) -> Result<()> {
        let engine = self.engine;
        let named = async {
            let (container, kept) = filled?;
            let named = async {
                released?;
                labels.insert(KEPT.to_owned(), serde_json::to_string(&kept?).unwrap_or_default());
                engine.commit(&container, repository, tag, labels).await
            };
            let named = named.await;
            engine.remove(&container).await?;
            named
        };
        let named = named.await;
        forget(engine, &half).await;
        named
    }
}

/// What was taken of a sandbox with folders apart.
struct Taken {
    /// The image of the rest.
    half: String,
    /// The container that holds them all, and what was put into it.
    filled: Result<(String, Result<Vec<Kept>>)>,
}

/// `labels` for an image that holds no folders apart.
fn plain(mut labels: HashMap<String, String>) -> HashMap<String, String> {
    labels.insert(KEPT.to_owned(), String::new());
    labels
}

/// Puts the folders `places` of the sandbox behind `remote` into `container`, which is never started.
async fn fill(engine: &Engine, container: &str, remote: &Remote, places: &[String]) -> Result<Vec<Kept>> {
    let mut kept = Vec::new();
    for (number, place) in places.iter().enumerate() {
        let content = remote.keep(place).await?.into_stream();
        let (folder, sum) = (folder_of(number), Arc::<Mutex<pieces::Sum>>::default());
        let opening = if number == 0 { opening()? } else { Vec::new() };
        let tar = pieces::fold(content, folder, opening, Arc::clone(&sum));
        engine.put_stream(container, "/", Box::pin(tar)).await?;
        let (bytes, hash) = sum.lock().unwrap_or_else(PoisonError::into_inner).told();
        kept.push(Kept { place: place.clone(), bytes, hash });
    }
    Ok(kept)
}

fn folder_of(number: usize) -> String {
    format!("{}/kept/{number}", PLACE.trim_start_matches('/'))
}

/// A file takes the place of what the image has of an earlier snapshot, and a new folder takes the file's.
fn opening() -> Result<Vec<u8>> {
    let place = PLACE.trim_start_matches('/');
    let kept = format!("{place}/kept");
    let entries = [
        pieces::entry(place, EntryType::Directory, 0)?,
        pieces::entry(&kept, EntryType::Regular, 0)?,
        pieces::entry(&kept, EntryType::Directory, 0)?,
    ];
    Ok(entries.concat())
}

/// What `image` holds of folders apart.
pub(crate) fn of(image: &Image) -> Result<Vec<Kept>> {
    match image.labels.get(KEPT).filter(|text| !text.is_empty()) {
        None => Ok(Vec::new()),
        Some(text) => serde_json::from_str(text).map_err(|error| pieces::damaged().caused_by(error)),
    }
}

/// Fills the folders apart of a sandbox that was just started from `image`.
///
/// # Errors
///
/// `Server` when what the image holds is not what was put there; `Unsupported` without a helper.
pub(crate) async fn bring_back(
    engine: &Engine,
    image: &Image,
    kept: &[Kept],
    inside: Option<&Inside>,
) -> Result<()> {
    if kept.is_empty() {
        return Ok(());
    }
    let inside = inside.ok_or_else(|| {
        Error::unsupported(
            "folders that no commit holds without a helper",
            "set guest = \"helper\" in [providers.docker]",
        )
    })?;
    let remote = inside.remote().await?;
    let container = unstarted(engine, &image.id).await?;
    let filled = async {
        for (number, Kept { place, bytes, hash }) in kept.iter().enumerate() {
            let tar = engine.archive(&container, &format!("/{}", folder_of(number))).await?;
            let tar = tar.ok_or_else(pieces::damaged)?;
            let content = Content::from_stream(pieces::unfold(tar, (*bytes, hash.clone())), None);
            remote.bring_back(place, content).await?;
        }
        Ok(())
    };
    let filled = filled.await;
    engine.remove(&container).await?;
    filled
}

/// Makes a container of `image` to put something into or to read from. What is left of one is found by `sweep`.
async fn unstarted(engine: &Engine, image: &str) -> Result<String> {
    let name = format!("grainchain-unstarted-{}", random_id("c").to_lowercase());
    let spec = json!({
        "Image": image,
        "Entrypoint": ["never-started"],
        "HostConfig": { "NetworkMode": "none" },
    });
    engine.create(&name, None, &spec).await?;
    Ok(name)
}

/// Makes one layer of all that `image` has: storage stacks a limited number. It gets the name, and the labels.
async fn flat(engine: &Engine, image: &Image, repository: &str, tag: &str) -> Result<Image> {
    let labels: HashMap<_, _> = image.labels.clone();
    let marks =
        [crate::snapshots::SNAPSHOT, SANDBOX].map(|name| (name, labels.get(name).map_or("", String::as_str)));
    let container = unstarted(engine, &image.id).await?;
    let base = engine.flatten(&container, &marks).await;
    engine.remove(&container).await?;
    let base = base?;
    let named = async {
        let container = unstarted(engine, &base).await?;
        // Whoever makes a container of it says everything but the labels anew.
        let named = engine.commit(&container, repository, tag, labels).await;
        engine.remove(&container).await?;
        named
    };
    let named = named.await;
    if named.is_ok() {
        forget(engine, &image.id).await;
    }
    forget(engine, &base).await;
    named?;
    look(engine, &format!("{repository}:{tag}")).await
}

async fn look(engine: &Engine, name: &str) -> Result<Image> {
    engine.image(name).await?.ok_or_else(|| {
        Error::new(ErrorKind::Server, "the engine says that it made the image, and does not have it")
    })
}

/// Removes an image without a name. One that another stands on goes with that one.
async fn forget(engine: &Engine, id: &str) {
    if let Err(error) = engine.remove_unused_image(id).await {
        tracing::debug!(%error, "an image is still in use");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(kept: &str) -> Image {
        Image { labels: HashMap::from([(KEPT.to_owned(), kept.to_owned())]), ..Image::default() }
    }

    #[test]
    fn a_label_that_is_not_as_it_was_written_is_an_error_and_not_nothing() {
        assert_eq!(of(&image("")).unwrap(), []);
        let kept = vec![Kept { place: "/tmp".into(), bytes: 7, hash: "x".into() }];
        assert_eq!(of(&image(&serde_json::to_string(&kept).unwrap())).unwrap(), kept);
        assert_eq!(of(&image("[{")).unwrap_err().kind(), ErrorKind::Server);
    }
}
