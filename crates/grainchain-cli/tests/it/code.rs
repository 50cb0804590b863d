//! `code`: output, values, exceptions.

use crate::world::{World, write};

#[test]
fn output_comes_first_and_then_the_value() {
    let world = World::new();
    let id = world.sandbox();
    let ran = world.run(["code", &id, "print('hello')\n6 * 7"]).succeeded();
    assert_eq!(ran.stdout(), "hello\n42\n");
}

#[test]
fn an_exception_goes_to_stderr_and_ends_with_1() {
    let world = World::new();
    let id = world.sandbox();
    let ran = world.run(["code", &id, "print('before')\nraise ValueError('no \x1b[2J')"]).ended(1);
    assert_eq!(ran.stdout(), "before\n");
    assert_eq!(ran.stderr().matches("ValueError: no").count(), 1, "{}", ran.stderr());
    assert!(!ran.stderr().contains('\x1b'), "{:?}", ran.stderr());
}

#[test]
fn code_comes_from_an_argument_a_file_or_stdin() {
    let world = World::new();
    let id = world.sandbox();
    write(world.here().join("script.py"), "1 + 1");
    assert_eq!(world.run(["code", &id, "--file", "script.py"]).succeeded().stdout(), "2\n");
    assert_eq!(world.run_with(["code", &id, "-"], "2 + 2").succeeded().stdout(), "4\n");
    assert_eq!(world.run_with(["code", &id], "3 + 3").succeeded().stdout(), "6\n");
    assert_eq!(world.run(["code", &id, "-1 + 1"]).succeeded().stdout(), "0\n");
    world.run(["code", &id, "--file", "missing.py"]).ended(125);
}

#[test]
fn an_exception_without_words_is_named_once() {
    let world = World::new();
    let id = world.sandbox();
    let stderr = world.run(["code", &id, "raise KeyError()"]).ended(1).stderr();
    assert_eq!(stderr.lines().filter(|line| line.starts_with("KeyError")).collect::<Vec<_>>(), ["KeyError"]);
}

#[test]
fn what_does_not_parse_is_said_once() {
    let world = World::new();
    let id = world.sandbox();
    let stderr = world.run(["code", &id, "def f(:"]).ended(1).stderr();
    assert_eq!(stderr.matches("SyntaxError").count(), 1, "{stderr}");
}

#[test]
fn other_languages_are_a_word_away() {
    let world = World::new();
    let id = world.sandbox();
    assert_eq!(
        world.run(["code", &id, "--language", "bash", "echo $((6 * 7))"]).succeeded().stdout(),
        "42\n"
    );
    world.run(["code", &id, "--language", "cobol", "x"]).ended(2);
}

#[test]
fn json_has_value_and_error() {
    let world = World::new();
    let id = world.sandbox();
    let json = world.run(["code", "--json", &id, "print('out')\n'value'"]).succeeded().json();
    assert_eq!((json["stdout"].as_str(), json["success"].as_bool()), (Some("out\n"), Some(true)));
    assert_eq!(json["value"]["text/plain"], "'value'");
    let json = world.run(["code", "--json", &id, "1 / 0"]).ended(1).json();
    assert_eq!(json["error"]["name"], "ZeroDivisionError");
}

#[test]
fn a_timeout_of_code_is_124() {
    let world = World::new();
    let id = world.sandbox();
    for more in [&[][..], &["--json"]] {
        let arguments = ["code", &id, "--timeout", "0.5", "import time\ntime.sleep(60)"];
        let ran = world.run(arguments.iter().chain(more)).ended(124);
        assert!(ran.stderr().contains("--timeout none"), "{}", ran.stderr());
    }
}

#[test]
fn a_sandbox_that_is_not_there_is_125() {
    let world = World::new();
    world.run(["code", "sb_nope", "1"]).ended(125);
}
