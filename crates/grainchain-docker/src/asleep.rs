//! Sandboxes without compute: an image that holds the files, and in its labels all that makes the container again.
//!
//! A container that runs comes before an image of the same sandbox, and any other container after it. So a sandbox is in one state at
//! every moment, whoever is killed when: to put it to sleep the image is made before the container goes, and to wake it up the image's
//! name goes after the container has started. What is cut off between the two leaves both, which is a sandbox that runs; `sweep` takes
//! the name away once that is old.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use grainchain_core::{Effect, Error, ErrorKind, Result, SandboxId, SandboxInfo};
use serde_json::{Map, Value, json};

use crate::engine::{Container, ContainerState, Engine, Image, age, gone};
use crate::guest::{Inside, PLACE};
use crate::kept::{self, Source};
use crate::labels::{Identity, SANDBOX, broken, container_name, id_of};
use crate::replace;
use crate::snapshots::SNAPSHOT;
use crate::stills::Stills;

/// What such images are called; the sandbox's id is the tag.
const REPOSITORY: &str = "grainchain/asleep";

/// Marks such an image; its value is how the container was made, as JSON. With it goes the token of the sandbox's helper: as with
/// containers, whoever may use the engine may read it.
pub(crate) const ASLEEP: &str = "grainchain.asleep";

/// A container that a wake-up made and has not started for so long was left by one that was cut off.
const LEFT: Duration = Duration::from_secs(30);

/// Where a sandbox is.
#[derive(Debug)]
pub(crate) enum Place {
    /// In a container, in whatever state that is.
    Container(Container),
    /// In an image.
    Asleep(Box<Image>),
    /// Nowhere.
    Gone,
}

/// Where the sandbox of `container` is.
pub(crate) async fn place(engine: &Engine, container: &str) -> Result<Place> {
    let found = engine.inspect(container).await?;
    if let Some(found) = found.as_ref().filter(|found| is_up(found)) {
        return Ok(Place::Container(found.clone()));
    }
    Ok(match (find(engine, container).await?, found) {
        (Some(image), _) => Place::Asleep(Box::new(image)),
        (None, Some(found)) => Place::Container(found),
        (None, None) => Place::Gone,
    })
}

/// The container called `container`.
///
/// # Errors
///
/// `NotFound` when its sandbox has ended, `Conflict` when it is asleep.
pub(crate) async fn awake(engine: &Engine, container: &str) -> Result<Container> {
    match place(engine, container).await? {
        Place::Container(found) => Ok(found),
        Place::Asleep(_) => Err(stopped()),
        Place::Gone => Err(gone()),
    }
}

/// `error`, or why there is no container `container` where it tells of that.
pub(crate) async fn explained(engine: &Engine, container: &str, error: Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    match find(engine, container).await {
        Ok(Some(_)) => stopped().caused_by(error),
        _ => error,
    }
}

/// Whether `container` is one that comes before an image.
pub(crate) fn is_up(container: &Container) -> bool {
    matches!(container.state, ContainerState::Running | ContainerState::Paused)
}

fn stopped() -> Error {
    Error::new(ErrorKind::Conflict, "the sandbox is stopped").hint("wake it up first").effect(Effect::None)
}

/// The image of the sandbox `id` while it is asleep.
pub(crate) fn image_name(id: &SandboxId) -> String {
    format!("{REPOSITORY}:{id}")
}

/// The image in which the sandbox of `container` is asleep.
pub(crate) async fn find(engine: &Engine, container: &str) -> Result<Option<Image>> {
    // A tag begins with a letter or a digit, or there is none.
    let id =
        id_of(container).filter(|id| id.as_str().starts_with(|first: char| first.is_ascii_alphanumeric()));
    let Some(id) = id else { return Ok(None) };
    Ok(engine.image(&image_name(&id)).await?.filter(is_one))
}

fn is_one(image: &Image) -> bool {
    image.labels.get(ASLEEP).is_some_and(|made| !made.is_empty())
}

/// The images of all sandboxes that are asleep, also those that have lost their names while containers stand on them.
pub(crate) async fn all(engine: &Engine) -> Result<Vec<Image>> {
    let mut images = engine.images(&[ASLEEP.to_owned()]).await?;
    images.retain(is_one);
    Ok(images)
}

/// The sandbox that is asleep in `image`; none when the image has lost its name.
pub(crate) fn sandbox_of(image: &Image) -> Option<SandboxId> {
    let id = SandboxId::new(image.labels.get(SANDBOX)?.as_str());
    image.tags.contains(&image_name(&id)).then_some(id)
}

/// What `info` shows of a sandbox that is asleep.
pub(crate) fn info_of(image: &Image) -> Option<SandboxInfo> {
    let id = sandbox_of(image)?;
    let Some(identity) = Identity::of(&image.labels) else { return Some(broken(id)) };
    let mut info = identity.info(ContainerState::Exited, None);
    // Nobody gives it more while it sleeps.
    info.expires_at = identity.expires_at;
    Some(info)
}

/// Whether the lifetime of the sandbox in `image` is over at `now`.
pub(crate) fn is_over(image: &Image, now: SystemTime) -> bool {
    let end = Identity::of(&image.labels).and_then(|identity| identity.expires_at);
    end.is_some_and(|end| end <= now)
}

/// Puts the sandbox of `identity` to sleep. With a helper nothing runs in it between the image and its end: whatever it has written is in
/// the image.
///
/// # Errors
///
/// `Unsupported` when its image has volumes without names, which would go with the container.
pub(crate) async fn fall(engine: &Engine, identity: &Identity, inside: Option<&Inside>) -> Result<()> {
    let container = container_name(&identity.id);
    let inspected = engine.inspect_raw(&container).await?;
    if let Some(place) = unnamed(&inspected) {
        return Err(Error::unsupported(
            format_args!("`terminate` with the image's volume {place}, which has no name and would be lost"),
            format!("give it one: volumes = [\"NAME:{place}\"]"),
        )
        .option("volumes"));
    }
    let (end, at) = identity.end();
    let labels = HashMap::from([
        (ASLEEP.to_owned(), made(&inspected).to_string()),
        // The container may stand on a snapshot; this is none.
        (SNAPSHOT.to_owned(), String::new()),
        (end, at),
    ]);
    let source = Source { engine, container: &container, inside, apart: &identity.config.apart };
    source.into_image(REPOSITORY, identity.id.as_str(), labels).await
}

/// Wakes up the sandbox in `image`.
///
/// # Errors
///
/// `NotFound` when its lifetime is over, `Conflict` when somebody else is at it.
pub(crate) async fn rise(
    engine: &Engine,
    image: &Image,
    stills: &Stills,
) -> Result<(Identity, Option<Arc<Inside>>)> {
    let strange = || Error::unexpected("the labels of a sleeping sandbox are not as they were written");
    let identity = Identity::of(&image.labels).ok_or_else(strange)?;
    if is_over(image, SystemTime::now()) {
        return Err(Error::not_found("the sandbox's lifetime is over").hint("create a new one"));
    }
    let kept = kept::of(image)?;
    let made = image.labels.get(ASLEEP).map(String::as_str).unwrap_or_default();
    let inspected: Value = serde_json::from_str(made).map_err(|error| strange().caused_by(error))?;
    let labels = [(ASLEEP.to_owned(), String::new()), identity.end()];
    let spec = replace::like(inspected, image, &identity, labels.into())?;
    volumes_are_there(engine, &spec).await?;
    let name = container_name(&identity.id);
    let container = match engine.create(&name, None, &spec).await {
        Ok(container) => container,
        Err(error) if error.kind() == ErrorKind::Conflict => {
            if !is_left(engine, &identity.id).await? {
                let message = "somebody else wakes the sandbox up at this moment";
                return Err(Error::new(ErrorKind::Conflict, message)
                    .hint("wait half a minute")
                    .caused_by(error));
            }
            engine.remove(&name).await?;
            engine.create(&name, None, &spec).await?
        }
        Err(error) => return Err(error),
    };
    let risen = async {
        let inside = replace::start(engine, &container, &identity, stills).await?;
        kept::bring_back(engine, image, &kept, inside.as_deref()).await?;
        Ok(inside)
    };
    match risen.await {
        Ok(inside) => {
            // It runs, whatever becomes of the name.
            if let Err(error) = engine.remove_image(&image_name(&identity.id)).await {
                tracing::debug!(%error, "the image of a sandbox that was woken up still has its name");
            }
            Ok((identity, inside))
        }
        Err(error) => {
            // Not by its name, which may be somebody else's by now.
            engine.remove(&container).await?;
            Err(error)
        }
    }
}

/// Refuses when a volume of `spec` was removed meanwhile: the engine would make an empty one in its place, and say nothing.
async fn volumes_are_there(engine: &Engine, spec: &Value) -> Result<()> {
    let mounts = spec["HostConfig"]["Mounts"].as_array().into_iter().flatten();
    for mount in mounts.filter(|mount| mount["Type"] == "volume") {
        let Some(name) = mount["Source"].as_str() else { continue };
        if !engine.has_volume(name).await? {
            let hint = if mount["Target"] == PLACE {
                "create any sandbox, which makes it again, and wake this one up then"
            } else {
                "make it again, or close the sandbox"
            };
            let message = format!("the sandbox's volume `{name}` was removed");
            return Err(Error::new(ErrorKind::Conflict, message).hint(hint).option("volumes"));
        }
    }
    Ok(())
}

/// Whether the container of the sandbox `id` was left by a wake-up that was cut off. One that is young may be about to be started.
async fn is_left(engine: &Engine, id: &SandboxId) -> Result<bool> {
    let found = engine.containers(&[format!("{SANDBOX}={id}")]).await?;
    let found = found.iter().find(|container| container.name == container_name(id));
    let age = found.filter(|found| !is_up(found)).and_then(|found| age(found.created?, SystemTime::now()));
    Ok(age.is_some_and(|age| age >= LEFT))
}

/// Of all that the engine tells of a container, what makes one like it.
fn made(inspected: &Value) -> Value {
    let networks = inspected["NetworkSettings"]["Networks"].as_object();
    let networks: Map<_, _> =
        networks.into_iter().flatten().map(|(name, _)| (name.clone(), json!({}))).collect();
    json!({
        "Config": inspected["Config"],
        "HostConfig": inspected["HostConfig"],
        "NetworkSettings": { "Networks": networks },
    })
}

/// Where a volume is mounted that the image asked for and nobody named.
fn unnamed(inspected: &Value) -> Option<String> {
    let asked = inspected["HostConfig"]["Mounts"].as_array();
    let is_asked = |place: &str| asked.into_iter().flatten().any(|mount| mount["Target"] == place);
    let mounts = inspected["Mounts"].as_array().into_iter().flatten();
    let places =
        mounts.filter(|mount| mount["Type"] == "volume").filter_map(|mount| mount["Destination"].as_str());
    places.into_iter().find(|place| !is_asked(place)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_that_nobody_named_is_found() {
        let inspected = |place: &str| {
            json!({
                "HostConfig": { "Mounts": [{ "Type": "volume", "Source": "cache", "Target": "/cache" }] },
                "Mounts": [
                    { "Type": "bind", "Source": "/srv", "Destination": "/srv" },
                    { "Type": "volume", "Name": "0123", "Destination": place },
                ],
            })
        };
        assert_eq!(unnamed(&inspected("/cache")), None);
        assert_eq!(unnamed(&inspected("/data")), Some("/data".to_owned()));
    }

    #[test]
    fn an_image_that_has_lost_its_name_is_no_sandbox() {
        let labels =
            [(SANDBOX, "sb_1"), (ASLEEP, "{}")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut image = Image {
            id: "sha256:1".into(),
            tags: vec!["grainchain/asleep:sb_1".into()],
            labels: labels.into(),
            ..Image::default()
        };
        assert_eq!(sandbox_of(&image), Some("sb_1".into()));
        assert_eq!(info_of(&image).unwrap().status, grainchain_core::SandboxStatus::Error);
        image.tags = vec!["grainchain/asleep:sb_2".into()];
        assert_eq!(sandbox_of(&image), None);
    }
}
