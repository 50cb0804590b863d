//! `pause`, `resume`, `terminate`, `wake-up`, `fork` and `snapshot`.

use super::{Containers, TINY, tests};

tests![
    a_paused_sandbox_says_so_until_it_is_resumed at TINY,
    who_asks_for_what_is_so_already_has_it at TINY,
    a_terminated_sandbox_keeps_its_files_and_runs_nothing_until_it_is_woken_up at TINY,
    a_terminated_sandbox_says_how_to_go_on_and_can_be_killed at TINY,
    forks_are_copies_that_go_their_own_way at TINY,
    a_snapshot_brings_files_back_also_by_its_name at TINY,
    snapshots_that_are_not_there_and_that_nobody_has_are_refused at TINY,
];

/// Its status, as `info` says it.
fn status(at: &Containers, id: &str) -> String {
    at.run(["info", "--json", id]).succeeded().json()["status"].as_str().unwrap().to_owned()
}

fn a_paused_sandbox_says_so_until_it_is_resumed(at: &Containers) {
    let id = at.sandbox();
    assert_eq!(at.run(["pause", &id]).succeeded().stdout(), "");
    assert_eq!(status(at, &id), "paused");
    let ran = at.run(["exec", &id, "--", "true"]).ended(125);
    assert!(ran.stderr().contains("paused") && ran.stderr().contains("help: resume it"), "{}", ran.stderr());
    assert_eq!(at.run(["resume", "--json", &id]).succeeded().json()["status"], "running");
    at.run(["exec", &id, "--", "true"]).succeeded();
}

fn who_asks_for_what_is_so_already_has_it(at: &Containers) {
    let id = at.sandbox();
    for (command, then) in
        [("resume", "running"), ("wake-up", "running"), ("pause", "paused"), ("terminate", "stopped")]
    {
        at.run([command, &id]).succeeded();
        at.run([command, &id]).succeeded();
        assert_eq!(status(at, &id), then, "{command}");
    }
}

fn a_terminated_sandbox_keeps_its_files_and_runs_nothing_until_it_is_woken_up(at: &Containers) {
    let id = at.sandbox();
    at.sh(&id, "echo kept > file; sleep 600 > /dev/null 2>&1 &");
    assert_eq!(at.run(["terminate", "--json", &id]).succeeded().json()["status"], "stopped");
    assert_eq!(at.sandboxes(), [id.as_str()]);
    assert_eq!(at.run(["wake-up", "--json", &id]).succeeded().json()["status"], "running");
    assert_eq!(at.sh(&id, "cat file; ps | grep -c '[s]leep 600' || true"), "kept\n0\n");
}

fn a_terminated_sandbox_says_how_to_go_on_and_can_be_killed(at: &Containers) {
    let id = at.sandbox();
    at.run(["terminate", &id]).succeeded();
    for (arguments, code) in [
        (&["exec", &id, "--", "true"][..], 125),
        (&["shell", &id], 125),
        (&["files", "ls", &id], 1),
        (&["pause", &id], 1),
        (&["resume", &id], 1),
        (&["fork", &id], 1),
        (&["snapshot", "create", &id], 1),
    ] {
        let said = at.run(arguments).ended(code).stderr();
        assert!(said.contains("stopped") && said.contains("help: wake it up"), "{arguments:?}: {said}");
    }
    at.run(["kill", &id]).succeeded();
    assert!(at.sandboxes().is_empty());
}

fn forks_are_copies_that_go_their_own_way(at: &Containers) {
    let id = at.sandbox();
    at.sh(&id, "echo first > file");
    let copies = at.run(["fork", "--count", "2", &id]).succeeded().stdout();
    let copies: Vec<_> = copies.lines().collect();
    assert_eq!(copies.len(), 2);
    at.sh(copies[0], "echo second > file");
    for other in [&id, copies[1]] {
        assert_eq!(at.sh(other, "cat file"), "first\n", "{other}");
    }
    at.run(["kill", &id]).succeeded();
    assert_eq!(at.sh(copies[0], "cat file"), "second\n");
    assert_eq!(at.sandboxes().len(), 2);
}

fn a_snapshot_brings_files_back_also_by_its_name(at: &Containers) {
    let id = at.sandbox();
    at.sh(&id, "echo first > file");
    let first = at.run(["snapshot", "create", &id, "--name", "clean"]).succeeded().stdout();
    let first = first.trim();
    for reference in [first, &first[..first.len() - 3], "clean"] {
        at.sh(&id, "echo second > file; echo x > other");
        at.run(["snapshot", "restore", &id, reference]).succeeded();
        assert_eq!(at.sh(&id, "cat file; ls"), "first\nfile\n", "{reference}");
    }
    let words = at.run(["snapshot", "list", &id]).succeeded().stdout();
    assert!(words.contains(first) && words.contains("clean") && words.contains("filesystem"), "{words}");
    assert_eq!(at.run(["snapshot", "rm", &id, "clean"]).succeeded().stdout().trim(), first);
    let ran = at.run(["snapshot", "list", &id]).succeeded();
    assert_eq!(ran.stdout(), "");
    assert!(ran.stderr().contains("grainchain snapshot create"), "{}", ran.stderr());
}

fn snapshots_that_are_not_there_and_that_nobody_has_are_refused(at: &Containers) {
    let id = at.sandbox();
    let ran = at.run(["snapshot", "restore", &id, "nowhere"]).ended(1);
    let remedy = format!("grainchain snapshot list {id}");
    assert!(ran.stderr().contains("`nowhere`") && ran.stderr().contains(&remedy), "{}", ran.stderr());
    let ran = at.run(["snapshot", "create", "--memory", &id]).ended(1);
    assert!(ran.stderr().contains("help: use a filesystem snapshot"), "{}", ran.stderr());
}
