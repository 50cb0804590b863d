//! Wrong input is refused with a reason and a remedy, and leaves nothing behind.

use super::{Containers, TINY, tests};

tests![
    an_image_that_is_not_there_is_named at TINY,
    a_wish_that_cannot_be_met_is_refused_with_what_can at TINY,
    a_limit_that_no_container_can_have_is_refused at TINY,
    a_slip_of_the_keyboard_is_answered_with_what_was_meant at TINY,
    a_setting_that_is_not_there_is_told_with_its_line_and_the_right_ones at TINY,
    a_network_that_the_engine_does_not_have_is_named at TINY,
    a_sandbox_that_is_not_there_is_named_with_a_remedy at TINY,
];

/// Every one of `arguments` ends with `code`, says all of `words` and leaves no sandbox.
#[track_caller]
fn refused(at: &Containers, arguments: &[&str], code: i32, words: &[&str]) {
    let ran = at.run(arguments).ended(code);
    for word in words {
        assert!(ran.stderr().contains(word), "{arguments:?} does not say `{word}`: {}", ran.stderr());
    }
    assert_eq!(ran.stdout(), "", "{arguments:?}");
    assert!(at.sandboxes().is_empty(), "{arguments:?}");
}

fn an_image_that_is_not_there_is_named(at: &Containers) {
    // A registry where nobody listens: what others hold changes.
    let words = ["option `image`", "`localhost:1/absent:1`", "pull the image", "help: "];
    refused(at, &["create", "-I", "localhost:1/absent:1"], 1, &words);
    refused(at, &["run", "-I", "localhost:1/absent:1", "--", "true"], 125, &words);
    refused(
        at,
        &["create", "-I", "A B"],
        1,
        &["`A B` is no name of an image", "help: write a name and a tag"],
    );
    let json = at.run(["create", "--json", "-I", "localhost:1/absent:1"]).ended(1).error();
    assert_eq!((&json["option"], &json["provider"]), (&"image".into(), &"docker".into()));
    assert!(json["remedy"].is_string(), "{json}");
}

fn a_wish_that_cannot_be_met_is_refused_with_what_can(at: &Containers) {
    for policy in ["example.com", "bogus"] {
        let words = ["option `network`", "write `--network off` or `--network open`"];
        refused(at, &["create", "--network", policy], 1, &words);
    }
    let words = ["there is no template `nowhere:1`", "help: ", "`--image`"];
    refused(at, &["create", "--template", "nowhere:1"], 1, &words);
}

fn a_limit_that_no_container_can_have_is_refused(at: &Containers) {
    let words = ["option `memory_limit`", "1MiB is below", "help: ask for 6MiB or more"];
    refused(at, &["create", "--memory", "1MiB"], 1, &words);
    refused(at, &["create", "--memory", "lots"], 2, &["`lots` is not a size"]);
    for cpu in ["0", "-1", "nan"] {
        refused(at, &["create", "--cpu", cpu], 1, &["option `cpu_limit`", "help: write a number above zero"]);
    }
    refused(at, &["create", "--cpu", "100000"], 1, &["option `cpu_limit`", "help: "]);
}

fn a_slip_of_the_keyboard_is_answered_with_what_was_meant(at: &Containers) {
    refused(at, &["create", "--netwrk", "off"], 2, &["--netwrk", "'--network'"]);
    refused(at, &["create", "--network", ""], 2, &["write off, open, or names"]);
    refused(at, &["wake"], 2, &["'wake-up'"]);
}

fn a_setting_that_is_not_there_is_told_with_its_line_and_the_right_ones(at: &Containers) {
    at.configure("slip.toml", "imgae = \"x\"");
    let words = ["slip.toml:3: providers.docker.imgae", "`image`, ", "`network`, "];
    refused(at, &["create", "--config", "slip.toml"], 1, &words);
}

fn a_network_that_the_engine_does_not_have_is_named(at: &Containers) {
    at.configure("network.toml", &format!("image = {TINY:?}\nnetwork = \"nowhere\""));
    let words = ["option `network`", "no network `nowhere`", "help: make it first"];
    refused(at, &["create", "--config", "network.toml"], 1, &words);
}

fn a_sandbox_that_is_not_there_is_named_with_a_remedy(at: &Containers) {
    for (arguments, code) in [
        (&["info", "sb_nowhere"][..], 1),
        (&["exec", "sb_nowhere", "--", "true"], 125),
        (&["shell", "sb_nowhere"], 125),
        (&["code", "sb_nowhere", "1"], 125),
        (&["cp", "sb_nowhere:file", "."], 1),
        (&["files", "ls", "sb_nowhere"], 1),
        (&["snapshot", "list", "sb_nowhere"], 1),
        (&["fork", "sb_nowhere"], 1),
        (&["pause", "sb_nowhere"], 1),
        (&["resume", "sb_nowhere"], 1),
        (&["terminate", "sb_nowhere"], 1),
        (&["wake-up", "sb_nowhere"], 1),
        (&["kill", "sb_nowhere"], 1),
    ] {
        let words =
            ["there is no sandbox `sb_nowhere`", "help: `grainchain list` shows those that there are"];
        refused(at, arguments, code, &words);
    }
}
