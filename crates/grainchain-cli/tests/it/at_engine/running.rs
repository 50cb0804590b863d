//! `run`, `exec`, `shell` and `code`.

use std::io::Write;

use rustix::process::Signal;

use super::{Containers, PYTHON, TINY, tests};
use crate::pty::Terminal;

tests![
    output_is_live_and_the_exit_code_is_the_programs at TINY,
    a_run_leaves_no_sandbox_behind at TINY,
    stdout_and_stderr_stay_apart_and_bytes_stay_bytes at TINY,
    our_stdin_reaches_the_program_and_so_does_its_end at TINY,
    a_program_runs_as_the_images_user_in_the_workspace at TINY,
    what_one_command_writes_the_next_one_reads at TINY,
    variables_folder_and_user_are_those_that_were_asked_for at TINY,
    a_program_that_is_not_there_is_told_from_one_that_failed at TINY,
    a_program_whose_time_ran_out_ends_with_124 at TINY,
    a_shell_takes_its_lines_from_stdin at TINY,
    a_terminal_can_be_had_without_having_one at TINY,
    json_holds_what_a_program_wrote at TINY,
    code_runs_where_there_is_its_interpreter at PYTHON,
    code_without_an_interpreter_says_what_is_missing at TINY,
    another_image_can_be_asked_for at PYTHON,
    who_waits_at_a_terminal_sees_how_far_a_build_is at TINY,
];

fn output_is_live_and_the_exit_code_is_the_programs(at: &Containers) {
    let mut running = at.start(["run", "--", "sh", "-c", "echo one; read x; echo two $x; exit 7"]);
    running.wait_for("one\n");
    assert!(!running.text().contains("two"));
    running.stdin().write_all(b"three\n").unwrap();
    running.wait_for("two three\n");
    assert_eq!(running.end().code(), Some(7));
}

fn a_run_leaves_no_sandbox_behind(at: &Containers) {
    at.run(["run", "--", "true"]).succeeded();
    assert!(at.sandboxes().is_empty());
    let mut running = at.start(["run", "--", "sh", "-c", "echo ready; exec sleep 600"]);
    running.wait_for("ready\n");
    assert_eq!(at.sandboxes().len(), 1);
    running.signal(Signal::INT);
    assert_eq!(running.end().code(), Some(130));
    assert!(at.sandboxes().is_empty());
}

fn stdout_and_stderr_stay_apart_and_bytes_stay_bytes(at: &Containers) {
    let ran = at.run(["run", "--", "sh", "-c", r"printf '\377\000\n'; printf '\376' >&2"]).succeeded();
    assert_eq!((&ran.0.stdout[..], &ran.0.stderr[..]), (&b"\xff\0\n"[..], &b"\xfe"[..]));
}

fn our_stdin_reaches_the_program_and_so_does_its_end(at: &Containers) {
    let input: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let ran = at.run_with(["run", "--", "cat"], input.clone()).succeeded();
    assert!(ran.0.stdout == input, "{} bytes came back", ran.0.stdout.len());
    let id = at.sandbox();
    assert_eq!(at.run_with(["exec", &id, "--", "wc", "-c"], "12345").succeeded().stdout().trim(), "5");
}

fn a_program_runs_as_the_images_user_in_the_workspace(at: &Containers) {
    let ran = at.run(["run", "--", "sh", "-c", "id -u; pwd; touch file && echo may write"]).succeeded();
    assert_eq!(ran.stdout(), "1000\n/workspace\nmay write\n");
}

fn what_one_command_writes_the_next_one_reads(at: &Containers) {
    let id = at.sandbox();
    at.sh(&id, "echo kept > file");
    assert_eq!(at.run(["exec", &id[..id.len() - 2], "--", "cat", "file"]).succeeded().stdout(), "kept\n");
}

fn variables_folder_and_user_are_those_that_were_asked_for(at: &Containers) {
    let created = at.run(["create", "-q", "-e", "A=1", "-e", "B=1", "-w", "/tmp"]).succeeded().stdout();
    let id = created.trim();
    assert_eq!(at.sh(id, "echo $A $B $PWD"), "1 1 /tmp\n");
    let asked = ["exec", "-e", "B=2", "-w", "/", "-u", "0", id, "--", "sh", "-c", "echo $A $B $PWD; id -u"];
    assert_eq!(at.run(asked).succeeded().stdout(), "1 2 /\n0\n");
}

fn a_program_that_is_not_there_is_told_from_one_that_failed(at: &Containers) {
    let id = at.sandbox();
    at.run(["exec", &id, "--", "sh", "-c", "exit 3"]).ended(3);
    at.run(["exec", &id, "--", "sh", "-c", "kill -9 $$"]).ended(137);
    let ran = at.run(["exec", &id, "--", "surely-not-there"]).ended(127);
    assert!(ran.stderr().contains("surely-not-there") && ran.stderr().contains("help:"), "{}", ran.stderr());
    let ran = at.run(["exec", &id, "--", "ls -la"]).ended(127);
    assert!(ran.stderr().contains("leave out the quotes"), "{}", ran.stderr());
    at.run(["exec", &id, "--", "/etc/passwd"]).ended(126);
    let ran = at.run(["exec", &id, "-w", "/nowhere", "--", "true"]).ended(125);
    assert!(ran.stderr().contains("/nowhere") && ran.stderr().contains("help:"), "{}", ran.stderr());
}

fn a_program_whose_time_ran_out_ends_with_124(at: &Containers) {
    let ran = at.run(["run", "--timeout", "1", "--", "sleep", "600"]).ended(124);
    assert!(ran.stderr().contains("--timeout none"), "{}", ran.stderr());
    assert!(at.sandboxes().is_empty());
}

fn a_shell_takes_its_lines_from_stdin(at: &Containers) {
    let id = at.sandbox();
    let ran =
        at.run_with(["shell", &id], "echo kept > file; echo $((6 * 7)) to the $(id -u)\nexit 5\n").ended(5);
    assert!(ran.stdout().contains("42 to the 1000"), "{}", ran.stdout());
    assert_eq!(at.sh(&id, "cat file"), "kept\n");
    // The end of our stdin leaves it as Ctrl-D does.
    let ran = at.run_with(["shell", &id, "cat"], "line\n").succeeded();
    assert!(ran.stdout().contains("line"), "{}", ran.stdout());
}

fn a_terminal_can_be_had_without_having_one(at: &Containers) {
    let ran =
        at.run(["run", "-t", "--", "sh", "-c", "test -t 0 && test -t 1 && echo at a terminal"]).succeeded();
    assert_eq!(ran.stdout(), "at a terminal\r\n");
}

fn json_holds_what_a_program_wrote(at: &Containers) {
    let json = at.run(["run", "--json", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]).ended(3).json();
    assert_eq!((&json["stdout"], &json["stderr"]), (&"out\n".into(), &"err\n".into()), "{json}");
}

fn code_runs_where_there_is_its_interpreter(at: &Containers) {
    let id = at.sandbox();
    assert!(at.run(["code", &id, "print(6 * 7)"]).succeeded().stdout().contains("42"));
    let ran = at.run(["code", &id, "1 / 0"]).ended(1);
    assert!(ran.stderr().contains("ZeroDivisionError"), "{}", ran.stderr());
}

fn code_without_an_interpreter_says_what_is_missing(at: &Containers) {
    let id = at.sandbox();
    let ran = at.run(["code", &id, "print(1)"]).ended(125);
    assert!(ran.stderr().contains("python3") && ran.stderr().contains("help:"), "{}", ran.stderr());
}

fn another_image_can_be_asked_for(at: &Containers) {
    at.configure("other.toml", "image = \"localhost:1/never:1\"");
    let line = "import os; print(os.getuid() >= 0)";
    let run =
        |arguments: [&str; 4]| at.run(arguments.into_iter().chain(["--", "python3", "-c", line])).succeeded();
    assert_eq!(run(["run", "--config", "other.toml", &format!("--image={PYTHON}")]).stdout(), "True\n");
    assert_eq!(run(["run", "-q", "--provider", &format!("docker://{PYTHON}")]).stdout(), "True\n");
}

fn who_waits_at_a_terminal_sees_how_far_a_build_is(at: &Containers) {
    // It fails in the end, so that nothing of it stays.
    let line = format!("RUN sleep 3; echo {}; exit 3", at.here().display());
    at.configure("build.toml", &format!("dockerfile = \"FROM {TINY}\\n{line}\\n\""));
    let terminal = Terminal::open(100, 30);
    let mut create = terminal.start(at, &["create", "--config", "build.toml"]);
    create.screen.wait_for("creating a sandbox: ");
    create.screen.wait_for("RUN sleep 3");
    assert!(!create.screen.text().contains("error:"), "{}", create.screen.text());
    create.screen.wait_for("error:");
    assert_eq!(create.end(), Some(1));
    let quiet = at.run(["create", "--config", "build.toml"]).ended(1).stderr();
    assert!(!quiet.contains("creating a sandbox"), "{quiet}");
}
