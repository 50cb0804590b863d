//! The way to a sandbox and back, in this program and from another.

use std::sync::Arc;

use grainchain_core::{ErrorKind, ListFilter, SandboxConfig, SandboxStatus};

use crate::other::Other;
use crate::world::{FOREVER, background, eventually, is_alive, refused, run, world};

#[tokio::test]
async fn a_sandbox_is_listed_connected_and_closed() {
    let world = world();
    let sandbox = world.sandbox().await;
    run(&sandbox, "echo hello > file").await;
    assert_eq!(world.ids().await, [sandbox.id().as_str()]);
    let again = world.client.connect(sandbox.id().clone()).await.unwrap();
    assert_eq!(run(&again, "cat file").await, "hello");
    let info = again.info().await.unwrap();
    assert_eq!((info.status, info.provider.as_str()), (SandboxStatus::Running, "local"));
    assert_eq!(info.lease.unwrap().held, Some(true));
    again.close().await.unwrap();
    assert!(world.ids().await.is_empty());
    assert!(world.limbo().is_empty());
}

#[tokio::test]
async fn another_program_finds_uses_and_closes_it() {
    let world = world();
    let sandbox = world.sandbox().await;
    run(&sandbox, "echo hello > file").await;
    let pid = background(&sandbox, FOREVER).await;
    let mut other = Other::start(&world.root());
    assert_eq!(other.ask("list"), sandbox.id().as_str());
    assert_eq!(other.ask(&format!("run {} cat file", sandbox.id())), "hello");
    other.ask(&format!("close {}", sandbox.id()));
    assert!(!is_alive(pid), "closing from elsewhere kills too");
    refused(sandbox.info().await, ErrorKind::NotFound, "sandbox");
    assert!(world.ids().await.is_empty());
}

#[tokio::test]
async fn what_another_program_has_removed_starts_nothing_here() {
    let world = world();
    let sandbox = world.sandbox().await;
    Other::start(&world.root()).ask(&format!("remove {}", sandbox.id()));
    refused(sandbox.execute("true").await, ErrorKind::NotFound, "the sandbox is closed");
    refused(world.client.connect(sandbox.id().clone()).await, ErrorKind::NotFound, "there is no sandbox");
    sandbox.close().await.unwrap();
}

#[tokio::test]
async fn a_closed_sandbox_answers_not_found_to_everything() {
    let world = world();
    let sandbox = world.sandbox().await;
    let snapshot = sandbox.create_snapshot("one").await.unwrap().id;
    sandbox.close().await.unwrap();
    let closed = "the sandbox is closed";
    let gone = ErrorKind::NotFound;
    refused(sandbox.info().await, gone, closed);
    refused(sandbox.status().await, gone, closed);
    refused(sandbox.set_lifetime(None).await, gone, closed);
    refused(sandbox.execute("true").await, gone, closed);
    refused(sandbox.spawn("true").await, gone, closed);
    refused(sandbox.list_processes().await, gone, closed);
    refused(sandbox.create_snapshot("two").await, gone, closed);
    refused(sandbox.list_snapshots().await, gone, closed);
    refused(sandbox.restore_snapshot(&snapshot).await, gone, closed);
    refused(sandbox.delete_snapshot(&snapshot).await, gone, closed);
    refused(sandbox.pause().await, gone, closed);
    refused(sandbox.resume().await, gone, closed);
    refused(sandbox.terminate().await, gone, closed);
    refused(sandbox.wake_up().await, gone, closed);
    refused(sandbox.fork(1).await, gone, closed);
    refused(sandbox.preview_url(80).await, gone, closed);
    refused(sandbox.close_port(80).await, gone, closed);
    refused(sandbox.list_files(".").await, gone, closed);
    refused(sandbox.stat(".").await, gone, closed);
    refused(sandbox.make_dir("a").await, gone, closed);
    refused(sandbox.remove("a").await, gone, closed);
    refused(sandbox.upload_file("a", "b").await, gone, closed);
    refused(sandbox.download_file("a").await, gone, closed);
    refused(sandbox.run_code("1").await, gone, closed);
    refused(sandbox.list_contexts().await, gone, closed);
}

#[tokio::test]
async fn closing_again_and_at_once_is_no_error() {
    let world = world();
    let sandbox = world.sandbox().await;
    background(&sandbox, FOREVER).await;
    let second = world.second_client().connect(sandbox.id().clone()).await.unwrap();
    let closing = (0..8).map(|n| {
        let sandbox = if n % 2 == 0 { sandbox.clone() } else { second.clone() };
        tokio::spawn(async move { sandbox.close().await })
    });
    for closed in closing.collect::<Vec<_>>() {
        closed.await.unwrap().unwrap();
    }
    sandbox.close().await.unwrap();
    second.close().await.unwrap();
    assert!(world.ids().await.is_empty());
    assert!(world.limbo().is_empty());
}

#[tokio::test]
async fn removing_what_is_not_there_is_not_found() {
    let world = world();
    let sandbox = world.sandbox().await;
    sandbox.close().await.unwrap();
    refused(world.client.remove(sandbox.id()).await, ErrorKind::NotFound, sandbox.id().as_str());
    refused(world.client.remove(&"never".into()).await, ErrorKind::NotFound, "never");
}

#[tokio::test]
async fn fifty_are_made_and_closed_at_once() {
    let world = world();
    let client = Arc::new(world.client.clone());
    let working = (0..50).map(|n| {
        let client = Arc::clone(&client);
        tokio::spawn(async move {
            let sandbox = client.create(SandboxConfig::default()).await.unwrap();
            let answer = run(&sandbox, &format!("echo {n} > file; cat file")).await;
            assert_eq!(answer, n.to_string());
            sandbox
        })
    });
    let mut sandboxes = Vec::new();
    for made in working.collect::<Vec<_>>() {
        sandboxes.push(made.await.unwrap());
    }
    assert_eq!(world.ids().await.len(), 50);
    let closing: Vec<_> =
        sandboxes.into_iter().map(|sandbox| tokio::spawn(async move { sandbox.close().await })).collect();
    for closed in closing {
        closed.await.unwrap().unwrap();
    }
    assert!(world.ids().await.is_empty());
    assert!(world.limbo().is_empty());
}

#[tokio::test]
async fn lists_are_narrowed_by_label_key_and_status() {
    let world = world();
    let config = SandboxConfig::default().metadata("team", "a").metadata("job", "1");
    let marked = world.client.create(config).await.unwrap();
    let paused = world.sandbox().await;
    paused.pause().await.unwrap();
    let ids = async |filter: ListFilter| -> Vec<String> {
        world.client.list(filter).await.unwrap().into_iter().map(|info| info.id.to_string()).collect()
    };
    let only_marked = [marked.id().to_string()];
    assert_eq!(ids(ListFilter::default().metadata("team", "a")).await, only_marked);
    assert_eq!(ids(ListFilter::default().metadata("team", "a").metadata("job", "1")).await, only_marked);
    assert!(ids(ListFilter::default().metadata("team", "b")).await.is_empty());
    assert!(ids(ListFilter::default().metadata("team", "a").metadata("none", "")).await.is_empty());
    assert_eq!(ids(ListFilter::default().status(SandboxStatus::Paused)).await, [paused.id().to_string()]);
    // The key of `create` finds what it made, should its answer be lost.
    let key = marked.info().await.unwrap().key.unwrap();
    assert_eq!(ids(ListFilter::default().key(key)).await, only_marked);
    assert!(ids(ListFilter::default().key("another")).await.is_empty());
}

#[tokio::test]
async fn ids_that_are_paths_in_disguise_name_nothing() {
    let world = world();
    let canary = world.canary();
    world.sandbox().await;
    let long = "x".repeat(100_000);
    let ids = [
        "",
        ".",
        "..",
        "../..",
        "a/b",
        "/",
        "/etc",
        "../canary",
        "a\0b",
        "\0",
        &long,
        "é",
        "\u{202e}",
        "sb_\n",
        "./x",
        "x/",
    ];
    for id in ids {
        refused(world.client.connect(id).await, ErrorKind::NotFound, "there is no sandbox");
        refused(world.client.remove(&id.into()).await, ErrorKind::NotFound, "there is no sandbox");
    }
    assert_eq!(world.ids().await.len(), 1);
    canary.assert_untouched();
}

#[tokio::test]
async fn a_client_that_is_dropped_leaves_what_gc_finds() {
    let world = world();
    let pid = {
        let client = world.second_client();
        let sandbox = client.create(SandboxConfig::default()).await.unwrap();
        background(&sandbox, FOREVER).await
    };
    assert!(is_alive(pid));
    // The task that watches its lifetime lets go when it is told, a moment later.
    eventually("the lease is given up", async || {
        world.client.list(ListFilter::default()).await.unwrap()[0].lease.as_ref().unwrap().held == Some(false)
    })
    .await;
    let report = world.client.gc(grainchain_core::GcOptions::default()).await.unwrap();
    assert_eq!((report.entries.len(), report.kept), (1, 0));
    assert!(!is_alive(pid));
    assert!(world.ids().await.is_empty());
}
