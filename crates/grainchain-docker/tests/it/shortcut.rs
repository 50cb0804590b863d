//! The way to a helper on this machine without the engine in between, and where it does not lead.

use std::os::unix::fs::MetadataExt;

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
