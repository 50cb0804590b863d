//! Snapshots of a living sandbox. What a snapshot holds is tested beside the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use grainchain_core::{CreateSnapshot, ErrorKind, SandboxStatus, SnapshotId};

use crate::other::Other;
use crate::world::{FOREVER, background, eventually, is_alive, is_frozen, refused, run, world};

#[tokio::test]
async fn a_restore_gives_back_the_files_and_ends_the_processes() {
    let world = world();
    let sandbox = world.sandbox().await;
    run(&sandbox, "echo one > file").await;
    let snapshot = sandbox.create_snapshot("one").await.unwrap();
    let pid = background(&sandbox, FOREVER).await;
    run(&sandbox, "echo two > file; echo more > other").await;
    sandbox.restore_snapshot(&snapshot.id).await.unwrap();
    assert!(!is_alive(pid));
    assert_eq!(run(&sandbox, "cat file; ls").await, "one\nfile");
}

#[tokio::test]
async fn what_stood_still_for_a_snapshot_goes_on() {
    let world = world();
    let sandbox = world.sandbox().await;
    let pid = background(&sandbox, FOREVER).await;
    sandbox.create_snapshot("one").await.unwrap();
    eventually("it goes on", async || is_alive(pid) && !is_frozen(pid)).await;
    assert_eq!(run(&sandbox, "echo here").await, "here");
    assert!(!world.folder(sandbox.id().as_str()).join("still").exists());
}

#[tokio::test]
async fn a_snapshot_of_a_paused_sandbox_leaves_it_paused() {
    let world = world();
    let sandbox = world.sandbox().await;
    let pid = background(&sandbox, FOREVER).await;
    sandbox.pause().await.unwrap();
    sandbox.create_snapshot("one").await.unwrap();
    assert!(is_frozen(pid));
    assert_eq!(sandbox.status().await.unwrap(), SandboxStatus::Paused);
    refused(sandbox.execute("true").await, ErrorKind::Conflict, "paused");
}

#[tokio::test]
async fn restoring_a_paused_sandbox_lets_it_run() {
    let world = world();
    let sandbox = world.sandbox().await;
    let snapshot = sandbox.create_snapshot("one").await.unwrap();
    let pid = background(&sandbox, FOREVER).await;
    sandbox.pause().await.unwrap();
    sandbox.restore_snapshot(&snapshot.id).await.unwrap();
    assert!(!is_alive(pid));
    assert_eq!(sandbox.status().await.unwrap(), SandboxStatus::Running);
    assert_eq!(run(&sandbox, "echo here").await, "here");
}

#[tokio::test]
async fn restoring_a_stopped_sandbox_leaves_it_stopped() {
    let world = world();
    let sandbox = world.sandbox().await;
    let snapshot = sandbox.create_snapshot("one").await.unwrap();
    sandbox.terminate().await.unwrap();
    sandbox.restore_snapshot(&snapshot.id).await.unwrap();
    assert_eq!(sandbox.status().await.unwrap(), SandboxStatus::Stopped);
    refused(sandbox.execute("true").await, ErrorKind::Conflict, "stopped");
}

#[tokio::test]
async fn parents_tell_chains_and_branches() {
    let world = world();
    let sandbox = world.sandbox().await;
    let one =
        sandbox.create_snapshot(CreateSnapshot::filesystem().name("one").metadata("a", "b")).await.unwrap();
    let two = sandbox.create_snapshot("two").await.unwrap();
    sandbox.restore_snapshot(&one.id).await.unwrap();
    let branch = sandbox.create_snapshot("branch").await.unwrap();
    assert_eq!((one.parent, two.parent.as_ref()), (None, Some(&one.id)));
    assert_eq!(branch.parent.as_ref(), Some(&one.id));
    let listed = sandbox.list_snapshots().await.unwrap();
    let names: Vec<_> = listed.iter().map(|info| info.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["one", "two", "branch"]);
    assert_eq!(listed[0].metadata["a"], "b");
}

#[tokio::test]
async fn after_the_head_was_deleted_a_snapshot_has_no_parent() {
    let world = world();
    let sandbox = world.sandbox().await;
    let one = sandbox.create_snapshot("one").await.unwrap();
    let two = sandbox.create_snapshot("two").await.unwrap();
    sandbox.delete_snapshot(&two.id).await.unwrap();
    assert_eq!(sandbox.create_snapshot("three").await.unwrap().parent, None);
    assert_eq!(sandbox.list_snapshots().await.unwrap().len(), 2);
    sandbox.restore_snapshot(&one.id).await.unwrap();
    refused(sandbox.delete_snapshot(&two.id).await, ErrorKind::NotFound, "snapshot");
}

#[tokio::test]
async fn restoring_what_is_not_there_kills_nothing() {
    let world = world();
    let sandbox = world.sandbox().await;
    let pid = background(&sandbox, FOREVER).await;
    let one = sandbox.create_snapshot("one").await.unwrap();
    sandbox.delete_snapshot(&one.id).await.unwrap();
    refused(sandbox.restore_snapshot(&one.id).await, ErrorKind::NotFound, "snapshot");
    for id in ["", "..", "../../sandbox.json", "a/b", "nonsense", "\0"] {
        assert!(sandbox.restore_snapshot(&SnapshotId::new(id)).await.is_err());
        assert!(sandbox.delete_snapshot(&SnapshotId::new(id)).await.is_err());
    }
    assert!(is_alive(pid));
    assert_eq!(run(&sandbox, "echo here").await, "here");
}

#[tokio::test]
async fn another_program_continues_the_chain() {
    let world = world();
    let sandbox = world.sandbox().await;
    let one = sandbox.create_snapshot("one").await.unwrap();
    let theirs = Other::start(&world.root()).ask(&format!("snapshot {}", sandbox.id()));
    let listed = sandbox.list_snapshots().await.unwrap();
    assert_eq!((listed[1].id.as_str(), listed[1].parent.as_ref()), (theirs.as_str(), Some(&one.id)));
    assert_eq!(sandbox.create_snapshot("three").await.unwrap().parent.unwrap().as_str(), theirs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_waits_while_a_snapshot_is_taken() {
    let world = world();
    let sandbox = world.sandbox().await;
    run(&sandbox, "head -c 50000000 /dev/urandom > big").await;
    let pid = background(&sandbox, FOREVER).await;
    let taken = {
        let sandbox = sandbox.clone();
        tokio::spawn(async move { sandbox.create_snapshot("one").await })
    };
    eventually("everything stands still", async || is_frozen(pid) || taken.is_finished()).await;
    assert_eq!(run(&sandbox, "echo here").await, "here");
    taken.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_whose_future_is_dropped_leaves_nothing_frozen() {
    let world = world();
    let sandbox = world.sandbox().await;
    run(&sandbox, "head -c 3000000 /dev/urandom > big").await;
    let pid = background(&sandbox, FOREVER).await;
    for micros in (0..12).map(|n| 1 << n) {
        let cut = tokio::time::timeout(Duration::from_micros(micros), sandbox.create_snapshot("cut"));
        drop(cut.await);
        eventually("it goes on", async || sandbox.execute("true").await.is_ok()).await;
        eventually("its processes go on", async || !is_frozen(pid)).await;
    }
    assert!(is_alive(pid));
}

#[test]
fn a_runtime_that_ends_in_the_middle_leaves_nothing_frozen() {
    let world = world();
    for millis in [0, 1, 2, 4, 8, 16] {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (id, pid) = runtime.block_on(async {
            let sandbox = world.client.create(grainchain_core::SandboxConfig::default()).await.unwrap();
            run(&sandbox, "head -c 3000000 /dev/urandom > big").await;
            let pid = background(&sandbox, FOREVER).await;
            let snapshot = {
                let sandbox = sandbox.clone();
                tokio::spawn(async move { sandbox.create_snapshot("cut").await })
            };
            let cut = tokio::time::timeout(Duration::from_millis(millis), snapshot);
            drop(cut.await);
            (sandbox.id().clone(), pid)
        });
        drop(runtime);
        assert!(is_alive(pid) && !is_frozen(pid), "frozen after {millis} ms");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let sandbox = world.client.connect(id).await.unwrap();
            assert_eq!(run(&sandbox, "echo here").await, "here");
            sandbox.close().await.unwrap();
        });
    }
}

#[tokio::test]
async fn what_a_killed_program_left_standing_still_goes_on_for_the_next() {
    let world = world();
    let mut other = Other::start(&world.root());
    let id = other.ask("create-kept");
    let pid: u32 = other
        .ask(&format!("run {id} setsid sleep 100000 >/dev/null 2>&1 </dev/null & echo $!"))
        .parse()
        .unwrap();
    // As if it had been killed while it took a snapshot.
    let pid_of = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid_of, rustix::process::Signal::STOP).unwrap();
    std::fs::write(world.folder(&id).join("still"), "").unwrap();
    other.kill();
    eventually("it is frozen", async || is_frozen(pid)).await;
    let sandbox = world.client.connect(id.clone()).await.unwrap();
    eventually("it goes on", async || !is_frozen(pid)).await;
    assert!(!world.folder(&id).join("still").exists());
    sandbox.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_starts_while_a_snapshot_is_taken_or_restored_waits_and_is_not_refused() {
    let world = world();
    let sandbox = world.sandbox().await;
    run(&sandbox, "i=0; while [ $i -lt 100 ]; do echo $i > file$i; i=$((i+1)); done").await;
    let over = Arc::new(AtomicBool::new(false));
    let starters: Vec<_> = (0..4)
        .map(|_| {
            let (sandbox, over) = (sandbox.clone(), Arc::clone(&over));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    // A restore kills what runs; that it was started is all that counts.
                    sandbox.execute("true").await?;
                    sandbox.spawn("true").await?.wait().await?;
                }
                Ok::<_, grainchain_core::Error>(())
            })
        })
        .collect();
    for _ in 0..15 {
        let snapshot = sandbox.create_snapshot("one").await.unwrap();
        sandbox.restore_snapshot(&snapshot.id).await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    for starter in starters {
        starter.await.unwrap().unwrap();
    }
}
