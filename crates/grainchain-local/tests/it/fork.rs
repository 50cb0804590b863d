//! Copies of a living sandbox.

use grainchain_core::{CreateSnapshot, ErrorKind, GcOptions, SandboxConfig, SandboxStatus};

use crate::world::{FOREVER, background, eventually, is_alive, is_frozen, refused, run, world};

#[tokio::test]
async fn a_fork_copies_files_and_settings_and_no_process() {
    let world = world();
    let config = SandboxConfig::default().env("WHO", "me").metadata("team", "a").working_directory("src");
    let sandbox = world.client.create(config).await.unwrap();
    let pid = background(&sandbox, FOREVER).await;
    run(&sandbox, "echo one > file; ln file hard; ln -s file soft; chmod 750 file").await;
    let copies = sandbox.fork(3).await.unwrap();
    assert_eq!((copies.len(), world.ids().await.len()), (3, 4));
    for copy in &copies {
        assert_eq!(
            run(copy, "cat file; stat -c '%a %h' file; readlink soft; echo $WHO").await,
            "one\n750 2\nfile\nme"
        );
        let info = copy.info().await.unwrap();
        assert_eq!((info.status, info.metadata["team"].as_str()), (SandboxStatus::Running, "a"));
        assert_ne!(info.key, sandbox.info().await.unwrap().key);
        assert!(copy.list_snapshots().await.unwrap().is_empty());
        run(copy, "echo changed > file").await;
    }
    assert_eq!(run(&sandbox, "cat file").await, "one");
    assert!(sandbox.list_snapshots().await.unwrap().is_empty(), "what a fork needs for itself is not shown");
    eventually("it goes on", async || is_alive(pid) && !is_frozen(pid)).await;
    copies[0].close().await.unwrap();
    assert_eq!(run(&copies[1], "cat file").await, "changed");
}

#[tokio::test]
async fn a_fork_of_none_or_of_too_many_is_refused() {
    let world = world();
    let sandbox = world.sandbox().await;
    for count in [0, 1001, u32::MAX] {
        refused(sandbox.fork(count).await, ErrorKind::BadRequest, "copies");
    }
    assert_eq!(world.ids().await.len(), 1);
}

#[tokio::test]
async fn the_label_of_what_forks_need_is_refused() {
    let world = world();
    let request = CreateSnapshot::filesystem().metadata("grainchain.fork", "mine");
    refused(world.sandbox().await.create_snapshot(request).await, ErrorKind::BadRequest, "grainchain.fork");
}

#[tokio::test]
async fn copies_are_held_like_any_other_sandbox() {
    let world = world();
    let sandbox = world.sandbox().await;
    let copies = sandbox.fork(2).await.unwrap();
    assert!(world.second_client().gc(GcOptions::default()).await.unwrap().entries.is_empty());
    assert_eq!(run(&copies[0], "echo here").await, "here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_whose_future_is_dropped_leaves_at_most_what_gc_finds() {
    let world = world();
    let sandbox = world.sandbox().await;
    run(&sandbox, "head -c 300000 /dev/urandom > file").await;
    for micros in (0..14).map(|n| 1 << n) {
        let cut = tokio::time::timeout(std::time::Duration::from_micros(micros), sandbox.fork(3)).await;
        for copy in cut.into_iter().flat_map(Result::unwrap) {
            copy.close().await.unwrap();
        }
        // Waits for its turn, so the fork is over then.
        sandbox.set_lifetime(None).await.unwrap();
    }
    eventually("gc finds what is left", async || {
        world.client.gc(GcOptions::default()).await.unwrap();
        world.ids().await == [sandbox.id().as_str()] && world.limbo().is_empty()
    })
    .await;
    assert_eq!(run(&sandbox, "echo here").await, "here");
}
