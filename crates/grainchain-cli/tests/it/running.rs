//! `run` and `exec`: exit codes, environment, JSON.

use crate::world::World;

#[test]
fn the_exit_code_is_that_of_the_command() {
    let world = World::new();
    for code in [0, 1, 7, 124, 255] {
        world.run(["run", "--", "sh", "-c", &format!("exit {code}")]).ended(code);
    }
    let id = world.sandbox();
    world.run(["exec", &id, "--", "sh", "-c", "exit 9"]).ended(9);
}

#[test]
fn a_command_that_a_signal_ended_ends_with_128_and_the_signal() {
    let world = World::new();
    world.run(["run", "--", "sh", "-c", "kill -TERM $$"]).ended(143);
    let id = world.sandbox();
    world.run(["exec", &id, "--", "sh", "-c", "kill -9 $$"]).ended(137);
}

#[test]
fn a_missing_program_is_127_and_one_that_cannot_be_executed_126() {
    let world = World::new();
    let ran = world.run(["run", "--", "surely-no-such-program"]).ended(127);
    assert!(ran.stderr().contains("surely-no-such-program"), "{}", ran.stderr());
    world.run(["run", "--", "/etc/passwd"]).ended(126);
}

#[test]
fn our_own_failures_are_125() {
    let world = World::new();
    world.run(["run", "--provider", "nowhere", "--", "true"]).ended(125);
    world.run(["exec", "nosuchsandbox", "--", "true"]).ended(125);
    world.run(["run", "--image", "python:3.12", "--", "true"]).ended(125);
}

#[test]
fn a_missing_working_directory_is_not_a_missing_program() {
    let world = World::new();
    let id = world.sandbox();
    world.run(["exec", &id, "--workdir", "nowhere", "--", "true"]).ended(125);
}

#[test]
fn wrong_usage_is_2() {
    let world = World::new();
    world.run(["run", "--no-such-option", "--", "true"]).ended(2);
    world.run(["run", "--env", "SURELY_NOT_SET", "--", "true"]).ended(2);
    world.run(["run"]).ended(2);
    world.run(["run", "--timeout", "0", "--", "true"]).ended(2);
}

#[test]
fn arguments_are_passed_on_exactly() {
    let world = World::new();
    let odd = ["$HOME", "a b", "", "*", "--json", "-v", "'\"\\", "naïve\n"];
    let ran = world.run(["run", "printf", "<%s>"].into_iter().chain(odd)).succeeded();
    let expected: String = odd.iter().map(|argument| format!("<{argument}>")).collect();
    assert_eq!(ran.stdout(), expected);
}

#[test]
fn variables_are_set_or_passed_through() {
    let world = World::new();
    let mut command = world.command();
    command.env("OURS", "from here").args(["run", "-e", "A=b=c", "-e", "OURS", "--", "sh", "-c"]);
    let output = command.arg("echo \"$A/$OURS/$GRAINCHAIN_LOCAL_ROOT\"").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "b=c/from here/\n");
    let id = world.sandbox();
    let ran = world.run(["exec", &id, "-e", "A=1", "--", "sh", "-c", "echo $A"]).succeeded();
    assert_eq!(ran.stdout(), "1\n");
}

#[test]
fn a_run_leaves_no_sandbox_behind_however_it_ends() {
    let world = World::new();
    world.run(["run", "--", "true"]).succeeded();
    world.run(["run", "--", "false"]).ended(1);
    world.run(["run", "--", "surely-no-such-program"]).ended(127);
    world.run(["run", "--timeout", "100ms", "--", "sleep", "60"]).ended(124);
    assert!(world.sandboxes().is_empty());
}

#[test]
fn a_timeout_is_124_and_says_so() {
    let world = World::new();
    let ran = world.run(["run", "--timeout", "0.2", "--", "sh", "-c", "echo before; sleep 60"]).ended(124);
    assert_eq!(ran.stdout(), "before\n");
    assert!(ran.stderr().contains("error:") && ran.stderr().contains("--timeout none"), "{}", ran.stderr());
}

#[test]
fn a_configured_timeout_holds_for_run() {
    let world = World::new();
    crate::world::write(world.here().join("grainchain.toml"), "[sandbox_defaults]\ntimeout = \"200ms\"\n");
    world.run(["run", "--", "sleep", "60"]).ended(124);
    world.run(["run", "--timeout", "none", "--", "sleep", "0.4"]).succeeded();
}

#[test]
fn json_has_the_whole_output_and_the_code_stays() {
    let world = World::new();
    let ran = world.run(["run", "--json", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]).ended(3);
    let json = ran.json();
    assert_eq!(json["stdout"], "out\n");
    assert_eq!(json["stderr"], "err\n");
    assert_eq!(json["exit_code"], 3);
    assert_eq!(json["success"], false);
    assert!(json["signal"].is_null());
}

#[test]
fn json_of_a_timeout_is_an_error_with_the_output_so_far() {
    let world = World::new();
    let ran = world.run([
        "run",
        "--json",
        "--quiet",
        "--timeout",
        "0.3",
        "--",
        "sh",
        "-c",
        "echo so far; sleep 60",
    ]);
    let error = ran.ended(124).error();
    assert_eq!(error["kind"], "timeout");
    assert_eq!(error["output"]["stdout"], "so far\n");
}

#[test]
fn json_of_our_own_failure_names_kind_and_remedy() {
    let world = World::new();
    let ran = world.run(["run", "--json", "--quiet", "--image", "x", "--", "true"]).ended(125);
    let error = ran.error();
    assert_eq!((error["kind"].as_str(), error["option"].as_str()), (Some("unsupported"), Some("image")));
    assert!(error["message"].is_string() && error["operation"] == "create");
}

#[test]
fn the_note_that_nothing_isolates_is_said_once_on_stderr_and_can_be_silenced() {
    let world = World::new();
    let ran = world.run(["run", "--", "true"]).succeeded();
    assert_eq!(ran.stderr().matches("without isolation").count(), 1, "{}", ran.stderr());
    for arguments in [&["run", "--quiet", "--", "true"][..], &["run", "--provider", "local", "--", "true"]] {
        assert_eq!(world.run(arguments).succeeded().stderr(), "");
    }
    let mut command = world.command();
    let output =
        command.env("GRAINCHAIN_DEFAULT_PROVIDER", "local").args(["run", "--", "true"]).output().unwrap();
    assert!(output.stderr.is_empty());
}

#[test]
fn verbose_shows_each_operation_and_how_it_ended_but_nothing_that_was_said() {
    let world = World::new();
    let silent = world.run(["run", "--quiet", "--", "true"]).succeeded();
    assert_eq!(silent.stderr(), "");
    let ran = world.run(["-v", "run", "-e", "TOKEN=hunter2", "--", "sh", "-c", "exit 3", "secret"]).ended(3);
    let stderr = ran.stderr();
    for operation in ["create", "spawn", "close"] {
        let shown = |line: &str| {
            line.contains(&format!("operation=\"{operation}\"")) && line.contains("outcome=\"ok\"")
        };
        assert!(stderr.lines().any(shown), "{operation}: {stderr}");
    }
    assert!(!stderr.contains("hunter2") && !stderr.contains("secret"), "{stderr}");
}

#[test]
fn a_whole_line_in_quotes_is_explained() {
    let world = World::new();
    let ran = world.run(["run", "echo hello | wc"]).ended(127);
    assert!(ran.stderr().contains("sh -c"), "{}", ran.stderr());
}
