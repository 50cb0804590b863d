//! `pause`, `resume` and `snapshot`.

use crate::world::World;

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
