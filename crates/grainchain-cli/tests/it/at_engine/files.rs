//! `cp` and `files`.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::{Containers, TINY, tests};
use crate::world::write;

tests![
    a_file_goes_there_and_comes_back_with_its_mode at TINY,
    a_folder_goes_there_and_comes_back_with_its_links at TINY,
    what_was_copied_there_belongs_to_the_images_user at TINY,
    stdin_and_stdout_can_be_copied at TINY,
    files_are_written_listed_read_and_removed at TINY,
    a_pipe_is_refused_or_named_and_never_waited_for at TINY,
    what_is_not_there_is_named_with_a_remedy at TINY,
    a_folder_in_which_the_user_may_not_write_is_refused at TINY,
];

fn a_file_goes_there_and_comes_back_with_its_mode(at: &Containers) {
    let id = at.sandbox();
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    write(at.here().join("file"), &bytes);
    std::fs::set_permissions(at.here().join("file"), PermissionsExt::from_mode(0o750)).unwrap();
    let up = at.run(["cp", "--json", "file", &format!("{id}:new/name")]).succeeded().json();
    assert_eq!((up["bytes"].as_u64(), up["to"].as_str()), (Some(300_000), Some("new/name")));
    assert_eq!(at.sh(&id, "stat -c %a new/name"), "750\n");
    at.run(["cp", &format!("{id}:new/name"), "back"]).succeeded();
    assert!(std::fs::read(at.here().join("back")).unwrap() == bytes);
    assert_eq!(std::fs::metadata(at.here().join("back")).unwrap().permissions().mode() & 0o777, 0o750);
}

fn a_folder_goes_there_and_comes_back_with_its_links(at: &Containers) {
    let id = at.sandbox();
    write(at.here().join("tree/deep/file"), "content");
    write(at.here().join("tree/naïve name"), "odd");
    symlink("deep/file", at.here().join("tree/link")).unwrap();
    at.run(["cp", "tree", &format!("{id}:")]).succeeded();
    assert_eq!(at.sh(&id, "cat tree/link; readlink tree/link"), "contentdeep/file\n");
    at.sh(&id, "echo more > tree/deep/more");
    at.run(["cp", &format!("{id}:tree"), "back"]).succeeded();
    let read = |name: &str| std::fs::read_to_string(at.here().join("back").join(name)).unwrap();
    assert_eq!((read("deep/file"), read("deep/more")), ("content".into(), "more\n".into()));
    assert_eq!(read("naïve name"), "odd");
    assert!(at.here().join("back/link").is_symlink());
}

fn what_was_copied_there_belongs_to_the_images_user(at: &Containers) {
    let id = at.sandbox();
    write(at.here().join("tree/file"), "");
    at.run(["cp", "tree", &format!("{id}:")]).succeeded();
    at.run(["cp", "tree/file", &format!("{id}:alone")]).succeeded();
    assert_eq!(at.sh(&id, "stat -c %u tree tree/file alone"), "1000\n1000\n1000\n");
    at.sh(&id, "echo changed > tree/file; rm alone");
}

fn stdin_and_stdout_can_be_copied(at: &Containers) {
    let id = at.sandbox();
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 255) as u8).collect();
    at.run_with(["cp", "-", &format!("{id}:file")], bytes.clone()).succeeded();
    assert!(at.run(["cp", &format!("{id}:file"), "-"]).succeeded().0.stdout == bytes);
}

fn files_are_written_listed_read_and_removed(at: &Containers) {
    let id = at.sandbox();
    let place = |path: &str| format!("{id}:{path}");
    at.run(["files", "mkdir", &place("a/b")]).succeeded();
    at.run_with(["files", "write", &place("a/file"), "--mode", "600"], "text").succeeded();
    assert_eq!(at.run(["files", "ls", &place("a")]).succeeded().stdout(), "b\nfile\n");
    assert_eq!(at.run(["files", "cat", &place("a/file")]).succeeded().stdout(), "text");
    assert_eq!(at.sh(&id, "stat -c '%a %u' a/file"), "600 1000\n");
    let refused = at.run(["files", "rm", &place("a")]).ended(1);
    assert!(refused.stderr().contains("-r"), "{}", refused.stderr());
    at.run(["files", "rm", "-r", &place("a")]).succeeded();
    assert_eq!(at.run(["files", "ls", &id]).succeeded().stdout(), "");
}

fn a_pipe_is_refused_or_named_and_never_waited_for(at: &Containers) {
    let id = at.sandbox();
    at.sh(&id, "mkdir tree; echo x > tree/file; mkfifo tree/pipe");
    let down = at.run(["cp", &format!("{id}:tree/pipe"), "pipe"]).ended(1);
    assert!(down.stderr().contains("neither a file nor a folder"), "{}", down.stderr());
    assert!(down.stderr().contains("help: `grainchain exec`"), "{}", down.stderr());
    let tree = at.run(["cp", &format!("{id}:tree"), "tree"]).succeeded();
    assert!(tree.stderr().contains("pipe: named pipe"), "{}", tree.stderr());
    assert!(at.here().join("tree/file").is_file() && !at.here().join("tree/pipe").exists());
    let pipe = at.here().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let up = at.run(["cp", "pipe", &format!("{id}:pipe")]).ended(1);
    assert!(up.stderr().contains("pipe is not a file") && up.stderr().contains("stdin"), "{}", up.stderr());
}

fn what_is_not_there_is_named_with_a_remedy(at: &Containers) {
    let id = at.sandbox();
    let there = format!("{id}:missing");
    for (arguments, remedy) in [
        (&["cp", "missing", &there][..], "one in a sandbox is ID:path"),
        (&["cp", &there, "."], "list the directory above it"),
        (&["files", "cat", &there], "list the directory above it"),
        (&["files", "ls", &there], "list the directory above it"),
        (&["files", "rm", &there], "help:"),
    ] {
        let ran = at.run(arguments).ended(1);
        let said = ran.stderr();
        assert!(said.contains("missing") && said.contains(remedy), "{arguments:?}: {said}");
    }
}

fn a_folder_in_which_the_user_may_not_write_is_refused(at: &Containers) {
    let id = at.sandbox();
    for arguments in
        [&["files", "write", &format!("{id}:/etc/file")][..], &["cp", "-", &format!("{id}:/file")]]
    {
        let ran = at.run_with(arguments, "x").ended(1);
        assert!(ran.stderr().contains("permission denied"), "{}", ran.stderr());
        assert!(ran.stderr().contains("help:"), "{}", ran.stderr());
    }
}
