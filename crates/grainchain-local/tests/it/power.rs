//! Pausing, terminating and the ways back, in the right order and in the wrong one.

use grainchain_core::{ErrorKind, SandboxStatus};

use crate::other::Other;
use crate::world::{FOREVER, background, eventually, is_alive, is_frozen, refused, run, world};

#[tokio::test]
async fn a_paused_sandbox_stands_still_and_goes_on() {
    let world = world();
    let sandbox = world.sandbox().await;
    let pid = background(&sandbox, FOREVER).await;
    sandbox.pause().await.unwrap();
    assert!(is_frozen(pid));
    assert_eq!(sandbox.status().await.unwrap(), SandboxStatus::Paused);
    refused(sandbox.execute("true").await, ErrorKind::Conflict, "paused");
    sandbox.resume().await.unwrap();
    eventually("it goes on", async || !is_frozen(pid)).await;
    assert_eq!(run(&sandbox, "echo here").await, "here");
}

#[tokio::test]
async fn pausing_and_resuming_twice_changes_nothing() {
    let world = world();
    let sandbox = world.sandbox().await;
    let pid = background(&sandbox, FOREVER).await;
    sandbox.resume().await.unwrap();
    sandbox.pause().await.unwrap();
    sandbox.pause().await.unwrap();
    assert!(is_frozen(pid));
    sandbox.resume().await.unwrap();
    sandbox.resume().await.unwrap();
    sandbox.wake_up().await.unwrap();
    assert_eq!(sandbox.status().await.unwrap(), SandboxStatus::Running);
}

#[tokio::test]
async fn terminate_ends_processes_and_keeps_files() {
    let world = world();
    let sandbox = world.sandbox().await;
    let pid = background(&sandbox, FOREVER).await;
    run(&sandbox, "echo kept > file").await;
    sandbox.terminate().await.unwrap();
    sandbox.terminate().await.unwrap();
    assert!(!is_alive(pid));
    assert_eq!(sandbox.status().await.unwrap(), SandboxStatus::Stopped);
    refused(sandbox.execute("true").await, ErrorKind::Conflict, "stopped");
    assert_eq!(&sandbox.download_file("file").await.unwrap()[..], b"kept\n");
    sandbox.wake_up().await.unwrap();
    assert_eq!(run(&sandbox, "cat file").await, "kept");
}

#[tokio::test]
async fn the_wrong_order_is_a_conflict_with_a_remedy() {
    let world = world();
    let sandbox = world.sandbox().await;
    sandbox.pause().await.unwrap();
    refused(sandbox.wake_up().await, ErrorKind::Conflict, "paused");
    sandbox.terminate().await.unwrap();
    refused(sandbox.pause().await, ErrorKind::Conflict, "stopped");
    refused(sandbox.resume().await, ErrorKind::Conflict, "stopped");
    sandbox.wake_up().await.unwrap();
    assert_eq!(run(&sandbox, "echo here").await, "here");
}

#[tokio::test]
async fn another_program_pauses_and_this_one_starts_nothing() {
    let world = world();
    let sandbox = world.sandbox().await;
    let pid = background(&sandbox, FOREVER).await;
    let mut other = Other::start(&world.root());
    other.ask(&format!("pause {}", sandbox.id()));
    assert!(is_frozen(pid));
    refused(sandbox.execute("true").await, ErrorKind::Conflict, "paused");
    refused(sandbox.spawn("true").await, ErrorKind::Conflict, "paused");
    assert_eq!(sandbox.status().await.unwrap(), SandboxStatus::Paused);
    other.ask(&format!("resume {}", sandbox.id()));
    assert_eq!(run(&sandbox, "echo here").await, "here");
    eventually("it goes on", async || !is_frozen(pid)).await;
}

#[tokio::test]
async fn what_is_paused_here_can_be_resumed_from_elsewhere() {
    let world = world();
    let sandbox = world.sandbox().await;
    let pid = background(&sandbox, FOREVER).await;
    sandbox.pause().await.unwrap();
    let mut other = Other::start(&world.root());
    assert_eq!(other.ask(&format!("status {}", sandbox.id())), "paused");
    assert!(other.try_ask(&format!("run {} true", sandbox.id())).is_err());
    other.ask(&format!("resume {}", sandbox.id()));
    eventually("it goes on", async || !is_frozen(pid)).await;
    assert_eq!(run(&sandbox, "echo here").await, "here");
}

#[tokio::test]
async fn a_paused_sandbox_is_closed_with_its_frozen_processes() {
    let world = world();
    let sandbox = world.sandbox().await;
    let pid = background(&sandbox, FOREVER).await;
    sandbox.pause().await.unwrap();
    sandbox.close().await.unwrap();
    assert!(!is_alive(pid));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_from_two_programs_never_lose_one_another() {
    let world = world();
    let sandbox = world.sandbox().await;
    let id = sandbox.id().to_string();
    let mut other = Other::start(&world.root());
    let theirs = std::thread::spawn(move || {
        for seconds in 1000..1030 {
            other.ask(&format!("lifetime {id} {seconds}"));
        }
    });
    for _ in 0..10 {
        sandbox.pause().await.unwrap();
        let snapshot = sandbox.create_snapshot("one").await.unwrap();
        sandbox.resume().await.unwrap();
        let parent = sandbox.create_snapshot("two").await.unwrap().parent;
        assert_eq!(parent, Some(snapshot.id), "the head was lost");
    }
    theirs.join().unwrap();
    let info = sandbox.info().await.unwrap();
    assert_eq!(info.status, SandboxStatus::Running);
    let left = info.expires_at.unwrap().duration_since(info.created_at.unwrap()).unwrap();
    assert!(left.as_secs() < 1500, "the lifetime was lost: {left:?}");
}
