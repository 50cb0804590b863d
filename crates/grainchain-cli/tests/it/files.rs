//! `files`, and names that want to steer the terminal.

use crate::world::{World, write};

/// A name that would retitle the window, clear the screen and turn its end around.
const HOSTILE: &str = "a\x1b]0;owned\x07\u{9b}2J\u{202e}gpj\n.txt";

fn hostile_sandbox(world: &World) -> String {
    let id = world.sandbox();
    world.run_with(["files", "write", &format!("{id}:{HOSTILE}")], "x").succeeded();
    id
}

#[track_caller]
fn harmless(text: &str) {
    let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.chars().any(steers), "{text:?}");
}

#[test]
fn a_hostile_name_is_written_out_in_lists() {
    let world = World::new();
    let id = hostile_sandbox(&world);
    for arguments in [&["files", "ls", &id][..], &["files", "ls", "-l", &id], &["files", "ls", "--json", &id]]
    {
        let stdout = world.run(arguments).succeeded().stdout();
        harmless(&stdout);
        assert!(stdout.contains("gpj"), "{stdout}");
    }
    assert_eq!(world.run(["files", "ls", &id]).succeeded().stdout().lines().count(), 1);
}

#[test]
fn a_hostile_name_is_exact_in_json_and_between_nul_bytes() {
    let world = World::new();
    let id = hostile_sandbox(&world);
    let json = world.run(["files", "ls", "--json", &id]).succeeded().json();
    assert_eq!(json[0]["name"], HOSTILE);
    let raw = world.run(["files", "ls", "-0", &id]).succeeded().stdout();
    assert_eq!(raw, format!("{HOSTILE}\0"));
}

#[test]
fn a_hostile_name_in_an_error_does_not_steer_the_terminal() {
    let world = World::new();
    let id = hostile_sandbox(&world);
    let missing = format!("{id}:{HOSTILE}/below");
    for arguments in
        [&["files", "cat", &missing][..], &["files", "cat", "--json", &missing], &["cp", &missing, "x"]]
    {
        let ran = world.run(arguments).ended(1);
        harmless(&ran.stderr());
    }
}

#[test]
fn hostile_labels_and_link_targets_do_not_steer_the_terminal() {
    let world = World::new();
    let id = world.run(["create", "--label", &format!("name={HOSTILE}")]).succeeded().stdout();
    let id = id.trim();
    world.run(["exec", id, "--", "ln", "-s", HOSTILE, "link"]).succeeded();
    for arguments in [&["list"][..], &["list", "--json"], &["info", id], &["files", "ls", "-l", id]] {
        harmless(&world.run(arguments).succeeded().stdout());
    }
}

#[test]
fn a_hostile_program_name_in_an_error_does_not_steer_the_terminal() {
    let world = World::new();
    let ran = world.run(["run", "--", HOSTILE]).ended(127);
    harmless(&ran.stderr());
}

#[test]
fn what_is_written_is_read_again() {
    let world = World::new();
    let id = world.sandbox();
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 253) as u8).collect();
    let file = format!("{id}:deep/er/file");
    world.run_with(["files", "write", &file], bytes.clone()).succeeded();
    assert!(world.run(["files", "cat", &file]).succeeded().0.stdout == bytes);
    write(world.here().join("source"), "from a file");
    world.run(["files", "write", &file, "--from", "source", "--mode", "700"]).succeeded();
    assert_eq!(world.run(["files", "cat", &file]).succeeded().stdout(), "from a file");
    let listed = world.run(["files", "ls", "-l", &format!("{id}:deep/er")]).succeeded().stdout();
    assert!(listed.contains("-rwx------"), "{listed}");
}

#[test]
fn lists_go_as_deep_as_asked() {
    let world = World::new();
    let id = world.sandbox();
    world.run(["exec", &id, "--", "sh", "-c", "mkdir -p a/b/c; touch a/b/c/d"]).succeeded();
    let list = |more: &[&str]| {
        let ran = world.run(["files", "ls", &id].into_iter().chain(more.iter().copied())).succeeded();
        ran.stdout().lines().count()
    };
    assert_eq!((list(&[]), list(&["--depth", "2"]), list(&["-r"])), (1, 2, 4));
    world.run(["files", "ls", &id, "--depth", "0"]).ended(2);
    let file = world.run(["files", "ls", &format!("{id}:a/b/c/d")]).succeeded().stdout();
    assert_eq!(file.lines().count(), 1);
}

#[test]
fn folders_are_made_and_removed() {
    let world = World::new();
    let id = world.sandbox();
    let at = |path: &str| format!("{id}:{path}");
    world.run(["files", "mkdir", &at("a/b")]).succeeded();
    world.run_with(["files", "write", &at("a/b/file")], "").succeeded();
    world.run(["files", "rm", &at("a")]).ended(1);
    world.run(["files", "rm", "-r", &at("a")]).succeeded();
    world.run(["files", "rm", &at("a")]).ended(1);
    world.run(["files", "rm", "-f", &at("a")]).succeeded();
}

#[test]
fn changes_answer_in_json_too() {
    let world = World::new();
    let id = world.sandbox();
    let folder = format!("{id}:folder");
    let made = world.run(["files", "mkdir", "--json", &folder]).succeeded().json();
    assert_eq!((made["kind"].as_str(), made["name"].as_str()), (Some("directory"), Some("folder")));
    let written =
        world.run_with(["files", "write", "--json", &format!("{id}:file")], "12345").succeeded().json();
    assert_eq!(written["size"], 5);
    let removed = world.run(["files", "rm", "--json", &folder]).succeeded().json();
    assert_eq!(removed["removed"], "folder");
    for command in ["pause", "resume"] {
        assert_eq!(world.run([command, "--json", &id]).succeeded().json()["id"], id.as_str());
    }
    let killed = world.run(["kill", "--json", &id]).succeeded().json();
    assert_eq!((killed[0]["id"].as_str(), killed[0]["killed"].as_bool()), (Some(id.as_str()), Some(true)));
}

#[test]
fn a_folder_is_not_printed_and_no_path_is_no_file() {
    let world = World::new();
    let id = world.sandbox();
    world.run(["files", "mkdir", &format!("{id}:a")]).succeeded();
    let ran = world.run(["files", "cat", &format!("{id}:a")]).ended(1);
    assert!(ran.stderr().contains("grainchain cp"), "{}", ran.stderr());
    for command in ["cat", "rm", "write", "mkdir"] {
        world.run(["files", command, &id]).ended(1);
    }
}
