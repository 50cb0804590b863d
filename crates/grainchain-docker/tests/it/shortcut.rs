//! The way to a helper on this machine without the engine in between, and where it does not lead.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use grainchain_core::{ErrorKind, Sandbox, SandboxConfig};
use grainchain_docker::{DockerConfig, GuestKind};
use libtest_mimic::Failed;

use crate::world::{Outcome, Test, World, docker, sh, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test(
            "shortcut::root_on_the_engines_machine_needs_no_bridge",
            root_on_the_engines_machine_needs_no_bridge,
        ),
        test("shortcut::who_does_not_want_it_has_a_bridge", who_does_not_want_it_has_a_bridge),
        test(
            "shortcut::clients_that_come_and_go_find_the_same_sandbox",
            clients_that_come_and_go_find_the_same_sandbox,
        ),
        test(
            "shortcut::one_that_somebody_else_paused_is_told_at_once",
            one_that_somebody_else_paused_is_told_at_once,
        ),
        test("shortcut::a_sandbox_that_stands_still_says_so", a_sandbox_that_stands_still_says_so),
    ]
}

fn with_helper(world: &World, change: impl FnOnce(DockerConfig) -> DockerConfig) -> Result<World, Failed> {
    let mut other = World::new(|config| change(config.guest(GuestKind::Helper)))?;
    other.owner.clone_from(&world.owner);
    other.client = other.client.owner(world.owner.clone());
    Ok(other)
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// How many bridges the engine has started in `sandbox`.
fn bridges(sandbox: &Sandbox) -> Result<usize, Failed> {
    let name = format!("grainchain-{}", sandbox.id());
    let processes = docker(&["top", &name, "-eo", "pid,args"])?;
    Ok(processes.lines().filter(|line| line.contains("/.grainchain/helper dial")).count())
}

async fn root_on_the_engines_machine_needs_no_bridge(world: World) -> Outcome {
    let sandbox = with_helper(&world, |config| config)?.create(SandboxConfig::default()).await?;
    let other = with_helper(&world, |config| config)?.client.connect(sandbox.id().clone()).await?;
    assert_eq!(sh(&other, "echo there").await?, "there\n");
    assert_eq!(bridges(&sandbox)?, usize::from(!is_root()));
    Ok(())
}

async fn who_does_not_want_it_has_a_bridge(world: World) -> Outcome {
    let sandbox =
        with_helper(&world, |config| config.shortcut(false))?.create(SandboxConfig::default()).await?;
    // The first one has the container's own streams.
    assert_eq!(bridges(&sandbox)?, 0);
    let other = with_helper(&world, |config| config.shortcut(false))?;
    let other = other.client.connect(sandbox.id().clone()).await?;
    assert_eq!(sh(&other, "echo there").await?, "there\n");
    assert_eq!(bridges(&sandbox)?, 1);
    Ok(())
}

async fn clients_that_come_and_go_find_the_same_sandbox(world: World) -> Outcome {
    let sandbox = with_helper(&world, |config| config)?.create(SandboxConfig::default()).await?;
    let mut seen = Vec::new();
    for round in 0..3 {
        let other = with_helper(&world, |config| config)?.client.connect(sandbox.id().clone()).await?;
        sh(&other, &format!("echo {round} >> rounds")).await?;
        drop(other);
        seen.push(round.to_string());
        assert_eq!(sh(&sandbox, "cat rounds").await?.lines().collect::<Vec<_>>(), seen);
    }
    sandbox.pause().await?;
    sandbox.resume().await?;
    assert_eq!(sh(&sandbox, "wc -l < rounds").await?.trim(), "3");
    Ok(())
}

/// Its helper's socket takes a connection, and nobody would answer.
async fn one_that_somebody_else_paused_is_told_at_once(world: World) -> Outcome {
    let sandbox = with_helper(&world, |config| config)?.create(SandboxConfig::default()).await?;
    let id = sandbox.id().clone();
    for shortcut in [true, false] {
        let other =
            with_helper(&world, |config| config.shortcut(shortcut))?.client.connect(id.clone()).await?;
        sandbox.pause().await?;
        // Sooner than a helper that is there would be given up.
        let told = tokio::time::timeout(Duration::from_secs(8), other.execute("true")).await?;
        assert_eq!(told.expect_err("it is paused").kind(), ErrorKind::Conflict);
        sandbox.resume().await?;
        assert_eq!(sh(&other, "echo there").await?, "there\n");
    }
    Ok(())
}

async fn a_sandbox_that_stands_still_says_so(world: World) -> Outcome {
    let sandbox = with_helper(&world, |config| config)?.create(SandboxConfig::default()).await?;
    // What is so already is no fault.
    sandbox.resume().await?;
    sandbox.pause().await?;
    sandbox.pause().await?;
    // Who comes now has no link, and its helper's socket would take a new one and say nothing.
    let other = with_helper(&world, |config| config)?.client.connect(sandbox.id().clone()).await?;
    let error = other.execute("true").await.expect_err("it is paused");
    assert_eq!((error.kind(), error.remedy()), (ErrorKind::Conflict, Some("resume it first")), "{error}");
    other.resume().await?;
    assert_eq!(sh(&other, "echo there").await?, "there\n");
    Ok(())
}
