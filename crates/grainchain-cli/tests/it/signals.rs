//! Ctrl-C, and those who want us gone.

use std::io::Read;
use std::process::Stdio;

use rustix::process::Signal;

use crate::world::{Watch, World, eventually, lives, signal_child, unique_sleep};

#[test]
fn the_first_interrupt_goes_to_the_command() {
    let world = World::new();
    let script = "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.05; done";
    let mut running = world.start(["run", "--", "sh", "-c", script]);
    running.wait_for("ready");
    running.signal(Signal::INT);
    running.wait_for("caught");
    assert_eq!(running.end().code(), Some(3));
    assert!(world.sandboxes().is_empty());
}

#[test]
fn a_command_that_an_interrupt_ends_gives_130() {
    let world = World::new();
    let mut running = world.start(["run", "--", "sh", "-c", "echo ready; exec sleep 5000"]);
    running.wait_for("ready");
    running.signal(Signal::INT);
    assert_eq!(running.end().code(), Some(130));
}

#[test]
fn the_second_interrupt_kills_a_command_that_outlived_the_first() {
    let world = World::new();
    let sleep = unique_sleep();
    let script =
        format!("setsid sleep {sleep} & trap 'echo caught' INT; echo ready; while :; do sleep 0.05; done");
    let mut running = world.start(["run", "--", "sh", "-c", &script]);
    running.wait_for("ready");
    eventually("the child that got away", || lives(&sleep));
    running.signal(Signal::INT);
    running.wait_for("caught");
    running.signal(Signal::INT);
    assert_eq!(running.end().code(), Some(130));
    eventually("the end of the tree", || !lives(&sleep));
    assert!(world.sandboxes().is_empty());
}

#[test]
fn whoever_ends_us_ends_the_sandbox_of_a_run() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131)] {
        let world = World::new();
        let sleep = unique_sleep();
        let mut running = world.start([
            "run",
            "--",
            "sh",
            "-c",
            &format!("trap '' TERM HUP QUIT; echo ready; sleep {sleep}"),
        ]);
        running.wait_for("ready");
        running.signal(signal);
        assert_eq!(running.end().code(), Some(code));
        eventually("the end of the tree", || !lives(&sleep));
        assert!(world.sandboxes().is_empty());
    }
}

#[test]
fn whoever_ends_us_ends_the_command_of_an_exec_but_not_its_sandbox() {
    let world = World::new();
    let (id, sleep) = (world.sandbox(), unique_sleep());
    let mut running = world.start(["exec", &id, "--", "sh", "-c", &format!("echo ready; sleep {sleep}")]);
    running.wait_for("ready");
    running.signal(Signal::TERM);
    assert_eq!(running.end().code(), Some(143));
    eventually("the end of the tree", || !lives(&sleep));
    assert_eq!(world.sandboxes(), [id]);
}

#[test]
fn a_reader_that_stands_still_does_not_keep_us_when_we_are_told_to_end() {
    let world = World::new();
    let mut command = world.command();
    command.args(["run", "--quiet", "--", "sh", "-c", "echo ready >&2; yes"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let unread = child.stdout.take().unwrap();
    let mut watch = Watch::new([Box::new(child.stderr.take().unwrap()) as Box<dyn Read + Send>]);
    watch.wait_for("ready");
    signal_child(&child, Signal::TERM);
    let status = std::cell::Cell::new(None);
    let child = std::cell::RefCell::new(child);
    eventually("its end", || {
        status.set(child.borrow_mut().try_wait().unwrap());
        status.get().is_some()
    });
    drop(unread);
    assert_eq!(status.get().and_then(|status| status.code()), Some(143));
    assert!(world.sandboxes().is_empty());
}

#[test]
fn a_run_that_answers_in_json_is_closed_as_well() {
    let world = World::new();
    let sleep = unique_sleep();
    let mut running = world.start(["run", "--json", "--", "sleep", &sleep]);
    running.close_stdin();
    eventually("the sleep", || lives(&sleep));
    running.signal(Signal::TERM);
    assert_eq!(running.end().code(), Some(143));
    eventually("the end of the tree", || !lives(&sleep));
    assert!(world.sandboxes().is_empty());
}

#[test]
fn a_killed_client_leaves_what_gc_removes() {
    let world = World::new();
    let mut running = world.start(["run", "--", "sh", "-c", "echo ready; sleep 5000"]);
    running.wait_for("ready");
    running.signal(Signal::KILL);
    running.end();
    // Looking must not turn into holding: a moment later its provider may be done with it.
    if let [id] = world.sandboxes().as_slice() {
        let words = world.run(["info", id]).stdout();
        assert!(!words.contains("(alive)"), "{words}");
    }
    let dry = world.run(["gc", "--dry-run", "--json"]).succeeded().json();
    let entries = dry["entries"].as_array().unwrap();
    // The provider may have cleaned up by itself in this moment; if not, it is named and goes.
    if let [entry] = entries.as_slice() {
        assert_eq!(entry["action"], "would_remove");
        world.run(["gc"]).succeeded();
    }
    eventually("an empty list", || world.sandboxes().is_empty());
}
