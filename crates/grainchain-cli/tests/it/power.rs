//! `pause`, `resume`, `terminate`, `wake-up`, `fork` and `snapshot`.

use crate::world::{World, eventually, lives, unique_sleep};

#[test]
fn a_paused_sandbox_says_so_until_it_is_resumed() {
    let world = World::new();
    let id = world.sandbox();
    let status = || world.run(["info", "--json", &id]).succeeded().json()["status"].clone();
    world.run(["pause", &id]).succeeded();
    assert_eq!(status(), "paused");
    world.run(["resume", &id]).succeeded();
    assert_eq!(status(), "running");
}

#[test]
fn a_terminated_sandbox_keeps_its_files_and_runs_nothing_until_it_is_woken_up() {
    let world = World::new();
    let id = world.sandbox();
    let sleep = unique_sleep();
    let line = format!("echo kept > file; sleep {sleep} > /dev/null 2>&1 &");
    world.run(["exec", &id, "--", "sh", "-c", &line]).succeeded();
    // The shell may have ended before its child became `sleep`.
    eventually("the beginning of what runs", || lives(&sleep));
    assert_eq!(world.run(["terminate", "--json", &id]).succeeded().json()["status"], "stopped");
    eventually("the end of what ran", || !lives(&sleep));
    let ran = world.run(["exec", &id, "--", "true"]).ended(125);
    assert!(ran.stderr().contains("wake it up"), "{}", ran.stderr());
    assert_eq!(world.run(["wake-up", "--json", &id]).succeeded().json()["status"], "running");
    assert_eq!(world.run(["exec", &id, "--", "cat", "file"]).succeeded().stdout(), "kept\n");
    // For people, success has nothing to say.
    assert_eq!(world.run(["terminate", &id]).succeeded().stdout(), "");
    assert_eq!(world.run(["wake-up", &id]).succeeded().stdout(), "");
}

#[test]
fn forks_are_copies_that_go_their_own_way() {
    let world = World::new();
    let id = world.run(["create", "-q", "--label", "a=b"]).succeeded().stdout();
    let id = id.trim();
    world.run_with(["files", "write", &format!("{id}:file")], "first").succeeded();
    let copies = world.run(["fork", "--count", "2", id]).succeeded().stdout();
    let copies: Vec<_> = copies.lines().collect();
    assert_eq!(copies.len(), 2);
    world.run_with(["files", "write", &format!("{}:file", copies[0])], "second").succeeded();
    for other in [id, copies[1]] {
        let read = world.run(["files", "cat", &format!("{other}:file")]).succeeded();
        assert_eq!(read.stdout(), "first", "{other}");
    }
    let json = world.run(["fork", "--json", id]).succeeded().json();
    assert_eq!((json.as_array().unwrap().len(), &json[0]["metadata"]["a"]), (1, &"b".into()));
    assert_eq!(world.sandboxes().len(), 4);
}

#[test]
fn no_copies_and_copies_that_would_vanish_are_refused() {
    let world = World::new();
    let id = world.sandbox();
    let ran = world.run(["fork", "-n", "0", &id]).ended(1);
    assert!(ran.stderr().contains("help:"), "{}", ran.stderr());
    let mut other = world.start(["run", "-i", "--", "sh", "-c", "echo ready; cat"]);
    other.wait_for("ready");
    let passing = world.sandboxes().into_iter().find(|listed| *listed != id).unwrap();
    let ran = world.run(["fork", &passing]).ended(1);
    assert!(ran.stderr().contains("grainchain create"), "{}", ran.stderr());
    assert_eq!(world.sandboxes().len(), 2);
    other.close_stdin();
    other.end();
}

#[test]
fn a_snapshot_brings_files_back_also_by_its_name() {
    let world = World::new();
    let id = world.sandbox();
    let file = format!("{id}:file");
    world.run_with(["files", "write", &file], "first").succeeded();
    let first = world.run(["snapshot", "create", &id, "--name", "clean"]).succeeded().stdout();
    let first = first.trim();
    for reference in [first, &first[..first.len() - 3], "clean"] {
        world.run_with(["files", "write", &file], "second").succeeded();
        world.run(["snapshot", "restore", &id, reference]).succeeded();
        assert_eq!(world.run(["files", "cat", &file]).succeeded().stdout(), "first", "{reference}");
    }
    let words = world.run(["snapshot", "list", &id]).succeeded().stdout();
    assert!(words.contains("clean") && words.contains(first), "{words}");
    let json = world.run(["snapshot", "list", "--json", &id]).succeeded().json();
    assert_eq!(json[0]["name"], "clean");
    world.run(["snapshot", "rm", &id, first]).succeeded();
    assert_eq!(world.run(["snapshot", "list", "--json", &id]).succeeded().stdout(), "[]\n");
}

#[test]
fn an_ambiguous_or_missing_snapshot_is_refused() {
    let world = World::new();
    let id = world.sandbox();
    for _ in 0..2 {
        world.run(["snapshot", "create", &id, "--name", "twice"]).succeeded();
    }
    world.run(["snapshot", "rm", &id, "twice"]).ended(1);
    world.run(["snapshot", "rm", &id, ""]).ended(1);
    let ran = world.run(["snapshot", "restore", &id, "nope"]).ended(1);
    assert!(ran.stderr().contains("nope") && ran.stderr().contains("snapshot list"), "{}", ran.stderr());
    assert_eq!(world.run(["snapshot", "list", "-q", &id]).succeeded().stdout().lines().count(), 2);
}

#[test]
fn what_a_provider_lacks_is_refused_with_an_alternative() {
    let world = World::new();
    let id = world.sandbox();
    let ran = world.run(["snapshot", "create", &id, "--memory"]).ended(1);
    assert!(ran.stderr().contains("help:"), "{}", ran.stderr());
}
