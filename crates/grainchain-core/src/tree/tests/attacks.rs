//! Archives that want to reach outside

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tar::EntryType;

use super::{Forge, SECRET, Scene, kind};
use crate::tree::{OutsideLinks, Specials, TreeErrorKind, UnpackOptions, unpack};

#[test]
fn names_that_climb_or_are_absolute_are_refused() {
    for name in ["../x", "a/../../x", "a/..", "..", "/etc/x", "//x", "./../x"] {
        let scene = Scene::new();
        assert_eq!(
            kind(scene.unpack(&Forge::default().file(name, "x").end())),
            TreeErrorKind::Outside,
            "{name}"
        );
        assert!(!scene.directory.path().join("x").exists());
        scene.assert_untouched();
    }
}

#[test]
fn a_link_made_by_the_archive_is_not_followed() {
    let scene = Scene::new();
    for target in [scene.outside(), "../outside".into(), ".".into()] {
        let archive = Forge::default().symlink("a", &target).file("a/x", "x").end();
        let error = scene.unpack(&archive).unwrap_err();
        assert_eq!(error.kind(), TreeErrorKind::Outside);
        assert!(error.to_string().contains("leaves the workspace"), "{error}");
        scene.assert_untouched();
    }
}

#[test]
fn a_link_that_was_there_before_is_not_followed_at_any_position() {
    for position in 0..4 {
        let scene = Scene::new();
        let names = ["a", "b", "c", "d"];
        let parent = names[..position].join("/");
        std::fs::create_dir_all(scene.inside(&parent)).unwrap();
        symlink(scene.outside(), scene.inside(&parent).join(names[position])).unwrap();
        let archive = Forge::default().file("a/b/c/d/file", "overwritten").end();
        assert_eq!(kind(scene.unpack(&archive)), TreeErrorKind::Outside);
        scene.assert_untouched();
    }
}

#[test]
fn a_file_replaces_a_link_instead_of_writing_through_it() {
    let scene = Scene::new();
    symlink(scene.outside().join("file"), scene.inside("x")).unwrap();
    scene.unpack(&Forge::default().file("x", "new").end()).unwrap();
    assert_eq!(std::fs::read_to_string(scene.inside("x")).unwrap(), "new");
    assert!(std::fs::symlink_metadata(scene.inside("x")).unwrap().is_file());
    scene.assert_untouched();
}

#[test]
fn a_file_replaces_a_hard_link_instead_of_writing_through_it() {
    let scene = Scene::new();
    std::fs::hard_link(scene.outside().join("file"), scene.inside("x")).unwrap();
    scene.unpack(&Forge::default().file("x", "new").end()).unwrap();
    assert_eq!(std::fs::read_to_string(scene.outside().join("file")).unwrap(), SECRET);
}

#[test]
fn a_file_that_becomes_a_link_and_a_file_again_ends_as_a_file() {
    let scene = Scene::new();
    let target = scene.outside().join("file");
    let archive = Forge::default().file("x", "one").symlink("x", target).file("x", "two").end();
    scene.unpack(&archive).unwrap();
    assert_eq!(std::fs::read_to_string(scene.inside("x")).unwrap(), "two");
    scene.assert_untouched();
}

#[test]
fn a_directory_that_becomes_a_link_is_not_entered_through_what_was_remembered() {
    let scene = Scene::new();
    let archive = Forge::default().directory("d").symlink("d", scene.outside()).file("d/x", "x").end();
    assert_eq!(kind(scene.unpack(&archive)), TreeErrorKind::Outside);
    scene.assert_untouched();
}

#[test]
fn a_directory_that_becomes_a_link_gives_its_mode_to_nobody() {
    let scene = Scene::new();
    let before = std::fs::metadata(scene.outside()).unwrap();
    let archive = Forge::default().directory("d").symlink("d", scene.outside()).end();
    scene.unpack(&archive).unwrap();
    let after = std::fs::metadata(scene.outside()).unwrap();
    assert_eq!((before.mode(), before.mtime()), (after.mode(), after.mtime()));
}

#[test]
fn a_directory_entry_replaces_a_link_to_a_directory() {
    let scene = Scene::new();
    symlink(scene.outside(), scene.inside("d")).unwrap();
    scene.unpack(&Forge::default().directory("d").file("d/x", "x").end()).unwrap();
    assert!(std::fs::symlink_metadata(scene.inside("d")).unwrap().is_dir());
    scene.assert_untouched();
}

#[test]
fn hard_links_to_the_outside_are_refused() {
    let scene = Scene::new();
    symlink(scene.outside(), scene.inside("way")).unwrap();
    symlink(scene.outside().join("file"), scene.inside("leaf")).unwrap();
    let absolute = scene.outside().join("file");
    for target in ["../outside/file", absolute.to_str().unwrap(), "way/file", "leaf"] {
        let archive = Forge::default().link("x", target).end();
        assert_eq!(kind(scene.unpack(&archive)), TreeErrorKind::Outside, "{target}");
        scene.assert_untouched();
    }
}

#[test]
fn a_hard_link_to_a_file_of_the_archive_shares_it() {
    let scene = Scene::new();
    scene
        .unpack(&Forge::default().file("a/one", "x").link("b/two", "a/one").link("a/three", "a/one").end())
        .unwrap();
    let inode = |path| std::fs::metadata(scene.inside(path)).unwrap().ino();
    assert_eq!(inode("a/one"), inode("b/two"));
    assert_eq!(inode("a/one"), inode("a/three"));
}

#[test]
fn a_hard_link_to_itself_does_not_destroy_the_file() {
    let scene = Scene::new();
    let archive = Forge::default().file("x", "x").link("x", "x").end();
    assert_eq!(kind(scene.unpack(&archive)), TreeErrorKind::Corrupt);
    assert_eq!(std::fs::read_to_string(scene.inside("x")).unwrap(), "x");
}

#[test]
fn setuid_and_setgid_are_cleared_unless_asked_for() {
    let archive = |()| {
        let mut header = tar::Header::new_gnu();
        header.set_path("x").unwrap();
        header.set_mode(0o6755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        header.set_cksum();
        Forge::default().header(&header).end()
    };
    let scene = Scene::new();
    scene.unpack(&archive(())).unwrap();
    assert_eq!(std::fs::metadata(scene.inside("x")).unwrap().permissions().mode() & 0o7777, 0o755);
    unpack(&scene.root, ".", &archive(())[..], &UnpackOptions::default().set_ids(true)).unwrap();
    assert_eq!(std::fs::metadata(scene.inside("x")).unwrap().permissions().mode() & 0o7777, 0o6755);
}

#[test]
fn devices_and_pipes_are_skipped_with_a_report_or_refused() {
    for kind_of_entry in [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::new(b'Q')] {
        let scene = Scene::new();
        let archive = Forge::default().entry(kind_of_entry, b"x", b"", b"").file("y", "y").end();
        let report = scene.unpack(&archive).unwrap();
        assert_eq!((report.entries, report.skipped_count), (1, 1));
        assert!(!scene.inside("x").exists());
        let strict = UnpackOptions::default().specials(Specials::Refuse);
        assert_eq!(kind(unpack(&scene.root, ".", &archive[..], &strict)), TreeErrorKind::Other);
    }
}

#[test]
fn links_that_lead_out_can_be_refused_or_skipped() {
    for (name, target, out) in [
        ("a", "/etc/passwd", true),
        ("a", "..", true),
        ("a", "b/c", false),
        ("d/a", "../x", false),
        ("d/a", "../../x", true),
        ("d/a", "x/../y", true),
        ("d/e/a", "../../x", false),
    ] {
        let scene = Scene::new();
        let archive = Forge::default().symlink(name, target).end();
        let strict = UnpackOptions::default().outside_links(OutsideLinks::Refuse);
        assert_eq!(unpack(&scene.root, ".", &archive[..], &strict).is_err(), out, "{name} -> {target}");
        let loose = UnpackOptions::default().outside_links(OutsideLinks::Skip);
        let report = unpack(&scene.root, ".", &archive[..], &loose).unwrap();
        assert_eq!(report.skipped_count, u64::from(out), "{name} -> {target}");
    }
}

#[test]
fn the_destination_itself_keeps_its_mode_unless_asked() {
    let scene = Scene::new();
    let mode = || std::fs::metadata(scene.inside("")).unwrap().permissions().mode() & 0o777;
    let before = mode();
    let archive = Forge::default().directory("./").end();
    scene.unpack(&archive).unwrap();
    assert_eq!(mode(), before);
    unpack(&scene.root, ".", &archive[..], &UnpackOptions::default().top(true)).unwrap();
    assert_eq!(mode(), 0o644);
    std::fs::set_permissions(scene.inside(""), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_file_named_like_the_destination_is_refused() {
    let scene = Scene::new();
    for name in [".", "./", "././"] {
        assert_eq!(
            kind(scene.unpack(&Forge::default().symlink(name, "/").end())),
            TreeErrorKind::InvalidPath
        );
    }
    let nameless = Forge::default().file("", "x").end();
    assert_eq!(kind(scene.unpack(&nameless)), TreeErrorKind::InvalidPath);
}
