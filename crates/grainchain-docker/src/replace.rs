//! Puts another container in the place of a sandbox's own, from the image of a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use grainchain_core::{Error, ErrorKind, NetworkPolicy, Result, SnapshotId};
use serde_json::{Value, json};

use crate::engine::{Engine, Image};
use crate::guest::{Inside, Orders};
use crate::kept::{self, KEPT};
use crate::labels::{BORN, Identity, RESTORED, container_name, nanoseconds};
use crate::network;
use crate::stills::Stills;

/// What the name of a container ends in that is about to take its place.
pub(crate) const NEXT: &str = "-next";

/// What the name of a container ends in that was replaced and is about to go.
pub(crate) const LAST: &str = "-last";

/// Makes a container like the sandbox's own from `image`, lets it take the name, and removes the old one, whose inside is `old` where it
/// can be told to end. Fails whole: then the old one goes on.
pub(crate) async fn replace(
    engine: &Engine,
    identity: &Identity,
    image: &Image,
    snapshot: &SnapshotId,
    stills: &Stills,
    old: Option<&Inside>,
) -> Result<Option<Arc<Inside>>> {
    let name = container_name(&identity.id);
    let next = format!("{name}{NEXT}");
    let kept = kept::of(image)?;
    let inspected = engine.inspect_raw(&name).await?;
    // What a restore left that was cut off.
    engine.remove(&next).await?;
    let labels = BTreeMap::from([
        (BORN.to_owned(), nanoseconds(std::time::SystemTime::now()).to_string()),
        (RESTORED.to_owned(), snapshot.to_string()),
        identity.end(),
    ]);
    let old_id = inspected["Id"].as_str().unwrap_or(&name).to_owned();
    let holds_ports = network::holds_ports(&inspected);
    let spec = like(inspected, image, identity, labels)?;
    // By their own ids from here on: somebody else may be at the same.
    let next_id = engine.create(&next, None, &spec).await?;
    let begun = async {
        if holds_ports {
            // The engine gives a port of its machine to one container at a time.
            network::set(engine, &old_id, NetworkPolicy::Off, None).await?;
        }
        let inside = start(engine, &next_id, identity, stills).await?;
        kept::bring_back(engine, image, &kept, inside.as_deref()).await?;
        // The old one has its end in any event: it may go while the new one comes.
        step_aside(engine, &old_id, &name).await?;
        engine.rename(&next_id, &name).await?;
        Ok(inside)
    };
    match begun.await {
        Ok(inside) => {
            retire(engine, old_id, old).await?;
            Ok(inside)
        }
        Err(error) => {
            undo(engine, &next_id, &old_id, &name, holds_ports).await;
            Err(error)
        }
    }
}

/// Gives the container `id` another name than its own. One that has that other name is about to go.
async fn step_aside(engine: &Engine, id: &str, name: &str) -> Result<()> {
    let last = format!("{name}{LAST}");
    match engine.rename(id, &last).await {
        Err(error) if error.kind() == ErrorKind::Conflict => {
            engine.remove(&last).await?;
            engine.rename(id, &last).await
        }
        renamed => renamed,
    }
}

/// Lets the old container go on as if nothing had been begun. Why that was given up is what is told: here each step is tried whatever
/// became of the one before.
async fn undo(engine: &Engine, next: &str, old: &str, name: &str, holds_ports: bool) {
    let tell = |what: &str, error: Error| tracing::debug!(%error, "a restore that failed: {what}");
    if let Err(error) = engine.remove(next).await {
        tell("its container could not be removed", error);
    }
    let own = engine.inspect(old).await;
    if own.is_ok_and(|found| found.is_some_and(|found| found.name != name))
        && let Err(error) = engine.rename(old, name).await
    {
        tell("the old container could not be given its name back", error);
    }
    if holds_ports && let Err(error) = network::set(engine, old, NetworkPolicy::Open, None).await {
        tell("the network could not be opened again", error);
    }
}

/// Ends the container `id`, which was replaced. Its helper ends it at once; that the engine clears up after it is not waited for.
async fn retire(engine: &Engine, id: String, inside: Option<&Inside>) -> Result<()> {
    let is_told = match inside {
        Some(inside) => inside.shut_down().await,
        None => false,
    };
    if !is_told {
        return engine.remove(&id).await.map(drop);
    }
    let engine = engine.clone();
    tokio::spawn(async move {
        if let Err(error) = engine.remove(&id).await {
            tracing::debug!(%error, "a container that was replaced could not be removed");
        }
    });
    Ok(())
}

/// Starts the container `id` of `identity` and answers with its inside where it has a helper.
pub(crate) async fn start(
    engine: &Engine,
    id: &str,
    identity: &Identity,
    stills: &Stills,
) -> Result<Option<Arc<Inside>>> {
    match &identity.token {
        Some(token) => {
            let own = container_name(&identity.id);
            Inside::start(engine, id, &own, token, stills.of(&identity.id)).await.map(Some)
        }
        None => engine.start(id).await.map(|()| None),
    }
}

/// The body that makes a container like the one that `inspected` tells of, but from `image` and with these labels on top.
pub(crate) fn like(
    inspected: Value,
    image: &Image,
    identity: &Identity,
    labels: BTreeMap<String, String>,
) -> Result<Value> {
    let (mut spec @ Value::Object(_), host @ Value::Object(_)) =
        (inspected["Config"].clone(), inspected["HostConfig"].clone())
    else {
        return Err(Error::unexpected("the engine does not tell how a container was made"));
    };
    spec["HostConfig"] = host;
    spec["Image"] = json!(image.id);
    // It would be the old container's id.
    spec["Hostname"] = json!("");
    // The image's own, which says what lies in the image.
    spec["Labels"][KEPT] = json!("");
    for (name, value) in labels {
        spec["Labels"][name] = json!(value);
    }
    network::keep(&mut spec, &inspected);
    // What was in it is brought back, and nothing else: the engine would fill it from the image.
    let mounts = spec["HostConfig"].get_mut("Mounts").and_then(Value::as_array_mut).into_iter().flatten();
    let is_unnamed = |mount: &&mut Value| {
        mount["Type"] == "volume" && mount.get("Source").and_then(Value::as_str).is_none_or(str::is_empty)
    };
    for mount in mounts.filter(is_unnamed) {
        mount["VolumeOptions"]["NoCopy"] = json!(true);
    }
    // What is left of the lifetime, not all of it again.
    if let Some(token) = &identity.token {
        Orders::replace(&mut spec["Env"], identity, token)?;
    } else if let Some(expires_at) = identity.expires_at {
        let left = expires_at.duration_since(std::time::SystemTime::now()).unwrap_or_default();
        spec["Cmd"] = json!([(left.as_secs() + 1).to_string()]);
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::labels::Shown;

    #[test]
    fn the_next_container_is_like_the_last_but_for_its_image_its_birth_and_the_time_left() {
        let identity = Identity {
            id: "sb_1".into(),
            owner: String::new(),
            key: String::new(),
            created_at: SystemTime::UNIX_EPOCH,
            expires_at: Some(SystemTime::now() + Duration::from_secs(50)),
            metadata: BTreeMap::new(),
            config: Shown::default(),
            token: None,
        };
        let image = Image { id: "sha256:2".into(), ..Image::default() };
        let inspected = json!({
            "Id": "x",
            "Config": { "Image": "sha256:1", "Hostname": "abc", "User": "1000:1000", "Env": ["A=b"], "Cmd": ["3600"], "Labels": { "grainchain.owner": "me" } },
            "HostConfig": {
                "NetworkMode": "none",
                "Mounts": [{ "Type": "volume", "Source": "cache", "Target": "/c" }, { "Type": "volume", "Target": "/d" }],
            },
            "NetworkSettings": { "Networks": { "none": {} } },
        });
        let labels = BTreeMap::from([(RESTORED.to_owned(), "snap_1".to_owned())]);
        let spec = like(inspected, &image, &identity, labels).unwrap();
        assert_eq!(
            (&spec["Image"], &spec["Hostname"], &spec["User"]),
            (&json!("sha256:2"), &json!(""), &json!("1000:1000"))
        );
        let mounts = json!([
            { "Type": "volume", "Source": "cache", "Target": "/c" },
            { "Type": "volume", "Target": "/d", "VolumeOptions": { "NoCopy": true } },
        ]);
        assert_eq!(spec["HostConfig"], json!({ "NetworkMode": "none", "Mounts": mounts }));
        assert_eq!(
            (&spec["Labels"]["grainchain.owner"], &spec["Labels"][RESTORED]),
            (&json!("me"), &json!("snap_1"))
        );
        let left: u64 = spec["Cmd"][0].as_str().unwrap().parse().unwrap();
        assert!((45..=51).contains(&left), "{left}");
    }
}
