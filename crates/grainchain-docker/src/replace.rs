//! Puts another container in the place of a sandbox's own, from the image of a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use grainchain_core::{Error, NetworkPolicy, Result, SnapshotId};
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
    let (next, last) = (format!("{name}{NEXT}"), format!("{name}{LAST}"));
    let kept = kept::of(image)?;
    // What a restore left that was cut off, and what the one before has still to clear up.
    let (_, _, inspected) =
        tokio::try_join!(engine.remove(&next), engine.remove(&last), engine.inspect_raw(&name))?;
    let labels = BTreeMap::from([
        (BORN.to_owned(), nanoseconds(std::time::SystemTime::now()).to_string()),
        (RESTORED.to_owned(), snapshot.to_string()),
        identity.end(),
    ]);
    let holds_ports = network::holds_ports(&inspected);
    let spec = like(inspected, image, identity, labels)?;
    engine.create(&next, None, &spec).await?;
    let begun = async {
        if holds_ports {
            // The engine gives a port of its machine to one container at a time.
            network::set(engine, &identity.id, NetworkPolicy::Off, None).await?;
        }
        let inside = start(engine, &next, identity, stills).await?;
        kept::bring_back(engine, image, &kept, inside.as_deref()).await?;
        // The old one has its end in any event: it may go while the new one comes.
        engine.rename(&name, &last).await?;
        Ok(inside)
    };
    let inside = match begun.await {
        Ok(inside) => inside,
        Err(error) => {
            engine.remove(&next).await?;
            if holds_ports {
                network::set(engine, &identity.id, NetworkPolicy::Open, None).await?;
            }
            return Err(error);
        }
    };
    if let Err(error) = engine.rename(&next, &name).await {
        engine.remove(&next).await?;
        engine.rename(&last, &name).await?;
        return Err(error);
    }
    retire(engine, last, old).await?;
    Ok(inside)
}

/// Ends the container `name`, which was replaced. Its helper ends it at once; that the engine clears up after it is not waited for.
async fn retire(engine: &Engine, name: String, inside: Option<&Inside>) -> Result<()> {
    let is_told = match inside {
        Some(inside) => inside.shut_down().await,
        None => false,
    };
    if !is_told {
        return engine.remove(&name).await.map(drop);
    }
    let engine = engine.clone();
    tokio::spawn(async move {
        if let Err(error) = engine.remove(&name).await {
            tracing::debug!(%error, "a container that was replaced could not be removed");
        }
    });
    Ok(())
}

/// Starts the container of `identity`, which is called `name` now, and answers with its inside where it has a helper.
pub(crate) async fn start(
    engine: &Engine,
    name: &str,
    identity: &Identity,
    stills: &Stills,
) -> Result<Option<Arc<Inside>>> {
    match &identity.token {
        Some(token) => {
            let own = container_name(&identity.id);
            Inside::start(engine, name, &own, token, stills.of(&identity.id)).await.map(Some)
        }
        None => engine.start(name).await.map(|()| None),
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
        let image = Image {
            id: "sha256:2".into(),
            tags: vec![],
            labels: Default::default(),
            created: 0,
            size: 0,
            user: String::new(),
            layers: 1,
        };
        let inspected = json!({
            "Id": "x",
            "Config": { "Image": "sha256:1", "Hostname": "abc", "User": "1000:1000", "Env": ["A=b"], "Cmd": ["3600"], "Labels": { "grainchain.owner": "me" } },
            "HostConfig": { "NetworkMode": "none", "CapDrop": ["ALL"] },
            "NetworkSettings": { "Networks": { "none": {} } },
        });
        let labels = BTreeMap::from([(RESTORED.to_owned(), "snap_1".to_owned())]);
        let spec = like(inspected, &image, &identity, labels).unwrap();
        assert_eq!(
            (&spec["Image"], &spec["Hostname"], &spec["User"]),
            (&json!("sha256:2"), &json!(""), &json!("1000:1000"))
        );
        assert_eq!(spec["HostConfig"], json!({ "NetworkMode": "none", "CapDrop": ["ALL"] }));
        assert_eq!(
            (&spec["Labels"]["grainchain.owner"], &spec["Labels"][RESTORED]),
            (&json!("me"), &json!("snap_1"))
        );
        let left: u64 = spec["Cmd"][0].as_str().unwrap().parse().unwrap();
        assert!((45..=51).contains(&left), "{left}");
    }
}
