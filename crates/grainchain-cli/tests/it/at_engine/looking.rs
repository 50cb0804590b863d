//! `create`, `list`, `info`, `kill`, `gc`, `doctor`, and what describes providers.

use super::{Containers, TINY, tests};
use crate::world::eventually;

tests![
    create_prints_the_id_alone_and_the_sandbox_outlives_it at TINY,
    a_list_shows_state_and_labels_and_can_be_narrowed at TINY,
    info_tells_image_folder_and_limits_and_no_secret at TINY,
    limits_are_real at TINY,
    without_a_network_there_is_none at TINY,
    kill_removes_and_is_also_called_as_newcomers_call_it at TINY,
    a_lifetime_that_is_over_ends_the_sandbox at TINY,
    gc_says_what_it_would_do_and_keeps_what_was_made_to_stay at TINY,
    doctor_finds_nothing_wrong_at_an_engine_that_answers at TINY,
    doctor_warns_of_an_image_that_is_not_there_and_fails_without_an_engine at TINY,
    providers_and_capabilities_know_the_engine at TINY,
];

fn create_prints_the_id_alone_and_the_sandbox_outlives_it(at: &Containers) {
    let created = at.run(["create"]).succeeded();
    assert_eq!((created.stdout().lines().count(), created.stderr().as_str()), (1, ""));
    assert_eq!(at.sandboxes(), [created.stdout().trim()]);
}

fn a_list_shows_state_and_labels_and_can_be_narrowed(at: &Containers) {
    let job = format!("job={}", at.here().display());
    let id = at.run(["create", "--label", &job]).succeeded().stdout();
    let id = id.trim();
    at.sandbox();
    assert_eq!(at.sandboxes().len(), 2);
    let words = at.run(["list", "--label", &job]).succeeded().stdout();
    assert_eq!(words.lines().count(), 2);
    assert!(words.contains(id) && words.contains("docker") && words.contains("running"), "{words}");
    assert!(words.contains(&job) && words.contains("in 60m"), "{words}");
    let json = at.run(["ls", "--label", &job, "--json"]).succeeded().json();
    assert_eq!((&json[0]["id"], json.as_array().unwrap().len()), (&id.into(), 1));
    let none = at.run(["list", "--label", &job, "--status", "paused"]).succeeded();
    assert_eq!((none.stdout().as_str(), none.stderr().as_str()), ("", "no sandbox at docker is like that\n"));
}

fn info_tells_image_folder_and_limits_and_no_secret(at: &Containers) {
    let create =
        ["create", "--env", "TOKEN=hunter2", "--memory", "64MiB", "--cpu", "0.5", "--lifetime", "5m"];
    let id = at.run(create).succeeded().stdout();
    let id = id.trim();
    let words = at.run(["info", id]).succeeded().stdout();
    for known in [id, "docker", "running", TINY, "/workspace", "64MiB", "0.5", "in 5m"] {
        assert!(words.contains(known), "no {known} in {words}");
    }
    let json = at.run(["info", id, "--json"]).succeeded();
    assert_eq!(json.json()["image"], TINY);
    assert!(!words.contains("hunter2") && !json.stdout().contains("hunter2"));
}

fn limits_are_real(at: &Containers) {
    let fill = "head -c 60000000 /dev/zero | tail -c 50000000 | wc -c";
    at.run(["run", "--memory", "32MiB", "--", "sh", "-c", &format!("set -o pipefail; {fill}")]).ended(137);
    at.run(["run", "--memory", "256MiB", "--", "sh", "-c", fill]).succeeded();
}

fn without_a_network_there_is_none(at: &Containers) {
    let line = "ls /sys/class/net";
    assert_eq!(at.run(["run", "--network", "off", "--", "sh", "-c", line]).succeeded().stdout(), "lo\n");
    let open = at.run(["run", "--network", "open", "--", "sh", "-c", line]).succeeded().stdout();
    assert!(open.lines().count() > 1, "{open}");
}

fn kill_removes_and_is_also_called_as_newcomers_call_it(at: &Containers) {
    for (command, count) in [("kill", 3), ("rm", 2), ("close", 1)] {
        let ids: Vec<_> = (0..count).map(|_| at.sandbox()).collect();
        let mut arguments = vec![command];
        arguments.extend(ids.iter().map(String::as_str));
        let removed = at.run(&arguments).succeeded().stdout();
        assert_eq!(removed.lines().collect::<Vec<_>>(), ids);
        assert!(at.sandboxes().is_empty());
        let again = at.run(&arguments).ended(1);
        assert!(again.stderr().contains("help: `grainchain list`"), "{}", again.stderr());
    }
}

fn a_lifetime_that_is_over_ends_the_sandbox(at: &Containers) {
    at.run(["create", "--lifetime", "1s"]).succeeded();
    eventually("the end of the lifetime", || at.sandboxes().is_empty());
}

/// Dry: the engine is shared with others, whose leftovers are theirs.
fn gc_says_what_it_would_do_and_keeps_what_was_made_to_stay(at: &Containers) {
    let id = at.sandbox();
    let json = at.run(["gc", "--dry-run", "--json"]).succeeded().json();
    assert!(json["kept"].as_u64() >= Some(1), "{json}");
    let entries = json["entries"].as_array().unwrap();
    assert!(!entries.iter().any(|entry| entry["sandbox"]["id"] == id.as_str()), "{json}");
    let words = at.run(["gc", "--dry-run"]).succeeded();
    assert!(words.stderr().contains("kept") && !words.stderr().contains("removed"), "{}", words.stderr());
    assert_eq!(at.sandboxes(), [id]);
}

fn doctor_finds_nothing_wrong_at_an_engine_that_answers(at: &Containers) {
    let words = at.run(["doctor"]).succeeded().stdout();
    assert!(words.contains("provider: docker is usable"), "{words}");
    // Where the engine is, is worth knowing and nothing to be warned of.
    assert!(words.contains("ok    provider: the engine is "), "{words}");
}

fn doctor_warns_of_an_image_that_is_not_there_and_fails_without_an_engine(at: &Containers) {
    at.configure("absent.toml", "image = \"localhost:1/absent:1\"");
    let words = at.run(["doctor", "--config", "absent.toml"]).succeeded().stdout();
    assert!(words.contains("warn  provider: the image `localhost:1/absent:1` is not there yet"), "{words}");
    at.configure("nowhere.toml", "host = \"unix:///nowhere.sock\"");
    let words = at.run(["doctor", "--config", "nowhere.toml"]).ended(1).stdout();
    assert!(words.contains("fail  provider: the engine at unix:///nowhere.sock"), "{words}");
    assert!(words.contains("help: start the engine"), "{words}");
    let said = at.run(["run", "--config", "nowhere.toml", "--", "true"]).ended(125).stderr();
    assert!(said.contains("unix:///nowhere.sock") && said.contains("help: start the engine"), "{said}");
}

fn providers_and_capabilities_know_the_engine(at: &Containers) {
    let rows = at.run(["providers", "--json"]).succeeded().json();
    let docker = rows.as_array().unwrap().iter().find(|row| row["name"] == "docker").unwrap();
    assert_eq!((&docker["usable"], &docker["default"]), (&true.into(), &true.into()));
    assert!(docker["place"].as_str().unwrap().starts_with("the engine is "), "{docker}");
    let words = at.run(["capabilities"]).succeeded().stdout();
    assert!(words.contains("memory snapshots") && words.contains("use a filesystem snapshot"), "{words}");
}
