//! The end that comes by itself, and what moves it.

use std::time::Duration;

use grainchain_core::{ErrorKind, GcOptions, SandboxConfig};

use crate::other::Other;
use crate::world::{FOREVER, background, eventually, is_alive, refused, run, world};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_sandbox_ends_when_its_lifetime_is_over() {
    let world = world();
    let sandbox =
        world.client.create(SandboxConfig::default().lifetime(Duration::from_secs(3))).await.unwrap();
    let pid = background(&sandbox, FOREVER).await;
    eventually("it has ended", async || world.ids().await.is_empty() && world.limbo().is_empty()).await;
    assert!(!is_alive(pid));
    refused(sandbox.execute("true").await, ErrorKind::NotFound, "the sandbox is closed");
    sandbox.close().await.unwrap();
}

#[tokio::test]
async fn the_lifetime_can_be_shortened_lengthened_and_lifted() {
    let world = world();
    let sandbox = world.sandbox().await;
    let lifted =
        world.client.create(SandboxConfig::default().lifetime(Duration::from_secs(2))).await.unwrap();
    lifted.set_lifetime(None).await.unwrap();
    assert_eq!(lifted.info().await.unwrap().expires_at, None);
    let longer =
        world.client.create(SandboxConfig::default().lifetime(Duration::from_secs(2))).await.unwrap();
    longer.set_lifetime(Duration::from_secs(1000)).await.unwrap();
    let witness =
        world.client.create(SandboxConfig::default().lifetime(Duration::from_secs(2))).await.unwrap();
    sandbox.set_lifetime(SHORT).await.unwrap();
    eventually("those whose time is over have ended", async || {
        let ids = world.ids().await;
        !ids.contains(&sandbox.id().to_string()) && !ids.contains(&witness.id().to_string())
    })
    .await;
    assert_eq!(run(&lifted, "echo here").await, "here");
    assert_eq!(run(&longer, "echo here").await, "here");
}

#[tokio::test]
async fn one_that_lives_for_ever_has_no_end() {
    let world = world();
    let config = SandboxConfig::default().lifetime(None);
    assert_eq!(world.client.create(config).await.unwrap().info().await.unwrap().expires_at, None);
    let config = SandboxConfig::default().lifetime(Duration::MAX);
    let sandbox = world.client.create(config).await.unwrap();
    assert_eq!(run(&sandbox, "echo here").await, "here");
}

#[tokio::test]
async fn another_program_prolongs_it_and_this_one_does_not_end_it() {
    let world = world();
    let config = || SandboxConfig::default().lifetime(Duration::from_secs(4));
    let sandbox = world.client.create(config()).await.unwrap();
    let witness = world.client.create(config()).await.unwrap();
    Other::start(&world.root()).ask(&format!("lifetime {} 1000", sandbox.id()));
    eventually("the witness has ended", async || !world.ids().await.contains(&witness.id().to_string()))
        .await;
    assert_eq!(run(&sandbox, "echo here").await, "here");
}

#[tokio::test]
async fn gc_ends_what_outlives_its_client_when_its_time_is_over() {
    let world = world();
    let mut other = Other::start(&world.root());
    let id = other.ask("create-kept");
    let pid: u32 = other
        .ask(&format!("run {id} setsid sleep 100000 >/dev/null 2>&1 </dev/null & echo $!"))
        .parse()
        .unwrap();
    other.ask(&format!("lifetime {id} 2"));
    other.kill();
    eventually("its time is over", async || {
        world.info(&id).await.expires_at.unwrap() < std::time::SystemTime::now()
    })
    .await;
    refused(world.client.connect(id.clone()).await, ErrorKind::NotFound, "lifetime");
    assert!(is_alive(pid), "nobody was there to end it");
    let report = world.client.gc(GcOptions::default()).await.unwrap();
    assert!(report.entries[0].reason.contains("lifetime"), "{report:?}");
    assert!(!is_alive(pid));
    assert!(world.ids().await.is_empty());
}
