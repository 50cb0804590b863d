//! `create`, `list`, `info`, `kill`, `gc`, and what describes providers.

use crate::world::World;

#[test]
fn create_prints_the_id_alone_and_the_sandbox_outlives_it() {
    let world = World::new();
    let created = world.run(["create"]).succeeded();
    assert_eq!(created.stdout().lines().count(), 1);
    assert_eq!(world.sandboxes(), [created.stdout().trim()]);
}

#[test]
fn what_one_command_writes_the_next_one_reads() {
    let world = World::new();
    let id = world.sandbox();
    world.run(["exec", &id, "--", "sh", "-c", "echo kept > file"]).succeeded();
    assert_eq!(world.run(["exec", &id, "--", "cat", "file"]).succeeded().stdout(), "kept\n");
}

#[test]
fn a_list_shows_state_and_labels_and_can_be_narrowed() {
    let world = World::new();
    world.run(["create", "--label", "job=one"]).succeeded();
    world.run(["create", "--label", "job=two"]).succeeded();
    let all = world.run(["list"]).succeeded().stdout();
    assert!(all.contains("running") && all.contains("job=one") && all.contains("job=two"), "{all}");
    let one = world.run(["list", "--label", "job=one", "--json"]).succeeded().json();
    assert_eq!(one.as_array().unwrap().len(), 1);
    assert_eq!(one[0]["metadata"]["job"], "one");
    assert_eq!(one[0]["status"], "running");
    let none = world.run(["list", "--status", "paused", "--json"]).succeeded();
    assert_eq!(none.stdout(), "[]\n");
    world.run(["list", "--status", "asleep"]).ended(2);
}

#[test]
fn an_empty_list_hints_on_stderr_and_prints_nothing() {
    let world = World::new();
    let ran = world.run(["list"]).succeeded();
    assert_eq!(ran.stdout(), "");
    assert!(ran.stderr().contains("grainchain create"), "{}", ran.stderr());
}

#[test]
fn info_is_for_people_and_programs() {
    let world = World::new();
    let id = world.run(["create", "--env", "TOKEN=hunter2", "--label", "a=b"]).succeeded().stdout();
    let id = id.trim();
    let words = world.run(["info", id]).succeeded().stdout();
    assert!(words.contains(id) && words.contains("running") && words.contains("a=b"), "{words}");
    let json = world.run(["info", id, "--json"]).succeeded().stdout();
    assert!(!words.contains("hunter2") && !json.contains("hunter2"));
    let all = world.run(["list", "--json"]).succeeded().stdout();
    assert!(!all.contains("hunter2"));
}

#[test]
fn the_beginning_of_an_id_is_enough_while_it_is_unique() {
    let world = World::new();
    let (first, second) = (world.sandbox(), world.sandbox());
    let common = first.bytes().zip(second.bytes()).take_while(|(a, b)| a == b).count();
    world.run(["exec", &first[..=common], "--", "true"]).succeeded();
    let ran = world.run(["info", &first[..common]]).ended(1);
    assert!(ran.stderr().contains(&first) && ran.stderr().contains(&second), "{}", ran.stderr());
    world.run(["kill", &first[..common]]).ended(1);
    assert_eq!(world.sandboxes().len(), 2);
    world.run(["kill", &first[..=common]]).succeeded();
    assert_eq!(world.sandboxes(), [second]);
}

#[test]
fn a_sandbox_that_is_not_there_is_named_with_a_remedy() {
    let world = World::new();
    for arguments in
        [&["info", "sb_nope"][..], &["kill", "sb_nope"], &["files", "ls", "sb_nope"], &["pause", "sb_nope"]]
    {
        let ran = world.run(arguments).ended(1);
        assert!(ran.stderr().contains("sb_nope") && ran.stderr().contains("help:"), "{}", ran.stderr());
    }
    let ran = world.run(["info", "--json", "sb_nope"]).ended(1);
    assert_eq!(ran.error()["kind"], "not found");
}

#[test]
fn what_is_missing_is_said_in_the_words_of_the_command_line() {
    let world = World::new();
    let ran = world.run(["info", "sb_nope"]).ended(1);
    let words =
        "error: local: there is no sandbox `sb_nope`\nhelp: `grainchain list` shows those that there are\n";
    assert_eq!(ran.stderr(), words);
    let ran = world.run(["info", ""]).ended(1);
    assert!(ran.stderr().contains("the id of the sandbox is empty"), "{}", ran.stderr());
}

#[test]
fn a_negative_number_is_a_bad_value_and_no_unknown_option() {
    let world = World::new();
    let ran = world.run(["create", "--quiet", "--cpu", "-1"]).ended(1);
    assert!(ran.stderr().contains("option `cpu_limit`"), "{}", ran.stderr());
    for arguments in [&["create", "--lifetime", "-1"][..], &["run", "--timeout", "-1", "--", "true"]] {
        let ran = world.run(arguments).ended(2);
        assert!(ran.stderr().contains("`-1` is not a duration"), "{}", ran.stderr());
    }
}

#[test]
fn the_help_is_found_by_word_and_by_option_and_fits_a_terminal() {
    let world = World::new();
    let words = world.run(["help"]).succeeded().stdout();
    assert_eq!(words, world.run(["--help"]).succeeded().stdout());
    assert!(words.lines().skip_while(|line| *line != "Exit codes:").all(|line| line.len() <= 80), "{words}");
    for command in ["terminate", "wake-up", "fork"] {
        assert!(words.contains(command), "{words}");
        world.run(["help", command]).succeeded();
    }
}

#[test]
fn an_empty_id_is_not_the_only_sandbox() {
    let world = World::new();
    let id = world.sandbox();
    world.run(["kill", ""]).ended(1);
    world.run(["exec", "", "--", "true"]).ended(125);
    assert_eq!(world.sandboxes(), [id]);
}

#[test]
fn a_slip_in_one_of_several_ids_kills_none() {
    let world = World::new();
    let id = world.sandbox();
    world.run(["kill", &id, "sb_nope"]).ended(1);
    assert_eq!(world.sandboxes(), [id]);
}

#[test]
fn kill_all_ends_everything() {
    let world = World::new();
    world.sandbox();
    world.sandbox();
    world.run(["kill", "--all"]).succeeded();
    assert!(world.sandboxes().is_empty());
    world.run(["kill", "--all"]).succeeded();
    world.run(["kill"]).ended(2);
}

#[test]
fn gc_keeps_what_was_made_to_stay() {
    let world = World::new();
    let id = world.sandbox();
    let json = world.run(["gc", "--json"]).succeeded().json();
    assert_eq!((json["kept"].as_u64(), json["entries"].as_array().map(Vec::len)), (Some(1), Some(0)));
    assert_eq!(world.sandboxes(), [id]);
}

#[test]
fn a_lifetime_that_is_over_ends_the_sandbox() {
    let world = World::new();
    world.run(["create", "--lifetime", "100ms"]).succeeded();
    crate::world::eventually("the end of the lifetime", || {
        world.run(["gc"]).succeeded();
        world.sandboxes().is_empty()
    });
}

#[test]
fn an_unknown_provider_names_those_that_there_are() {
    let world = World::new();
    let ran = world.run(["list", "--provider", "nowhere"]).ended(1);
    assert!(ran.stderr().contains("nowhere") && ran.stderr().contains("local"), "{}", ran.stderr());
    let ran = world.run(["list", "--provider", "nowhere", "--json"]).ended(1);
    assert_eq!(ran.error()["kind"], "config");
}

#[test]
fn a_provider_can_be_a_uri() {
    let world = World::new();
    let other = format!("local://{}", world.here().join("other").display());
    let id = world.run(["create", "--provider", &other]).succeeded().stdout();
    assert!(world.sandboxes().is_empty());
    let listed = world.run(["list", "--quiet", "--provider", &other]).succeeded().stdout();
    assert_eq!(listed, id);
    world.run(["kill", "--provider", &other, id.trim()]).succeeded();
}

#[test]
fn providers_say_whether_they_are_usable_and_what_they_lack() {
    let world = World::new();
    let words = world.run(["providers"]).succeeded().stdout();
    assert!(words.contains("local") && words.contains("yes"), "{words}");
    let json = world.run(["providers", "--json"]).succeeded().json();
    let local = json.as_array().unwrap().iter().find(|row| row["name"] == "local").unwrap();
    assert_eq!((local["usable"].as_bool(), local["default"].as_bool()), (Some(true), Some(true)));
    assert!(local["lacks"].as_array().unwrap().iter().any(|capability| capability == "templates"));
}

#[test]
fn capabilities_name_an_alternative_for_what_is_not_there() {
    let world = World::new();
    let words = world.run(["capabilities", "local"]).succeeded().stdout();
    assert!(words.contains("templates") && words.contains("use an image"), "{words}");
    let json = world.run(["capabilities", "--json"]).succeeded().json();
    assert_eq!(json["name"], "local");
    assert!(
        json["capabilities"]["supported"].as_array().unwrap().iter().any(|capability| capability == "exec")
    );
    world.run(["capabilities", "nowhere"]).ended(1);
}

#[test]
fn doctor_finds_nothing_wrong_here_and_a_broken_configuration_there() {
    let world = World::new();
    let words = world.run(["doctor"]).succeeded().stdout();
    assert!(words.contains("provider: local is usable"), "{words}");
    crate::world::write(world.here().join("grainchain.toml"), "[sandbox_defaults]\nnonsense = 1\n");
    let ran = world.run(["doctor"]).ended(1);
    assert!(ran.stdout().contains("fail") && ran.stdout().contains("grainchain.toml:2"), "{}", ran.stdout());
    let json = world.run(["doctor", "--json"]).ended(1).json();
    assert!(json.as_array().unwrap().iter().any(|finding| finding["verdict"] == "fail"));
}

#[test]
fn completions_are_there_for_the_usual_shells() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = world.run(["completions", shell]).succeeded().stdout();
        assert!(script.contains("grainchain") && script.contains("snapshot"), "{shell}");
    }
    world.run(["completions", "cmd.exe"]).ended(2);
}

#[test]
fn nothing_is_coloured_where_nobody_sees_it() {
    let world = World::new();
    let ran = world.run(["list", "--provider", "nowhere"]).ended(1);
    assert!(!ran.stderr().contains('\x1b'));
    let ran = world.run(["list", "--provider", "nowhere", "--color", "always"]).ended(1);
    assert!(ran.stderr().contains('\x1b'));
    let mut command = world.command();
    let output = command.env("NO_COLOR", "1").args(["list", "--provider", "nowhere"]).output().unwrap();
    assert!(!output.stderr.contains(&0x1b));
}
