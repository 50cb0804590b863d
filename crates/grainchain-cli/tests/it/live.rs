//! Streams: live, apart, as bytes, with backpressure and half-close.

use std::io::{Read, Write};
use std::process::Stdio;

use crate::world::{World, eventually, lives, unique_sleep};

#[test]
fn output_arrives_while_the_command_runs() {
    let world = World::new();
    let mut running = world.start(["run", "--", "sh", "-c", "echo one; read x; echo two $x"]);
    running.wait_for("one\n");
    assert!(!running.text().contains("two"));
    running.stdin().write_all(b"three\n").unwrap();
    running.wait_for("two three\n");
    assert!(running.end().success());
}

#[test]
fn a_prompt_without_a_line_end_is_not_held_back() {
    let world = World::new();
    let mut running = world.start(["run", "--", "sh", "-c", "printf 'name: '; read x; printf 'hello %s' $x"]);
    running.wait_for("name: ");
    running.stdin().write_all(b"you\n").unwrap();
    running.wait_for("hello you");
    assert!(running.end().success());
}

#[test]
fn stdout_and_stderr_stay_apart_and_bytes_stay_bytes() {
    let world = World::new();
    let ran = world
        .run(["run", "--quiet", "--", "sh", "-c", r"printf '\377\000\n'; printf '\376' >&2"])
        .succeeded();
    assert_eq!(ran.0.stdout, b"\xff\0\n");
    assert_eq!(ran.0.stderr, b"\xfe");
}

#[test]
fn the_end_of_our_stdin_reaches_the_command() {
    let world = World::new();
    let input: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let ran = world.run_with(["run", "--", "cat"], input.clone()).succeeded();
    assert!(ran.0.stdout == input, "{} bytes came back", ran.0.stdout.len());
    let id = world.sandbox();
    assert_eq!(world.run_with(["exec", &id, "--", "wc", "-c"], "12345").succeeded().stdout().trim(), "5");
}

#[test]
fn half_close_keeps_the_output_open() {
    let world = World::new();
    let mut running = world.start(["run", "--", "sh", "-c", "cat >/dev/null; echo after the end"]);
    running.close_stdin();
    running.wait_for("after the end");
    assert!(running.end().success());
}

#[test]
fn json_leaves_nothing_but_json_on_stderr() {
    let world = World::new();
    // Nothing is configured, so a note says where commands run.
    let ran = world.run(["run", "--json", "--timeout", "1", "--", "sleep", "60"]).ended(124);
    assert_eq!(ran.error()["kind"], "timeout");
    assert!(ran.stderr().contains("\"note\""), "{}", ran.stderr());
    let ran = world.run(["run", "--json", "--no-such-option"]).ended(2);
    assert!(
        ran.error()["message"].as_str().is_some_and(|text| text.contains("--no-such-option")),
        "{}",
        ran.stderr()
    );
    let ran = world.run(["run", "--", "--json"]).ended(127);
    assert!(ran.stderr().contains("error:"), "{}", ran.stderr());
}

#[test]
fn json_takes_stdin_too() {
    let world = World::new();
    let ran = world.run_with(["run", "--json", "--", "tr", "a-z", "A-Z"], "shout").succeeded();
    assert_eq!(ran.json()["stdout"], "SHOUT");
}

#[test]
fn a_command_that_reads_no_input_is_no_fault() {
    let world = World::new();
    world.run_with(["run", "--", "true"], vec![b'x'; 1 << 20]).succeeded();
    let ran = world.run_with(["run", "--", "head", "-c", "3"], vec![b'x'; 1 << 20]).succeeded();
    assert_eq!(ran.stdout(), "xxx");
}

#[test]
fn a_command_does_not_wait_for_stdin_that_stays_open() {
    let world = World::new();
    let mut running = world.start(["run", "--", "true"]);
    assert!(running.end().success());
}

#[test]
fn nobody_waits_for_children_that_hold_the_output_open() {
    let world = World::new();
    let sleep = unique_sleep();
    let ran = world.run(["run", "--", "sh", "-c", &format!("sleep {sleep} & echo done")]).succeeded();
    assert_eq!(ran.stdout(), "done\n");
    eventually("the end of the child", || !lives(&sleep));
}

#[test]
fn much_output_arrives_whole() {
    let world = World::new();
    let ran = world.run(["run", "--", "sh", "-c", "head -c 5000000 /dev/zero"]).succeeded();
    assert_eq!(ran.0.stdout.len(), 5_000_000);
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let world = World::new();
    let mut child = world
        .command()
        .args(["run", "--quiet", "--", "yes"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 100]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(world.sandboxes().is_empty());
}

#[test]
fn a_list_whose_reader_goes_away_ends_quietly() {
    let world = World::new();
    let mut child = world
        .command()
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(141), 0));
}
