//! Sandboxes made twice, cut off, restored and swept.

use std::sync::Arc;
use std::time::Duration;

use grainchain_core::{CreateRequest, DryRun, ErrorKind, ListFilter, Provider, SandboxConfig};
use grainchain_docker::{Docker, DockerConfig, GuestKind};

use crate::world::{Outcome, TINY, Test, World, free_port, sh, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test("lifecycle::the_same_request_twice_makes_one_sandbox", the_same_request_twice_makes_one_sandbox),
        test(
            "lifecycle::a_create_that_nobody_waits_for_leaves_nothing",
            a_create_that_nobody_waits_for_leaves_nothing,
        ),
        test(
            "lifecycle::another_program_finds_the_sandbox_with_its_labels",
            another_program_finds_the_sandbox_with_its_labels,
        ),
        test(
            "lifecycle::a_restored_sandbox_keeps_id_limits_and_lifetime",
            a_restored_sandbox_keeps_id_limits_and_lifetime,
        ),
        test(
            "lifecycle::a_handle_of_another_program_follows_a_restore",
            a_handle_of_another_program_follows_a_restore,
        ),
        test("lifecycle::snapshots_go_with_their_sandbox", snapshots_go_with_their_sandbox),
        test("lifecycle::sweeping_leaves_what_lives", sweeping_leaves_what_lives),
        test(
            "lifecycle::the_image_of_a_fork_goes_with_its_last_copy",
            the_image_of_a_fork_goes_with_its_last_copy,
        ),
        test(
            "lifecycle::a_fork_that_cannot_be_made_leaves_nothing",
            a_fork_that_cannot_be_made_leaves_nothing,
        ),
    ]
}

fn docker() -> grainchain_core::Result<Docker> {
    Docker::new(DockerConfig::default().image(TINY).guest(GuestKind::Engine))
}

async fn the_same_request_twice_makes_one_sandbox(world: World) -> Outcome {
    let docker = docker()?;
    let key = format!("key-{}", world.owner);
    let request = || CreateRequest::new(SandboxConfig::default(), key.clone(), world.owner.clone());
    let first = docker.create(request()).await?;
    let second = docker.create(request()).await?;
    assert_eq!(first.id, second.id);
    let found = docker.list(ListFilter::default().key(key.clone())).await?;
    assert_eq!(found.len(), 1);
    Ok(())
}

async fn a_create_that_nobody_waits_for_leaves_nothing(world: World) -> Outcome {
    for pause in [0, 5, 20, 60, 150, 300] {
        drop(
            tokio::time::timeout(Duration::from_millis(pause), world.sandbox())
                .await
                .map(|made| made.map(|sandbox| sandbox.id().clone())),
        );
    }
    // Those that were ready in time are there; the others go by themselves.
    let begun = std::time::Instant::now();
    loop {
        let left = world.left().await?;
        for id in &left {
            // It may go by itself just now.
            if let Err(error) = world.client.remove(&id.as_str().into()).await {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
            }
        }
        if left.is_empty() && begun.elapsed() > Duration::from_secs(2) {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(30) {
            return Err(format!("left behind: {left:?}").into());
        }
        tokio::task::yield_now().await;
    }
}

async fn another_program_finds_the_sandbox_with_its_labels(world: World) -> Outcome {
    let sandbox = world.create(SandboxConfig::default().metadata("case", &world.owner).keep_alive()).await?;
    let other = World::new(|config| config)?;
    let found = other.client.list(ListFilter::default().metadata("case", &world.owner)).await?;
    assert_eq!(found.len(), 1);
    assert!(
        found[0].keep_alive && found[0].expires_at.is_some() && found[0].image.as_deref() == Some(TINY),
        "{found:?}"
    );
    let again = other.client.connect(sandbox.id().clone()).await?;
    assert_eq!(sh(&again, "echo x").await?, "x\n");
    Ok(())
}

async fn a_restored_sandbox_keeps_id_limits_and_lifetime(world: World) -> Outcome {
    let sandbox = world
        .create(SandboxConfig::default().env("COLOR", "blue").metadata("a", "b").provider_option("pids", 77))
        .await?;
    let before = sandbox.info().await?;
    let snapshot = sandbox.create_snapshot("point").await?;
    sandbox.restore_snapshot(&snapshot.id).await?;
    let after = sandbox.info().await?;
    assert_eq!(
        (&before.id, before.expires_at, &before.metadata, before.created_at),
        (&after.id, after.expires_at, &after.metadata, after.created_at)
    );
    let line = "echo $COLOR; id -u; cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max; ls /sys/class/net; grep CapEff /proc/self/status";
    assert_eq!(sh(&sandbox, line).await?, "blue\n1000\n77\nlo\nCapEff:\t0000000000000000\n");
    assert_eq!(world.left().await?.len(), 1, "one sandbox is one, also after a restore");
    Ok(())
}

async fn a_handle_of_another_program_follows_a_restore(world: World) -> Outcome {
    let sandbox = world.sandbox().await?;
    let other = World::new(|config| config)?.client.connect(sandbox.id().clone()).await?;
    sh(&sandbox, "echo before > f").await?;
    let snapshot = sandbox.create_snapshot("point").await?;
    sh(&other, "echo after > f").await?;
    sandbox.restore_snapshot(&snapshot.id).await?;
    assert_eq!(sh(&other, "cat f").await?, "before\n");
    Ok(())
}

async fn snapshots_go_with_their_sandbox(world: World) -> Outcome {
    let sandbox = world.sandbox().await?;
    let first = sandbox.create_snapshot("first").await?;
    sandbox.restore_snapshot(&first.id).await?;
    sandbox.create_snapshot("second").await?;
    // One that the container stands on.
    sandbox.delete_snapshot(&first.id).await?;
    let id = sandbox.id().clone();
    sandbox.close().await?;
    let provider: Arc<dyn Provider> = Arc::new(docker()?);
    let swept = provider.sweep(DryRun::Yes).await?;
    assert!(!swept.iter().any(|name| name.contains(first.id.as_str())), "{swept:?}");
    assert!(provider.connect(&id).await.is_err());
    Ok(())
}

async fn sweeping_leaves_what_lives(world: World) -> Outcome {
    let sandbox = world.sandbox().await?;
    let snapshot = sandbox.create_snapshot("kept").await?;
    let provider = docker()?;
    let named = provider.sweep(DryRun::Yes).await?;
    assert!(
        !named.iter().any(|name| name.contains(sandbox.id().as_str()) || name.contains(snapshot.id.as_str())),
        "{named:?}"
    );
    Ok(())
}

/// What nothing stands on any more, by the names that a sweep would give.
async fn swept() -> grainchain_core::Result<Vec<String>> {
    docker()?.sweep(DryRun::Yes).await
}

async fn the_image_of_a_fork_goes_with_its_last_copy(world: World) -> Outcome {
    let sandbox = world.sandbox().await?;
    sh(&sandbox, "echo first > f").await?;
    let point = sandbox.create_snapshot("point").await?;
    sandbox.restore_snapshot(&point.id).await?;
    sh(&sandbox, "echo second > f").await?;
    let copies = sandbox.fork(2).await?;
    // What the original stood on goes, what the copies stand on stays.
    sandbox.close().await?;
    copies[0].close().await?;
    assert_eq!(sh(&copies[1], "cat f").await?, "second\n");
    let own = copies[1].create_snapshot("own").await?;
    assert_eq!(copies[1].list_snapshots().await?.len(), 1);
    sh(&copies[1], "echo third > f").await?;
    copies[1].restore_snapshot(&own.id).await?;
    assert_eq!(sh(&copies[1], "cat f").await?, "second\n");
    copies[1].close().await?;
    let left: Vec<_> = swept()
        .await?
        .into_iter()
        .filter(|name| name.contains("fork") || name.contains(own.id.as_str()))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

async fn a_fork_that_cannot_be_made_leaves_nothing(world: World) -> Outcome {
    let port = free_port()?;
    let config = SandboxConfig::default()
        .network(grainchain_core::NetworkPolicy::Open)
        .provider_option("ports", serde_json::json!([format!("{port}:80")]));
    let sandbox = world.create(config).await?;
    let error = sandbox.fork(2).await.expect_err("the port can be published once");
    assert_eq!(error.failed_option(), Some("ports"), "{error:?}");
    assert_eq!(world.left().await?.len(), 1);
    Ok(())
}
