//! What killed programs leave behind, and what gc must not touch.

use std::fmt;
use std::fs;
use std::sync::{Arc, Mutex};

use grainchain_core::layer::{Around, Attempt, Call};
use grainchain_core::{
    Client, ErrorKind, GcAction, GcOptions, Operation, Removal, RemoveIf, Result, SandboxConfig, SandboxId,
};

use crate::other::Other;
use crate::world::{FOREVER, World, background, eventually, is_alive, run, world};

#[tokio::test]
async fn gc_finds_what_a_killed_program_left_with_its_processes() {
    let world = world();
    let mut other = Other::start(&world.root());
    let id = other.ask("create");
    let pid = other.ask(&format!(
        "run {id} setsid sh -c 'echo $$ > pid.new; mv pid.new pid; trap \"\" TERM HUP; while :; do sleep 1; done' >/dev/null 2>&1 </dev/null & while ! [ -e pid ]; do :; done; cat pid"
    ));
    let pid: u32 = pid.parse().unwrap();
    assert_eq!(world.info(&id).await.lease.unwrap().held, Some(true));
    assert!(world.client.gc(GcOptions::default()).await.unwrap().entries.is_empty());
    other.kill();
    assert!(is_alive(pid), "it survives its client");
    assert_eq!(world.info(&id).await.lease.unwrap().held, Some(false));

    let dry = world.client.gc(GcOptions::default().dry_run()).await.unwrap();
    assert_eq!(dry.entries.len(), 1);
    assert_eq!(
        (dry.entries[0].sandbox.id.as_str(), &dry.entries[0].action),
        (id.as_str(), &GcAction::WouldRemove)
    );
    assert!(is_alive(pid) && world.folder(&id).exists(), "a dry run does nothing");

    let report = world.client.gc(GcOptions::default()).await.unwrap();
    assert_eq!(report.entries[0].action, GcAction::Removed);
    assert!(report.entries[0].reason.contains("gone"), "{}", report.entries[0].reason);
    assert!(!is_alive(pid));
    assert!(!world.folder(&id).exists());
    assert!(world.limbo().is_empty());
}

#[tokio::test]
async fn what_living_clients_hold_and_what_is_kept_stays() {
    let world = world();
    let mine = world.sandbox().await;
    let mut living = Other::start(&world.root());
    let theirs = living.ask("create");
    let mut killed = Other::start(&world.root());
    let kept = killed.ask("create-kept");
    let left = killed.ask("create");
    killed.kill();
    let report = world.client.gc(GcOptions::default()).await.unwrap();
    assert_eq!(report.entries.len(), 1, "{report:?}");
    assert_eq!((report.entries[0].sandbox.id.as_str(), report.kept), (left.as_str(), 3));
    assert_eq!(run(&mine, "echo here").await, "here");
    assert_eq!(living.ask(&format!("run {theirs} echo here")), "here");
    let again = world.client.connect(kept).await.unwrap();
    assert_eq!(run(&again, "echo here").await, "here");
}

#[tokio::test]
async fn whoever_connects_keeps_it_from_gc() {
    let world = world();
    let mut maker = Other::start(&world.root());
    let id = maker.ask("create");
    let sandbox = world.client.connect(id.clone()).await.unwrap();
    maker.kill();
    assert_eq!(Other::start(&world.root()).ask("gc"), "0");
    assert_eq!(run(&sandbox, "echo here").await, "here");
}

/// Does something as soon as a list is there, before whoever has asked for it sees it.
#[derive(Clone)]
struct AfterTheList(Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for AfterTheList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AfterTheList")
    }
}

impl Around for AfterTheList {
    const REPEATS: bool = false;

    async fn around<'a, T: Send + 'a>(&'a self, call: Call<'a>, mut attempt: Attempt<'a, T>) -> Result<T> {
        let answer = attempt().expect("the first attempt").await;
        if call.operation == Operation::List {
            (self.0)();
        }
        answer
    }
}

/// A client whose lists are out of date by what `act` does.
fn outdated(client: &Client, act: impl Fn() + Send + Sync + 'static) -> Client {
    client.clone().layer(AfterTheList(Arc::new(act)))
}

/// The id of a sandbox whose only client has been killed.
fn left_behind(world: &World) -> String {
    let mut killed = Other::start(&world.root());
    let id = killed.ask("create");
    killed.ask(&format!("run {id} echo precious > file"));
    killed.kill();
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_between_the_list_of_gc_and_the_removal_keeps_the_sandbox() {
    let world = world();
    let id = left_behind(&world);
    let other = Arc::new(Mutex::new(Other::start(&world.root())));
    let (connecting, wanted) = (Arc::clone(&other), id.clone());
    let client = outdated(&world.client, move || {
        connecting.lock().unwrap().ask(&format!("connect {wanted}"));
    });
    let report = client.gc(GcOptions::default()).await.unwrap();
    assert_eq!((report.entries.len(), report.kept), (0, 1), "{report:?}");
    assert_eq!(other.lock().unwrap().ask(&format!("run {id} cat file")), "precious");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_in_the_same_program_keeps_the_sandbox_from_gc() {
    let world = world();
    let id = left_behind(&world);
    let (connecting, wanted) = (world.client.clone(), id.clone());
    let runtime = tokio::runtime::Handle::current();
    let client = outdated(&world.client, move || {
        tokio::task::block_in_place(|| runtime.block_on(connecting.connect(wanted.clone()))).unwrap();
    });
    let report = client.gc(GcOptions::default()).await.unwrap();
    assert_eq!((report.entries.len(), report.kept), (0, 1), "{report:?}");
    let sandbox = world.client.connect(id).await.unwrap();
    assert_eq!(run(&sandbox, "cat file").await, "precious");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_lifetime_is_prolonged_between_the_list_of_gc_and_the_removal_stays() {
    let world = world();
    let mut killed = Other::start(&world.root());
    let id = killed.ask("create");
    killed.ask(&format!("lifetime {id} 1"));
    killed.kill();
    eventually("its time is over", async || {
        world.info(&id).await.expires_at.unwrap() < std::time::SystemTime::now()
    })
    .await;
    let state = world.folder(&id).join("sandbox.json");
    let client = outdated(&world.client, move || {
        let mut told: serde_json::Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
        told["expires_ms"] = serde_json::Value::Null;
        fs::write(&state, told.to_string()).unwrap();
    });
    let report = client.gc(GcOptions::default()).await.unwrap();
    assert_eq!((report.entries.len(), report.kept), (0, 1), "{report:?}");
    assert_eq!(world.ids().await, [id]);
}

#[tokio::test]
async fn nothing_is_killed_for_a_sandbox_that_is_kept() {
    let world = world();
    let sandbox = world.sandbox().await;
    let pid = background(&sandbox, FOREVER).await;
    // Another program is changing it at this moment.
    let lock = fs::File::create(world.folder(sandbox.id().as_str()).join("lock")).unwrap();
    lock.lock().unwrap();
    for client in [&world.client, &world.second_client()] {
        for condition in [RemoveIf::Abandoned, RemoveIf::Expired, RemoveIf::Broken] {
            let removal = client.remove_if(sandbox.id(), condition).await.unwrap();
            assert_eq!(removal, Removal::Kept, "{condition:?}");
        }
    }
    assert!(is_alive(pid));
    drop(lock);
    assert_eq!(run(&sandbox, "echo here").await, "here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_client_and_a_gc_at_the_same_moment_one_wins_and_knows_it() {
    let world = world();
    let mut other = Other::start(&world.root());
    for _ in 0..40 {
        let maker = world.second_client();
        let id = maker.create(SandboxConfig::default()).await.unwrap().id().clone();
        drop(maker);
        eventually("the lease is given up", async || {
            world.info(id.as_str()).await.lease.unwrap().held == Some(false)
        })
        .await;
        other.tell("gc");
        let connected = world.second_client();
        match connected.connect(id.clone()).await {
            Ok(sandbox) => {
                other.answer().unwrap();
                assert_eq!(run(&sandbox, "echo here").await, "here");
                sandbox.close().await.unwrap();
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");
                other.answer().unwrap();
            }
        }
        let left = world.client.remove(&id).await.map_err(|error| error.kind());
        assert_eq!(left, Err(ErrorKind::NotFound));
    }
}

#[tokio::test]
async fn a_removal_on_a_condition_of_what_is_not_there_says_so() {
    let world = world();
    world.sandbox().await;
    for condition in [RemoveIf::Abandoned, RemoveIf::Expired, RemoveIf::Broken] {
        let error = world.client.remove_if(&SandboxId::new("nowhere"), condition).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{condition:?}: {error:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gc_never_takes_a_fresh_sandbox_for_left_behind() {
    let world = world();
    let mut other = Other::start(&world.root());
    other.tell("churn 100");
    let (told, mut done) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || told.send(other.answer()).unwrap());
    let answer = loop {
        let report = world.client.gc(GcOptions::default()).await.unwrap();
        // What is being closed may be listed a moment before it is gone; nothing else may be.
        for entry in &report.entries {
            assert_ne!(entry.action, GcAction::Removed, "{entry:?}");
        }
        if let Ok(answer) = done.try_recv() {
            break answer;
        }
    };
    answer.unwrap();
    assert!(world.limbo().is_empty(), "{:?}", world.limbo());
}

#[tokio::test]
async fn half_sandboxes_of_killed_programs_are_swept_and_strangers_are_not() {
    let world = world();
    world.sandbox().await;
    let limbo = world.root().join("limbo");
    fs::create_dir_all(limbo.join("new_abc/workspace/deep")).unwrap();
    fs::create_dir_all(limbo.join("gone_sb_abc/workspace")).unwrap();
    fs::write(limbo.join("gone_sb_abc/workspace/file"), "").unwrap();
    fs::create_dir_all(limbo.join("mine")).unwrap();
    let dry = world.client.gc(GcOptions::default().dry_run()).await.unwrap();
    assert_eq!(dry.swept.len(), 2, "{dry:?}");
    assert_eq!(world.limbo().len(), 3);
    let report = world.client.gc(GcOptions::default()).await.unwrap();
    assert_eq!(report.swept.len(), 2, "{report:?}");
    assert_eq!(world.limbo(), ["mine"]);
}

#[tokio::test]
async fn a_draft_that_somebody_holds_is_not_swept() {
    let world = world();
    world.sandbox().await;
    let draft = world.root().join("limbo/new_abc");
    fs::create_dir_all(&draft).unwrap();
    let lease = fs::File::create(draft.join("lease")).unwrap();
    lease.lock_shared().unwrap();
    assert!(world.client.gc(GcOptions::default()).await.unwrap().swept.is_empty());
    assert!(draft.exists());
    drop(lease);
    // A child that is just being started by another test shares the lock until it is its own program.
    eventually("it is swept", async || world.client.gc(GcOptions::default()).await.unwrap().swept.len() == 1)
        .await;
    assert!(!draft.exists());
}

#[tokio::test]
async fn an_interrupted_removal_is_finished_with_its_processes() {
    let world = world();
    let mut other = Other::start(&world.root());
    let id = other.ask("create");
    let sandbox = world.client.connect(id.clone()).await.unwrap();
    let pid = background(&sandbox, FOREVER).await;
    // As if the program had been killed after it had moved the folder away.
    other.kill();
    fs::rename(world.folder(&id), world.root().join(format!("limbo/gone_{id}"))).unwrap();
    drop(sandbox);
    let third = world.second_client();
    // The client that still holds it notices with its next call and lets go.
    assert!(world.client.connect(id).await.is_err());
    eventually("what is left is swept", async || {
        third.gc(GcOptions::default()).await.unwrap();
        world.limbo().is_empty()
    })
    .await;
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn commands_inherit_neither_lease_nor_locks() {
    let world = world();
    let sandbox = world.sandbox().await;
    let open = run(&sandbox, "ls -l /proc/$$/fd").await;
    assert!(!open.contains("lease") && !open.contains("lock") && !open.contains("sandbox.json"), "{open}");
    let pid = background(&sandbox, FOREVER).await;
    sandbox.create_snapshot("one").await.unwrap();
    let held: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap())
        .filter(|target| target.starts_with(world.root()))
        .collect();
    assert!(held.is_empty(), "{held:?}");
}

#[tokio::test]
async fn a_sandbox_without_auto_cleanup_outlives_its_client() {
    let world = world();
    let id = {
        let mut config = SandboxConfig::default();
        config.auto_cleanup = false;
        world.second_client().create(config).await.unwrap().id().clone()
    };
    eventually("the lease is given up", async || {
        world.info(id.as_str()).await.lease.unwrap().held == Some(false)
    })
    .await;
    assert!(world.client.gc(GcOptions::default()).await.unwrap().entries.is_empty());
    assert!(world.info(id.as_str()).await.keep_alive);
}
