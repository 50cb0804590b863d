//! Networks that are closed and opened while a sandbox runs.

use grainchain_core::{ErrorKind, NetworkPolicy, Sandbox, SandboxConfig};
use grainchain_docker::{Docker, DockerConfig, GuestKind};
use libtest_mimic::Failed;

use crate::world::{Outcome, TINY, Test, World, refused, sh, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test("network::it_is_closed_and_opened_while_it_runs", it_is_closed_and_opened_while_it_runs),
        test("network::one_that_was_made_without_is_opened", one_that_was_made_without_is_opened),
        test("network::one_that_stands_still_is_closed_too", one_that_stands_still_is_closed_too),
        test(
            "network::closed_stays_closed_after_a_restore_and_in_copies",
            closed_stays_closed_after_a_restore_and_in_copies,
        ),
        test("network::what_cannot_be_is_refused", what_cannot_be_is_refused),
    ]
}

fn docker() -> grainchain_core::Result<Docker> {
    Docker::new(DockerConfig::default().image(TINY).guest(GuestKind::Engine))
}

/// Whether there is a way out. The engine counts interfaces up, so their names tell nothing.
async fn is_open(sandbox: &Sandbox) -> Result<bool, Failed> {
    Ok(sh(sandbox, "cat /proc/net/route").await?.lines().count() > 1)
}

async fn it_is_closed_and_opened_while_it_runs(world: World) -> Outcome {
    let docker = docker()?;
    let sandbox = world.create(SandboxConfig::default().network(NetworkPolicy::Open)).await?;
    assert!(is_open(&sandbox).await?);
    for (policy, open) in [
        (NetworkPolicy::Open, true),
        (NetworkPolicy::Off, false),
        (NetworkPolicy::Off, false),
        (NetworkPolicy::Open, true),
    ] {
        docker.set_network(sandbox.id(), policy.clone()).await?;
        assert_eq!(is_open(&sandbox).await?, open, "{policy:?}");
    }
    docker.set_network(sandbox.id(), NetworkPolicy::Off).await?;
    assert_eq!(sh(&sandbox, "ls /sys/class/net").await?, "lo\n");
    Ok(())
}

async fn one_that_was_made_without_is_opened(world: World) -> Outcome {
    let docker = docker()?;
    let sandbox = world.sandbox().await?;
    docker.set_network(sandbox.id(), NetworkPolicy::Open).await?;
    assert!(is_open(&sandbox).await?);
    docker.set_network(sandbox.id(), NetworkPolicy::Off).await?;
    assert_eq!(sh(&sandbox, "ls /sys/class/net").await?, "lo\n");
    Ok(())
}

async fn one_that_stands_still_is_closed_too(world: World) -> Outcome {
    let sandbox = world.create(SandboxConfig::default().network(NetworkPolicy::Open)).await?;
    sandbox.pause().await?;
    docker()?.set_network(sandbox.id(), NetworkPolicy::Off).await?;
    sandbox.resume().await?;
    assert!(!is_open(&sandbox).await?);
    Ok(())
}

async fn closed_stays_closed_after_a_restore_and_in_copies(world: World) -> Outcome {
    let docker = docker()?;
    let sandbox = world.create(SandboxConfig::default().network(NetworkPolicy::Open)).await?;
    let snapshot = sandbox.create_snapshot("open").await?;
    docker.set_network(sandbox.id(), NetworkPolicy::Off).await?;
    sandbox.restore_snapshot(&snapshot.id).await?;
    assert!(!is_open(&sandbox).await?, "the restore opened it");
    let copies = sandbox.fork(1).await?;
    assert!(!is_open(&copies[0]).await?, "the copy is open");
    for closed in [&sandbox, &copies[0]] {
        docker.set_network(closed.id(), NetworkPolicy::Open).await?;
        assert!(is_open(closed).await?);
    }
    sandbox.restore_snapshot(&snapshot.id).await?;
    assert!(is_open(&sandbox).await?, "the restore closed it");
    Ok(())
}

async fn what_cannot_be_is_refused(world: World) -> Outcome {
    let sandbox = world.sandbox().await?;
    let unknown = docker()?.set_network(&"sb_unknown".into(), NetworkPolicy::Off).await;
    assert_eq!(unknown.expect_err("there is none").kind(), ErrorKind::NotFound);
    for policy in [NetworkPolicy::Default, NetworkPolicy::Allow(vec!["example.org".to_owned()])] {
        let result = docker()?.set_network(sandbox.id(), policy).await;
        refused(result, ErrorKind::Unsupported, "network")?;
    }
    let mut config = DockerConfig::default();
    config.container.network = Some("grainchain-test-missing".to_owned());
    let result = Docker::new(config)?.set_network(sandbox.id(), NetworkPolicy::Open).await;
    refused(result, ErrorKind::NotFound, "network")?;
    // It is as it was: it can be opened by another.
    assert_eq!(sh(&sandbox, "ls /sys/class/net").await?, "lo\n");
    docker()?.set_network(sandbox.id(), NetworkPolicy::Open).await?;
    assert!(is_open(&sandbox).await?);
    Ok(())
}
