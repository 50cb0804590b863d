//! What a snapshot keeps.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};

use super::support::{Bench, describe, is_root, skipped};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A workspace with one of everything.
fn zoo(bench: &Bench) {
    bench.write("plain", "hello");
    bench.write("empty", "");
    bench.write("a/b/c/deep", vec![7; 3 << 20]);
    fs::create_dir_all(bench.path("hollow/inner")).unwrap();
    bench.write("linked/one", "twin");
    fs::create_dir(bench.path("elsewhere")).unwrap();
    fs::hard_link(bench.path("linked/one"), bench.path("elsewhere/two")).unwrap();
    fs::hard_link(bench.path("linked/one"), bench.path("linked/three")).unwrap();
    symlink("plain", bench.path("to-plain")).unwrap();
    symlink("/etc/passwd", bench.path("to-outside")).unwrap();
    symlink("nowhere", bench.path("dangling")).unwrap();
    fs::hard_link(bench.path("dangling"), bench.path("dangling-twin")).unwrap();
    bench.write("exe", "#!/bin/sh\n");
    set_mode(&bench.path("exe"), 0o4755);
    bench.write("secret", "s");
    set_mode(&bench.path("secret"), 0o000);
    fs::create_dir(bench.path("sticky")).unwrap();
    set_mode(&bench.path("sticky"), 0o1777);
    bench.write("locked/file", "x");
    set_mode(&bench.path("locked"), 0o555);
    mknodat(CWD, bench.path("pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    drop(UnixListener::bind(bench.path("sock")).unwrap());
    for name in [&b"bad-\xff\xfe"[..], b"new\nline", b"-rf", b" ", b"..."] {
        fs::write(bench.work.join(OsStr::from_bytes(name)), name).unwrap();
    }
    setxattr(bench.path("plain"), "user.color", b"blue\0green", XattrFlags::empty()).unwrap();
    setxattr(bench.path("hollow"), "user.note", b"", XattrFlags::empty()).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::new(981_173_106, 123_456_789);
    fs::File::open(bench.path("plain")).unwrap().set_modified(old).unwrap();
    fs::File::open(bench.path("hollow")).unwrap().set_modified(old).unwrap();
}

#[test]
fn everything_comes_back_after_the_workspace_was_emptied() {
    let bench = Bench::new();
    zoo(&bench);
    let before = describe(&bench.work);
    let root = fs::metadata(&bench.work).unwrap().ino();
    let snapshot = bench.create();
    assert_eq!(snapshot.entries as usize, before.len() - 1);
    assert!(snapshot.changing.is_empty());
    for entry in fs::read_dir(&bench.work).unwrap() {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
    }
    let report = bench.restore(&snapshot.id);
    assert_eq!(report.not_restored, []);
    assert_eq!(describe(&bench.work), before);
    assert_eq!(fs::metadata(&bench.work).unwrap().ino(), root, "the workspace keeps its inode");
}

#[test]
fn an_export_is_equal_to_the_workspace() {
    let bench = Bench::new();
    zoo(&bench);
    let before = describe(&bench.work);
    let snapshot = bench.create();
    assert_eq!(describe(&bench.export(&snapshot.id)), before);
}

#[test]
fn attributes_alone_come_back_without_replacing_the_file() {
    let bench = Bench::new();
    zoo(&bench);
    let before = describe(&bench.work);
    let snapshot = bench.create();
    let ino = fs::metadata(bench.path("plain")).unwrap().ino();
    set_mode(&bench.path("plain"), 0o600);
    setxattr(bench.path("plain"), "user.color", b"red", XattrFlags::empty()).unwrap();
    setxattr(bench.path("plain"), "user.more", b"x", XattrFlags::empty()).unwrap();
    set_mode(&bench.path("hollow"), 0o700);
    set_mode(&bench.path("locked"), 0o777);
    let report = bench.restore(&snapshot.id);
    assert_eq!(describe(&bench.work), before);
    assert_eq!(fs::metadata(bench.path("plain")).unwrap().ino(), ino);
    assert_eq!((report.replaced, report.retouched), (0, 3));
}

/// Puts something at a path.
type Maker = fn(&Path);

#[test]
fn every_kind_of_thing_can_replace_every_other() {
    let makers: [(&str, Maker); 6] = [
        ("file", |path| fs::write(path, "data").unwrap()),
        ("dir", |path| fs::create_dir(path).unwrap()),
        ("full", |path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("inside"), "data").unwrap();
        }),
        ("link", |path| symlink("/etc", path).unwrap()),
        ("fifo", |path| mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap()),
        ("none", |_| {}),
    ];
    let bench = Bench::new();
    let fill = |shift: usize| {
        for (at, (name, _)) in makers.iter().enumerate() {
            for (to, (other, _)) in makers.iter().enumerate() {
                let chosen = if shift == 0 { at } else { to };
                makers[chosen].1(&bench.path(&format!("{name}-{other}")));
            }
        }
    };
    fill(0);
    let first = (bench.create().id, describe(&bench.work));
    fs::remove_dir_all(&bench.work).unwrap();
    fs::create_dir(&bench.work).unwrap();
    fill(1);
    let second = (bench.create().id, describe(&bench.work));
    for (id, tree) in [&first, &second, &first] {
        bench.restore(id);
        assert_eq!(describe(&bench.work), *tree);
    }
}

#[test]
fn hard_links_that_were_cut_or_joined_come_back_as_they_were() {
    let bench = Bench::new();
    bench.write("a", "same");
    fs::hard_link(bench.path("a"), bench.path("b")).unwrap();
    bench.write("c", "same");
    bench.write("d", "same");
    let before = describe(&bench.work);
    let snapshot = bench.create();
    fs::remove_file(bench.path("b")).unwrap();
    fs::copy(bench.path("a"), bench.path("b")).unwrap();
    fs::remove_file(bench.path("d")).unwrap();
    fs::hard_link(bench.path("c"), bench.path("d")).unwrap();
    fs::hard_link(bench.path("c"), bench.path("e")).unwrap();
    bench.restore(&snapshot.id);
    assert_eq!(describe(&bench.work), before);
    assert_eq!(fs::metadata(bench.path("a")).unwrap().nlink(), 2);
    assert_eq!(fs::metadata(bench.path("c")).unwrap().nlink(), 1);
}

#[test]
fn sparse_files_stay_sparse_and_their_holes_are_not_read() {
    let bench = Bench::new();
    let file = fs::File::create(bench.path("sparse")).unwrap();
    // Reading this much would take hours.
    let size = 8 << 40;
    file.set_len(size).unwrap();
    file.write_all_at(b"start", 0).unwrap();
    file.write_all_at(b"middle", 3 << 40).unwrap();
    file.write_all_at(b"end", size - 3).unwrap();
    fs::File::create(bench.path("only-a-hole")).unwrap().set_len(1 << 40).unwrap();
    let blocks = file.metadata().unwrap().blocks();
    assert!(blocks < 1000);
    let snapshot = bench.create();
    assert_eq!(snapshot.size_bytes, size + (1 << 40));
    let copy = fs::File::open(bench.export(&snapshot.id).join("sparse")).unwrap();
    assert_eq!((copy.metadata().unwrap().len(), copy.metadata().unwrap().blocks()), (size, blocks));
    for (offset, text) in [(0, &b"start"[..]), (3 << 40, b"middle"), (size - 3, b"end")] {
        let mut found = vec![0; text.len()];
        copy.read_exact_at(&mut found, offset).unwrap();
        assert_eq!(found, text);
    }
    file.write_all_at(b"START", 0).unwrap();
    fs::remove_file(bench.path("only-a-hole")).unwrap();
    bench.restore(&snapshot.id);
    let back = fs::File::open(bench.path("sparse")).unwrap();
    let mut found = [0; 5];
    back.read_exact_at(&mut found, 0).unwrap();
    assert_eq!(&found, b"start");
    assert_eq!(back.metadata().unwrap().blocks(), blocks);
    let hole = fs::metadata(bench.path("only-a-hole")).unwrap();
    assert_eq!((hole.len(), hole.blocks()), (1 << 40, 0));
}

#[test]
fn a_restore_of_what_is_there_touches_nothing() {
    let bench = Bench::new();
    zoo(&bench);
    let snapshot = bench.create();
    let ctimes = || -> Vec<_> {
        fs::read_dir(&bench.work)
            .unwrap()
            .map(|entry| fs::symlink_metadata(entry.unwrap().path()).unwrap())
            .map(|meta| (meta.ino(), meta.ctime(), meta.ctime_nsec()))
            .collect()
    };
    let before = ctimes();
    let report = bench.restore(&snapshot.id);
    assert_eq!((report.added, report.replaced, report.removed, report.retouched), (0, 0, 0, 0));
    assert_eq!(ctimes(), before);
}

#[test]
fn owners_and_devices_come_back_for_root() {
    if !is_root() {
        return skipped("owners and devices need root");
    }
    let bench = Bench::new();
    bench.write("theirs", "x");
    std::os::unix::fs::chown(bench.path("theirs"), Some(12345), Some(54321)).unwrap();
    set_mode(&bench.path("theirs"), 0o6755);
    let null = fs::metadata("/dev/null").unwrap().rdev();
    if mknodat(CWD, bench.path("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), null).is_err()
    {
        skipped("devices need CAP_MKNOD");
    }
    let before = describe(&bench.work);
    let snapshot = bench.create();
    assert_eq!(describe(&bench.export(&snapshot.id)), before);
    fs::remove_file(bench.path("theirs")).unwrap();
    bench.write("theirs", "y");
    bench.restore(&snapshot.id);
    assert_eq!(describe(&bench.work), before);
}

#[test]
fn a_tree_deeper_than_any_path_survives() {
    let bench = Bench::new();
    let mut dir = rustix::fs::open(&bench.work, rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
    let name = "d".repeat(200);
    for _ in 0..200 {
        rustix::fs::mkdirat(&dir, name.as_str(), Mode::RWXU).unwrap();
        dir = rustix::fs::openat(&dir, name.as_str(), rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    let bottom = rustix::fs::openat(&dir, "bottom", flags, Mode::RUSR | Mode::WUSR).unwrap();
    rustix::io::write(&bottom, b"deep").unwrap();
    let full = bench.create();
    assert_eq!(full.entries, 201);
    rustix::fs::renameat(CWD, bench.path(&name), CWD, bench.dir.path().join("away")).unwrap();
    let empty = bench.create();
    bench.restore(&full.id);
    // Deep again: a snapshot of it equals the first one, and it can be removed in one go.
    let again = bench.create();
    assert_eq!((again.entries, again.added_bytes), (201, 0));
    let report = bench.restore(&empty.id);
    assert_eq!(report.removed, 1);
    assert_eq!(fs::read_dir(&bench.work).unwrap().count(), 0);
}
