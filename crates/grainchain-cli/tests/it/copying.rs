//! `cp`: where things land, and that they arrive whole.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::world::{World, write};

fn mode(path: impl AsRef<Path>) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_file_goes_there_and_back_with_its_mode() {
    let world = World::new();
    let id = world.sandbox();
    write(world.here().join("tool"), "#!/bin/sh\necho works\n");
    std::fs::set_permissions(world.here().join("tool"), PermissionsExt::from_mode(0o750)).unwrap();
    world.run(["cp", "tool", &format!("{id}:bin/other")]).succeeded();
    assert_eq!(world.run(["exec", &id, "--", "bin/other"]).succeeded().stdout(), "works\n");
    world.run(["cp", &format!("{id}:bin/other"), "back"]).succeeded();
    assert_eq!(mode(world.here().join("back")), 0o750);
    assert_eq!(read(world.here().join("back")), read(world.here().join("tool")));
}

#[test]
fn a_stranger_cannot_lend_us_a_setuid_program() {
    let world = World::new();
    let id = world.sandbox();
    world.run(["exec", &id, "--", "sh", "-c", "echo x > tool; chmod 6755 tool"]).succeeded();
    world.run(["cp", &format!("{id}:tool"), "tool"]).succeeded();
    assert_eq!(mode(world.here().join("tool")), 0o755);
    world.run(["exec", &id, "--", "sh", "-c", "mkdir d; mv tool d; chmod 6755 d/tool"]).succeeded();
    world.run(["cp", &format!("{id}:d"), "d"]).succeeded();
    assert_eq!(mode(world.here().join("d/tool")), 0o755);
}

#[test]
fn a_file_lands_below_a_folder_and_else_gets_the_new_name() {
    let world = World::new();
    let id = world.sandbox();
    let at = |path: &str| format!("{id}:{path}");
    write(world.here().join("a"), "a");
    world.run(["files", "mkdir", &at("there")]).succeeded();
    for (to, expected) in [
        ("there", "there/a"),
        ("new", "new"),
        ("slash/", "slash/a"),
        ("", "a"),
        ("x/y/z", "x/y/z"),
        ("there/", "there/a"),
    ] {
        world.run(["cp", "a", &at(to)]).succeeded();
        assert_eq!(world.run(["files", "cat", &at(expected)]).succeeded().stdout(), "a", "{to}");
    }
    std::fs::create_dir(world.here().join("there")).unwrap();
    for (to, expected) in
        [("there", "there/a"), ("new", "new"), ("slash/", "slash/a"), ("x/y/z", "x/y/z"), (".", "a")]
    {
        world.run(["cp", &at("a"), to]).succeeded();
        assert_eq!(read(world.here().join(expected)), "a", "{to}");
    }
}

#[test]
fn a_folder_lands_below_a_folder_and_else_gets_the_new_name() {
    let world = World::new();
    let id = world.sandbox();
    let at = |path: &str| format!("{id}:{path}");
    write(world.here().join("tree/sub/file"), "deep");
    world.run(["files", "mkdir", &at("there")]).succeeded();
    for (to, expected) in [("there", "there/tree"), ("new", "new"), ("slash/", "slash"), ("", "tree")] {
        world.run(["cp", "tree", &at(to)]).succeeded();
        let file = at(&format!("{expected}/sub/file"));
        assert_eq!(world.run(["files", "cat", &file]).succeeded().stdout(), "deep", "{to}");
    }
    std::fs::create_dir(world.here().join("there")).unwrap();
    for (to, expected) in [("there", "there/tree"), ("back", "back"), ("slash/", "slash")] {
        world.run(["cp", &at("tree"), to]).succeeded();
        assert_eq!(read(world.here().join(expected).join("sub/file")), "deep", "{to}");
    }
}

#[test]
fn a_folder_written_with_a_dot_gives_its_contents_and_keeps_what_is_there() {
    let world = World::new();
    let id = world.sandbox();
    write(world.here().join("tree/new"), "new");
    world.run_with(["files", "write", &format!("{id}:there/old")], "old").succeeded();
    world.run(["cp", "tree/.", &format!("{id}:there")]).succeeded();
    let names = world.run(["files", "ls", &format!("{id}:there")]).succeeded().stdout();
    assert_eq!(names, "new\nold\n");
    std::fs::create_dir(world.here().join("here")).unwrap();
    world.run(["cp", &format!("{id}:there/."), "here"]).succeeded();
    assert_eq!(
        (read(world.here().join("here/new")), read(world.here().join("here/old"))),
        ("new".into(), "old".into())
    );
}

#[test]
fn a_path_that_ends_in_dots_never_leaves_the_folder_it_goes_to() {
    let world = World::new();
    let id = world.sandbox();
    world.run_with(["files", "write", &format!("{id}:a/b/file")], "x").succeeded();
    std::fs::create_dir(world.here().join("out")).unwrap();
    world.run(["cp", &format!("{id}:a/b/.."), "out"]).succeeded();
    assert_eq!(read(world.here().join("out/b/file")), "x");
    assert!(!world.here().join("b").exists());
}

#[test]
fn a_link_that_came_with_one_copy_leads_no_other_copy_out() {
    let world = World::new();
    let id = world.sandbox();
    let outside = world.here().join("outside");
    write(outside.join("key"), "mine");
    let link = format!("mkdir w; ln -s '{}' w/d", outside.display());
    world.run(["exec", &id, "--", "sh", "-c", &link]).succeeded();
    world.run(["cp", &format!("{id}:w"), "w"]).succeeded();
    assert!(world.here().join("w/d").is_symlink());
    world.run(["exec", &id, "--", "sh", "-c", "rm w/d; mkdir w/d; echo theirs > w/d/key"]).succeeded();
    let refused = world.run(["cp", &format!("{id}:w/d"), "w"]).ended(1);
    assert!(refused.stderr().contains("symbolic link"), "{}", refused.stderr());
    assert_eq!(read(outside.join("key")), "mine");
}

#[test]
fn what_cannot_be_copied_is_named_both_ways() {
    let world = World::new();
    let id = world.sandbox();
    world.run(["exec", &id, "--", "sh", "-c", "mkdir w; echo x > w/file; mkfifo w/pipe"]).succeeded();
    let down = world.run(["cp", &format!("{id}:w"), "w"]).succeeded();
    assert!(down.stderr().contains("pipe: named pipe"), "{}", down.stderr());
    // Commands of the provider `local` reach our folder.
    let pipe = world.here().join("w/pipe").display().to_string();
    world.run(["exec", &id, "--", "mkfifo", &pipe]).succeeded();
    let up = world.run(["cp", "--json", "w", &format!("{id}:up")]).succeeded();
    assert_eq!(up.json()["skipped"], serde_json::json!(["pipe: named pipe"]));
}

#[test]
fn a_pipe_that_nobody_writes_to_is_refused_and_not_waited_for() {
    let world = World::new();
    let id = world.sandbox();
    let pipe = world.here().join("pipe").display().to_string();
    world.run(["exec", &id, "--", "mkfifo", &pipe]).succeeded();
    let file = format!("{id}:file");
    for (arguments, code) in [
        (&["cp", "pipe", &file][..], 1),
        (&["files", "write", &file, "--from", "pipe"], 1),
        (&["code", &id, "--file", "pipe"], 125),
    ] {
        let ran = world.run(arguments).ended(code);
        assert!(
            ran.stderr().contains("pipe is not a file") && ran.stderr().contains("stdin"),
            "{}",
            ran.stderr()
        );
    }
    std::fs::create_dir(world.here().join("folder")).unwrap();
    let ran = world.run(["files", "write", &file, "--from", "folder"]).ended(1);
    assert!(ran.stderr().contains("grainchain cp"), "{}", ran.stderr());
}

#[test]
fn odd_names_arrive() {
    let world = World::new();
    let id = world.sandbox();
    let odd = ["-rf", "a b", "new\nline", "naïve", "colon:name", "back\\slash", "\x1b[2J"];
    for name in odd {
        write(world.here().join("tree").join(name), name);
    }
    write(world.here().join("tree").join(std::ffi::OsStr::from_bytes(b"not\xffutf8")), "bytes");
    symlink("a b", world.here().join("tree/link")).unwrap();
    world.run(["cp", "tree", &format!("{id}:tree")]).succeeded();
    world.run(["cp", &format!("{id}:tree"), "back"]).succeeded();
    for name in odd {
        assert_eq!(read(world.here().join("back").join(name)), name);
    }
    assert_eq!(read(world.here().join("back").join(std::ffi::OsStr::from_bytes(b"not\xffutf8"))), "bytes");
    assert_eq!(std::fs::read_link(world.here().join("back/link")).unwrap(), Path::new("a b"));
}

#[test]
fn a_name_with_a_colon_is_a_file_of_this_machine_when_it_has_a_slash_before_it() {
    let world = World::new();
    let id = world.sandbox();
    write(world.here().join("x:y"), "colon");
    world.run(["cp", "./x:y", &format!("{id}:z")]).succeeded();
    assert_eq!(world.run(["files", "cat", &format!("{id}:z")]).succeeded().stdout(), "colon");
}

#[test]
fn a_dash_is_stdin_or_stdout() {
    let world = World::new();
    let id = world.sandbox();
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 255) as u8).collect();
    world.run_with(["cp", "-", &format!("{id}:file")], bytes.clone()).succeeded();
    let ran = world.run(["cp", &format!("{id}:file"), "-"]).succeeded();
    assert!(ran.0.stdout == bytes);
    world.run_with(["cp", "-", &format!("{id}:")], "x").ended(1);
}

#[test]
fn what_makes_no_sense_is_refused_with_a_remedy() {
    let world = World::new();
    let id = world.sandbox();
    write(world.here().join("file"), "");
    write(world.here().join("tree/x"), "");
    world.run_with(["files", "write", &format!("{id}:file")], "").succeeded();
    for (from, to) in [
        ("file", "other"),
        ("-", "-"),
        (format!("{id}:a").as_str(), format!("{id}:b").as_str()),
        ("tree", format!("{id}:file").as_str()),
        ("file", format!("{id}:file/").as_str()),
        (format!("{id}:file").as_str(), "file/"),
    ] {
        let ran = world.run(["cp", from, to]).ended(1);
        assert!(ran.stderr().contains("help:"), "{from} {to}: {}", ran.stderr());
    }
    let ran = world.run(["cp", "missing", &format!("{id}:")]).ended(1);
    assert!(ran.stderr().contains("missing"), "{}", ran.stderr());
    let ran = world.run(["cp", &format!("{id}:missing"), "."]).ended(1);
    assert!(ran.stderr().contains("missing"), "{}", ran.stderr());
}

#[test]
fn json_counts_what_was_copied() {
    let world = World::new();
    let id = world.sandbox();
    write(world.here().join("tree/a"), "12345");
    let json = world.run(["cp", "--json", "tree", &format!("{id}:tree")]).succeeded().json();
    assert_eq!((json["bytes"].as_u64(), json["to"].as_str()), (Some(5), Some("tree")));
    let json = world.run(["cp", "--json", &format!("{id}:tree/a"), "a"]).succeeded().json();
    assert_eq!(json["bytes"], 5);
}
