//! Single files below a root, with hostile links on the way

use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{Scene, both_ways, kind};
use crate::tree::{AtomicOptions, Links, MkdirOptions, OpenOptions, Replace, Root, Times, TreeErrorKind};
use crate::types::file::FileKind;

fn read(root: &Root, path: impl AsRef<Path>) -> String {
    let mut text = String::new();
    root.open_read(path).unwrap().read_to_string(&mut text).unwrap();
    text
}

fn write(root: &Root, path: impl AsRef<Path>, text: &str) {
    let mut file = root.write_atomic(path, AtomicOptions::default()).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.commit().unwrap();
}

fn names(root: &Root, path: &str) -> Vec<String> {
    let mut names: Vec<_> =
        root.read_dir(path).unwrap().map(|entry| entry.unwrap().name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_operation_refuses_a_path_that_leaves_at_any_position() {
    both_ways(|scene| {
        let root = &scene.root;
        std::fs::create_dir_all(scene.inside("a/b")).unwrap();
        symlink(scene.outside(), scene.inside("out")).unwrap();
        symlink("../../../outside", scene.inside("a/b/out")).unwrap();
        symlink(scene.outside().join("file"), scene.inside("leaf")).unwrap();
        let absolute = scene.outside().join("file");
        for path in [
            "../outside/file",
            "a/../../outside/file",
            "a/b/../../../outside/file",
            "out/file",
            "a/b/out/file",
            "out/../inside/a",
            "a/b/../../out/file",
            absolute.to_str().unwrap(),
            "leaf",
        ] {
            let outside = TreeErrorKind::Outside;
            assert_eq!(kind(root.open_read(path)), outside, "open {path}");
            assert_eq!(kind(root.open_write(path, &OpenOptions::create())), outside, "create {path}");
            assert_eq!(kind(root.open_write(path, &OpenOptions::append())), outside, "append {path}");
            assert_eq!(kind(root.stat(path, Links::Follow)), outside, "stat {path}");
            assert_eq!(kind(root.chmod(path, 0o777)), outside, "chmod {path}");
            assert_eq!(kind(root.set_times(path, Times::default(), Links::Follow)), outside, "times {path}");
            assert_eq!(kind(root.write_atomic(path, AtomicOptions::default())), outside, "write {path}");
            if path == "leaf" {
                continue;
            }
            let parents = MkdirOptions::default().parents(true);
            assert_eq!(kind(root.mkdir(format!("{path}/x"), &parents)), outside, "mkdir {path}");
            assert_eq!(kind(root.stat(path, Links::Keep)), outside, "lstat {path}");
            assert_eq!(kind(root.read_link(path)), outside, "read link {path}");
            assert_eq!(kind(root.read_dir(path)), outside, "list {path}");
            assert_eq!(kind(root.remove_file(path)), outside, "remove {path}");
            assert_eq!(kind(root.remove_all(path)), outside, "remove all {path}");
            assert_eq!(kind(root.rename(path, "x", Replace::Allow)), outside, "rename {path}");
            assert_eq!(kind(root.rename("a", path, Replace::Allow)), outside, "rename to {path}");
            assert_eq!(kind(root.symlink("x", path)), outside, "symlink {path}");
        }
        scene.assert_untouched();
        let error = root.open_read("out/file").unwrap_err().to_string();
        assert!(error.contains("leaves the workspace through the symbolic link \"out\""), "{error}");
    });
}

#[test]
fn links_that_stay_inside_are_followed_also_absolute_ones() {
    both_ways(|scene| {
        std::fs::create_dir_all(scene.inside("a/b")).unwrap();
        std::fs::write(scene.inside("a/b/file"), "x").unwrap();
        symlink(scene.inside("a"), scene.inside("absolute")).unwrap();
        symlink("../b/../b/file", scene.inside("a/b/relative")).unwrap();
        symlink(scene.inside(""), scene.inside("self")).unwrap();
        for path in
            ["absolute/b/file", "a/b/relative", "self/absolute/b/relative", "a/../a/b/./file", "a//b/file"]
        {
            assert_eq!(read(&scene.root, path), "x", "{path}");
        }
        assert_eq!(read(&scene.root, scene.inside("absolute/b/relative")), "x");
        assert_eq!(names(&scene.root, "absolute/"), ["b"]);
    });
}

#[test]
fn a_root_opened_through_a_link_knows_both_its_names() {
    let scene = Scene::new();
    let alias = scene.directory.path().join("alias");
    symlink(scene.inside(""), &alias).unwrap();
    std::fs::write(scene.inside("file"), "x").unwrap();
    let root = Root::open(&alias).unwrap();
    assert_eq!(read(&root, alias.join("file")), "x");
    assert_eq!(read(&root, scene.inside("file")), "x");
    let sibling = scene.directory.path().join("inside-not");
    assert_eq!(kind(root.open_read(sibling)), TreeErrorKind::Outside);
}

#[test]
fn an_absolute_path_keeps_its_meaning_however_it_is_written() {
    both_ways(|scene| {
        std::fs::create_dir_all(scene.inside("a/b")).unwrap();
        let inside = scene.inside("").to_str().unwrap().to_owned();
        for path in ["a", "a/", "a//", "a/.", "a/./", "/a//./", "a/b/.."] {
            assert_eq!(names(&scene.root, &format!("{inside}{path}")), ["b"], "{path}");
        }
        for path in ["", "/", ".", "./."] {
            assert_eq!(names(&scene.root, &format!("{inside}{path}")), ["a"], "{path}");
        }
        std::fs::write(scene.inside("file"), "x").unwrap();
        for path in ["file/", "file/."] {
            assert_eq!(
                kind(scene.root.stat(format!("{inside}{path}"), Links::Keep)),
                TreeErrorKind::NotADirectory
            );
        }
    });
}

#[test]
fn an_exclusive_creation_follows_no_link() {
    both_ways(|scene| {
        symlink("target", scene.inside("relative")).unwrap();
        symlink(scene.inside("target"), scene.inside("absolute")).unwrap();
        for path in ["relative", "absolute"] {
            let made = scene.root.open_write(path, &OpenOptions::create_new());
            assert_eq!(kind(made), TreeErrorKind::AlreadyExists);
        }
        assert!(!scene.inside("target").exists());
    });
}

#[test]
fn endless_links_end_in_an_error() {
    both_ways(|scene| {
        symlink("b", scene.inside("a")).unwrap();
        symlink("a", scene.inside("b")).unwrap();
        assert_eq!(kind(scene.root.open_read("a")), TreeErrorKind::InvalidPath);
        assert_eq!(kind(scene.root.open_read("a/x")), TreeErrorKind::InvalidPath);
    });
}

#[test]
fn magic_links_do_not_lead_out() {
    both_ways(|scene| {
        symlink("/proc/self/root/etc/passwd", scene.inside("a")).unwrap();
        symlink("/proc/self/cwd", scene.inside("b")).unwrap();
        assert_eq!(kind(scene.root.open_read("a")), TreeErrorKind::Outside);
        assert_eq!(kind(scene.root.read_dir("b")), TreeErrorKind::Outside);
    });
}

#[test]
fn impossible_paths_are_clear_errors() {
    both_ways(|scene| {
        let long = "x".repeat(256);
        let deep = "d/".repeat(2100);
        for path in ["", "a\0b", &long, &deep] {
            assert_eq!(kind(scene.root.open_write(path, &OpenOptions::create())), TreeErrorKind::InvalidPath);
            assert_eq!(kind(scene.root.mkdir(path, &MkdirOptions::default())), TreeErrorKind::InvalidPath);
        }
        let fits = "x".repeat(255);
        write(&scene.root, &fits, "y");
        assert_eq!(read(&scene.root, &fits), "y");
        for path in [".", "..", "a/..", "/"] {
            assert!(scene.root.remove_all(path).is_err(), "{path}");
        }
    });
}

#[test]
fn names_of_any_bytes_work() {
    both_ways(|scene| {
        for name in [&b"new\nline"[..], b"\xff\xfe", b"-rf", b" ", b"a\\b"] {
            let name = Path::new(std::ffi::OsStr::from_bytes(name));
            write(&scene.root, name, "x");
            assert_eq!(read(&scene.root, name), "x");
        }
        assert_eq!(scene.root.read_dir(".").unwrap().count(), 5);
    });
}

#[test]
fn a_pipe_in_the_place_of_a_file_blocks_nobody() {
    both_ways(|scene| {
        let pipe = scene.inside("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        assert_eq!(kind(scene.root.open_read("pipe")), TreeErrorKind::NotAFile);
        assert_eq!(kind(scene.root.open_write("pipe", &OpenOptions::create())), TreeErrorKind::NotAFile);
        assert_eq!(kind(scene.root.write_atomic("pipe", AtomicOptions::default())), TreeErrorKind::NotAFile);
        assert_eq!(scene.root.stat("pipe", Links::Follow).unwrap().kind, FileKind::Fifo);
    });
}

#[test]
fn writing_makes_parents_only_on_request() {
    both_ways(|scene| {
        let create = OpenOptions::create();
        assert_eq!(kind(scene.root.open_write("a/b/c", &create)), TreeErrorKind::NotFound);
        scene.root.open_write("a/b/c", &create.parents(true)).unwrap();
        assert_eq!(kind(scene.root.write_atomic("d/e/f", AtomicOptions::default())), TreeErrorKind::NotFound);
        let file = scene.root.write_atomic("d/e/f", AtomicOptions::default().parents(true)).unwrap();
        file.commit().unwrap();
        assert_eq!(names(&scene.root, "d/e"), ["f"]);
        assert_eq!(
            kind(scene.root.open_write("a/b/c", &OpenOptions::create_new())),
            TreeErrorKind::AlreadyExists
        );
        assert_eq!(kind(scene.root.open_write("a/b", &create)), TreeErrorKind::IsADirectory);
        assert_eq!(
            kind(scene.root.open_write("a/b/c/d", &create.parents(true))),
            TreeErrorKind::NotADirectory
        );
    });
}

#[test]
fn mkdir_tells_what_is_there_already() {
    both_ways(|scene| {
        let plain = MkdirOptions::default();
        scene.root.mkdir("a", &plain.mode(0o700)).unwrap();
        assert_eq!(std::fs::metadata(scene.inside("a")).unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(kind(scene.root.mkdir("a", &plain)), TreeErrorKind::AlreadyExists);
        assert_eq!(kind(scene.root.mkdir("x/y", &plain)), TreeErrorKind::NotFound);
        for path in ["a", "a/b/c", "a/b/c/", "./", "."] {
            scene.root.mkdir(path, &plain.parents(true)).unwrap();
        }
        std::fs::write(scene.inside("file"), "").unwrap();
        assert_eq!(kind(scene.root.mkdir("file", &plain.parents(true))), TreeErrorKind::AlreadyExists);
        assert_eq!(kind(scene.root.mkdir("file/x", &plain.parents(true))), TreeErrorKind::NotADirectory);
    });
}

#[test]
fn stat_tells_links_from_targets() {
    both_ways(|scene| {
        std::fs::write(scene.inside("file"), "12345").unwrap();
        symlink("file", scene.inside("link")).unwrap();
        assert_eq!(scene.root.stat("link", Links::Follow).unwrap().size_bytes, 5);
        assert_eq!(scene.root.stat("link", Links::Keep).unwrap().kind, FileKind::Symlink);
        assert_eq!(scene.root.stat(".", Links::Keep).unwrap().kind, FileKind::Directory);
        assert_eq!(scene.root.read_link("link").unwrap(), Path::new("file"));
        assert_eq!(kind(scene.root.stat("file/", Links::Keep)), TreeErrorKind::NotADirectory);
        assert_eq!(kind(scene.root.stat("nothing", Links::Keep)), TreeErrorKind::NotFound);
    });
}

#[test]
fn rename_replaces_or_refuses() {
    both_ways(|scene| {
        write(&scene.root, "a", "a");
        write(&scene.root, "b", "b");
        assert_eq!(kind(scene.root.rename("a", "b", Replace::Refuse)), TreeErrorKind::AlreadyExists);
        scene.root.rename("a", "b", Replace::Allow).unwrap();
        assert_eq!(read(&scene.root, "b"), "a");
        scene.root.rename("b", "c", Replace::Refuse).unwrap();
        assert_eq!(kind(scene.root.rename("b", "c", Replace::Allow)), TreeErrorKind::NotFound);
    });
}

#[test]
fn chmod_and_times_work_on_files_without_any_permission() {
    both_ways(|scene| {
        write(&scene.root, "file", "x");
        scene.root.chmod("file", 0).unwrap();
        scene.root.chmod("file", 0o640).unwrap();
        assert_eq!(scene.root.stat("file", Links::Follow).unwrap().mode, 0o640);
        for time in [
            SystemTime::UNIX_EPOCH - Duration::from_millis(1500),
            SystemTime::UNIX_EPOCH + Duration::new(9, 7),
        ] {
            let times = Times { accessed: None, modified: Some(time) };
            scene.root.set_times("file", times, Links::Follow).unwrap();
            assert_eq!(std::fs::metadata(scene.inside("file")).unwrap().modified().unwrap(), time);
        }
    });
}

#[test]
fn an_atomic_write_leaves_nothing_when_it_is_dropped() {
    both_ways(|scene| {
        write(&scene.root, "file", "old");
        let mut file = scene.root.write_atomic("file", AtomicOptions::default()).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(names(&scene.root, ".").len(), 2);
        drop(file);
        assert_eq!(names(&scene.root, "."), ["file"]);
        assert_eq!(read(&scene.root, "file"), "old");
    });
}

#[test]
fn an_atomic_write_that_cannot_be_renamed_leaves_nothing() {
    both_ways(|scene| {
        let file = scene.root.write_atomic("x", AtomicOptions::default().sync(true)).unwrap();
        std::fs::create_dir(scene.inside("x")).unwrap();
        assert_eq!(kind(file.commit()), TreeErrorKind::IsADirectory);
        assert_eq!(names(&scene.root, "."), ["x"]);
    });
}

#[test]
fn an_atomic_write_keeps_the_mode_but_not_setuid() {
    both_ways(|scene| {
        write(&scene.root, "file", "old");
        scene.root.chmod("file", 0o4751).unwrap();
        write(&scene.root, "file", "new");
        assert_eq!(scene.root.stat("file", Links::Follow).unwrap().mode, 0o751);
        scene.root.write_atomic("file", AtomicOptions::default().mode(0o604)).unwrap().commit().unwrap();
        assert_eq!(scene.root.stat("file", Links::Follow).unwrap().mode, 0o604);
    });
}

#[test]
fn an_atomic_write_goes_to_where_a_link_points() {
    both_ways(|scene| {
        std::fs::create_dir(scene.inside("d")).unwrap();
        write(&scene.root, "d/file", "old");
        symlink("d/file", scene.inside("link")).unwrap();
        symlink("d/missing", scene.inside("dangling")).unwrap();
        write(&scene.root, "link", "new");
        write(&scene.root, "dangling", "made");
        assert_eq!(read(&scene.root, "d/file"), "new");
        assert_eq!(read(&scene.root, "d/missing"), "made");
        assert_eq!(scene.root.stat("link", Links::Keep).unwrap().kind, FileKind::Symlink);
    });
}

#[test]
fn an_atomic_write_does_not_reach_a_hard_linked_outsider() {
    let scene = Scene::new();
    std::fs::hard_link(scene.outside().join("file"), scene.inside("x")).unwrap();
    write(&scene.root, "x", "new");
    scene.assert_untouched();
}

#[test]
fn a_subtree_forbids_what_its_parent_allows() {
    both_ways(|scene| {
        std::fs::create_dir(scene.inside("a")).unwrap();
        write(&scene.root, "file", "x");
        symlink("../file", scene.inside("a/link")).unwrap();
        assert_eq!(read(&scene.root, "a/link"), "x");
        let subtree = scene.root.subtree("a").unwrap();
        assert_eq!(kind(subtree.open_read("link")), TreeErrorKind::Outside);
    });
}

#[test]
fn a_root_of_everything_allows_everything() {
    let scene = Scene::new();
    symlink(scene.outside(), scene.inside("out")).unwrap();
    for root in [Root::open("/").unwrap(), Root::open("/").unwrap().without_openat2()] {
        assert_eq!(read(&root, scene.inside("out/file")), super::SECRET);
        assert_eq!(read(&root, Path::new("/../../").join(scene.inside("out/file"))), super::SECRET);
        assert!(root.stat("/", Links::Follow).unwrap().kind == FileKind::Directory);
        let made = scene.inside("made");
        write(&root, &made, "x");
        assert_eq!(std::fs::metadata(&made).unwrap().size(), 1);
        root.remove_file(made).unwrap();
    }
}

#[test]
fn the_walker_climbs_out_of_more_levels_than_it_keeps_open() {
    let scene = Scene::new();
    let root = scene.root.without_openat2();
    let down = "d/".repeat(300);
    root.mkdir(&down, &MkdirOptions::default().parents(true)).unwrap();
    write(&root, "file", "x");
    let path = format!("{down}{}file", "../".repeat(300));
    assert_eq!(read(&root, &path), "x");
    assert_eq!(kind(root.open_read(format!("{down}{}file", "../".repeat(301)))), TreeErrorKind::Outside);
}
