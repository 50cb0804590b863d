//! What cannot be made is an error that names the option and the remedy, and leaves nothing behind.

use std::time::Duration;

use grainchain_core::{BuildTemplate, ByteSize, CreateVolume, ErrorKind, NetworkPolicy, SandboxConfig};
use libtest_mimic::Failed;
use serde_json::json;

use crate::world::{Outcome, Test, World, refused, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test("bad_input::an_image_that_is_nowhere_is_named", an_image_that_is_nowhere_is_named),
        test(
            "bad_input::an_image_that_must_not_be_pulled_is_not_found",
            an_image_that_must_not_be_pulled_is_not_found,
        ),
        test("bad_input::too_little_memory_is_refused", too_little_memory_is_refused),
        test(
            "bad_input::more_processors_than_there_are_are_refused",
            more_processors_than_there_are_are_refused,
        ),
        test("bad_input::an_unknown_runtime_is_refused", an_unknown_runtime_is_refused),
        test("bad_input::an_unknown_network_is_refused", an_unknown_network_is_refused),
        test(
            "bad_input::a_volume_path_that_does_not_exist_is_refused",
            a_volume_path_that_does_not_exist_is_refused,
        ),
        test(
            "bad_input::a_port_in_use_is_a_conflict_and_leaves_no_volume",
            a_port_in_use_is_a_conflict_and_leaves_no_volume,
        ),
        test(
            "bad_input::a_disk_limit_that_nobody_enforces_is_refused",
            a_disk_limit_that_nobody_enforces_is_refused,
        ),
        test("bad_input::an_unknown_user_is_refused", an_unknown_user_is_refused),
        test("bad_input::an_image_without_sleep_is_refused", an_image_without_sleep_is_refused),
        test(
            "bad_input::an_engine_that_is_not_there_is_a_connection_error",
            an_engine_that_is_not_there_is_a_connection_error,
        ),
    ]
}

async fn nothing_left(world: &World) -> Outcome {
    let left = world.left().await?;
    if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:?}").into()) }
}

async fn an_image_that_is_nowhere_is_named(world: World) -> Outcome {
    let result = world.create(SandboxConfig::image("127.0.0.1:1/no/such-image:1")).await;
    let error = refused(result, ErrorKind::Connection, "image")?;
    if !error.to_string().contains("such-image") {
        return Err(format!("does not name it: {error}").into());
    }
    nothing_left(&world).await
}

async fn an_image_that_must_not_be_pulled_is_not_found(world: World) -> Outcome {
    let config = SandboxConfig::image("no-such-image").provider_option("pull", "never");
    refused(world.create(config).await, ErrorKind::NotFound, "image")?;
    nothing_left(&world).await
}

async fn too_little_memory_is_refused(world: World) -> Outcome {
    let config = SandboxConfig::default().memory_limit(ByteSize::mib(5));
    refused(world.create(config).await, ErrorKind::BadRequest, "memory_limit")?;
    nothing_left(&world).await
}

async fn more_processors_than_there_are_are_refused(world: World) -> Outcome {
    let config = SandboxConfig::default().cpu_limit(5000.0);
    refused(world.create(config).await, ErrorKind::BadRequest, "cpu_limit")?;
    nothing_left(&world).await
}

async fn an_unknown_runtime_is_refused(world: World) -> Outcome {
    let config = SandboxConfig::default().provider_option("runtime", "no-such-runtime");
    refused(world.create(config).await, ErrorKind::BadRequest, "runtime")?;
    nothing_left(&world).await
}

async fn an_unknown_network_is_refused(world: World) -> Outcome {
    let config = SandboxConfig::default().provider_option("network", "no-such-network");
    refused(world.create(config).await, ErrorKind::NotFound, "network")?;
    nothing_left(&world).await
}

async fn a_volume_path_that_does_not_exist_is_refused(world: World) -> Outcome {
    let config = SandboxConfig::default().provider_option("volumes", json!(["/no/such/place:/data"]));
    refused(world.create(config).await, ErrorKind::BadRequest, "volumes")?;
    nothing_left(&world).await
}

async fn a_port_in_use_is_a_conflict_and_leaves_no_volume(world: World) -> Outcome {
    // The engine's machine is this one: what listens here is in its way.
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let volume = format!("grainchain-{}", world.owner);
    let config = SandboxConfig::default()
        .network(NetworkPolicy::Open)
        .provider_option("ports", json!([format!("{port}:80")]))
        .provider_option("volumes", json!([format!("{volume}:/data")]));
    refused(world.create(config.clone()).await, ErrorKind::Conflict, "ports")?;
    nothing_left(&world).await?;
    let volumes = world.client.volumes()?;
    if volumes.list().await?.iter().any(|info| info.name == volume) {
        return Err(Failed::from("the volume was left behind"));
    }
    // One that was there before stays.
    let made = volumes.create(CreateVolume::new(&volume)).await?;
    refused(world.create(config).await, ErrorKind::Conflict, "ports")?;
    drop(listener);
    Ok(volumes.delete(&made.id).await?)
}

async fn a_disk_limit_that_nobody_enforces_is_refused(world: World) -> Outcome {
    let config = SandboxConfig::default().provider_option("disk", "1GiB");
    match world.create(config).await {
        // Some engines can.
        Ok(sandbox) => Ok(sandbox.close().await?),
        refusal => {
            refused(refusal, ErrorKind::Unsupported, "disk")?;
            nothing_left(&world).await
        }
    }
}

async fn an_unknown_user_is_refused(world: World) -> Outcome {
    let config = SandboxConfig::default().provider_option("user", "no-such-user");
    refused(world.create(config).await, ErrorKind::NotFound, "user")?;
    nothing_left(&world).await
}

async fn an_image_without_sleep_is_refused(world: World) -> Outcome {
    let templates = world.client.templates()?;
    let empty = BuildTemplate::new(format!("empty-{}", world.owner), "FROM scratch\nLABEL empty=1");
    let built = templates.build(empty).await?;
    let refusal = refused(
        world.create(SandboxConfig::template(built.id.as_str())).await,
        ErrorKind::BadRequest,
        "image",
    );
    templates.delete(&built.id).await?;
    refusal?;
    nothing_left(&world).await
}

async fn an_engine_that_is_not_there_is_a_connection_error(_world: World) -> Outcome {
    let elsewhere = World::new(|mut config| {
        config.host = Some("unix:///no/such/docker.sock".to_owned());
        config
    })?;
    let Err(error) = tokio::time::timeout(Duration::from_secs(20), elsewhere.sandbox()).await? else {
        return Err("there is a sandbox".into());
    };
    if error.kind() == ErrorKind::Connection
        && error.remedy().is_some_and(|remedy| remedy.contains("start the engine"))
    {
        return Ok(());
    }
    Err(format!("{error:?}").into())
}
