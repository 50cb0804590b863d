//! Damaged stores, missing permissions, full disks.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, XattrFlags, ioctl_getflags, ioctl_setflags, setxattr};

use super::support::{Bench, describe, is_root, quiet, skipped};
use crate::snapshot::{CreateOptions, Error, Problem, RestoreOptions, SnapshotId, Store};

fn try_restore(bench: &Bench, id: &SnapshotId) -> Error {
    bench.store.restore(&bench.work, id, &RestoreOptions::default().writers(quiet())).unwrap_err()
}

fn manifest(bench: &Bench, id: &SnapshotId) -> PathBuf {
    bench.dir.path().join("snapshots/manifests").join(id.as_str())
}

#[test]
fn a_damaged_manifest_is_reported_and_the_others_are_listed() {
    let bench = Bench::new();
    bench.write("file", "x");
    let good = bench.create();
    let bad = bench.create();
    let path = manifest(&bench, &bad.id);
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[60] ^= 1;
    for garbage in [&b""[..], b"{}", &whole[..whole.len() - 1], &[0; 4096], &flipped] {
        fs::write(&path, garbage).unwrap();
        let (listed, broken) = bench.store.list().unwrap();
        assert_eq!(listed, std::slice::from_ref(&good));
        assert_eq!(broken[0].file_name.to_str(), Some(bad.id.as_str()));
        let error = try_restore(&bench, &bad.id);
        assert!(matches!(error.problem(), Problem::Damaged(_)), "{error}");
    }
    fs::write(bench.dir.path().join("snapshots/manifests/README"), "?").unwrap();
    assert_eq!(bench.store.list().unwrap().1.len(), 2);
}

#[test]
fn damage_in_the_tree_of_a_manifest_is_noticed_when_it_is_restored() {
    let bench = Bench::new();
    bench.write("file", "x");
    let snapshot = bench.create();
    let path = manifest(&bench, &snapshot.id);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = try_restore(&bench, &snapshot.id);
    assert!(matches!(error.problem(), Problem::Damaged(_)), "{error}");
}

#[test]
fn nothing_is_swept_while_a_manifest_is_unreadable() {
    let bench = Bench::new();
    bench.write("file", "precious");
    let damaged = bench.create();
    bench.write("file", "other");
    let other = bench.create();
    let whole = fs::read(manifest(&bench, &damaged.id)).unwrap();
    fs::write(manifest(&bench, &damaged.id), &whole[..50]).unwrap();
    let deleted = bench.store.delete(&other.id).unwrap();
    assert_eq!((deleted.freed_bytes, deleted.kept_for.len()), (0, 1));
    // Repaired by hand, it is whole again.
    fs::write(manifest(&bench, &damaged.id), whole).unwrap();
    bench.restore(&damaged.id);
    assert_eq!(bench.read("file"), b"precious");
    // And an unreadable one can be removed like any other.
    fs::write(manifest(&bench, &damaged.id), "garbage").unwrap();
    bench.store.delete(&damaged.id).unwrap();
    assert_eq!(bench.objects().len(), 0);
}

#[test]
fn missing_or_damaged_data_are_named_and_nothing_is_half_restored() {
    let bench = Bench::new();
    bench.write("dir/small", "original");
    bench.write("dir/large", vec![1; 2 << 20]);
    let snapshot = bench.create();
    let objects = bench.objects();
    bench.write("dir/small", "changed");
    bench.write("dir/large", "changed");
    bench.write("new", "new");
    let before = describe(&bench.work);
    for object in &objects {
        let whole = fs::read(object).unwrap();
        let name = object.file_name().unwrap().to_str().unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        fs::set_permissions(object, fs::Permissions::from_mode(0o600)).unwrap();
        for damage in [None, Some(&flipped[..]), Some(&whole[1..]), Some(&b""[..])] {
            match damage {
                None => fs::remove_file(object).unwrap(),
                Some(bytes) => fs::write(object, bytes).unwrap(),
            }
            let error = try_restore(&bench, &snapshot.id);
            assert!(matches!(error.problem(), Problem::Damaged(what) if what.contains(name)), "{error}");
            assert!(error.path().starts_with("dir"), "{error}");
            assert_eq!(describe(&bench.work), before);
            let dir = bench.dir.path().join("out");
            fs::create_dir(&dir).unwrap();
            assert!(bench.store.export(&snapshot.id, &dir).is_err());
            fs::remove_dir(&dir).expect("a failed export leaves its directory empty");
        }
        fs::write(object, whole).unwrap();
    }
    bench.restore(&snapshot.id);
    assert_eq!(bench.read("dir/small"), b"original");
}

#[test]
fn a_cut_off_object_is_stored_again_when_its_data_turn_up() {
    let bench = Bench::new();
    bench.write("file", vec![1; 1000]);
    bench.create();
    let object = &bench.objects()[0];
    fs::set_permissions(object, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(object, "").unwrap();
    let snapshot = bench.create();
    assert_eq!(fs::read(bench.export(&snapshot.id).join("file")).unwrap(), vec![1; 1000]);
}

#[test]
fn an_export_into_a_directory_in_use_is_refused() {
    let bench = Bench::new();
    bench.write("file", "x");
    let snapshot = bench.create();
    let error = bench.store.export(&snapshot.id, &bench.work).unwrap_err();
    assert!(matches!(error.problem(), Problem::Refused(_)), "{error}");
    assert_eq!(bench.read("file"), b"x");
}

#[test]
fn another_file_system_can_be_captured_and_exported_to_but_not_restored_in_place() {
    let shm = Path::new("/dev/shm");
    if !shm.is_dir() {
        return skipped("there is no second file system at /dev/shm");
    }
    let bench = Bench::new();
    let far = Bench::below(shm);
    far.write("file", "x");
    let before = describe(&far.work);
    let snapshot = bench.store.create(&far.work, CreateOptions::default()).unwrap();
    let error = bench.store.restore(&far.work, &snapshot.id, &RestoreOptions::default()).unwrap_err();
    assert!(matches!(error.problem(), Problem::Refused(_)), "{error}");
    let out = far.dir.path().join("out");
    fs::create_dir(&out).unwrap();
    bench.store.export(&snapshot.id, &out).unwrap();
    assert_eq!(describe(&out), before);
}

#[test]
fn where_blocks_cannot_be_shared_data_are_copied() {
    let bench = Bench::new();
    bench.write("file", vec![3; 1 << 20]);
    let snapshot = bench.create();
    assert_eq!(fs::read(bench.export(&snapshot.id).join("file")).unwrap(), vec![3; 1 << 20]);
    let magic = rustix::fs::statfs(&bench.work).unwrap().f_type;
    if magic == 0xef53 {
        assert!(!bench.store.objects.reflinks(), "ext4 refuses, and that is remembered");
    }
    let without = Store::open_with(&bench.dir.path().join("snapshots"), false).unwrap();
    bench.write("file", vec![4; 1 << 20]);
    let copied = without.create(&bench.work, CreateOptions::default().writers(quiet())).unwrap();
    assert_eq!(fs::read(bench.export(&copied.id).join("file")).unwrap(), vec![4; 1 << 20]);
}

/// How many bytes are free on the file system of `path`, with everything written out.
fn free(path: &Path) -> u64 {
    rustix::fs::syncfs(fs::File::open(path).unwrap()).unwrap();
    let stat = rustix::fs::statvfs(path).unwrap();
    stat.f_bfree * stat.f_frsize
}

/// Shares blocks in `bench`, whose file system can, and sees that nothing else is shared.
fn shares_blocks(bench: &Bench) {
    const SIZE: usize = 64 << 20;
    let data: Vec<u8> = (0..SIZE).map(|at| (at / 4096 % 251) as u8).collect();
    bench.write("large", &data);
    bench.write("small", "x");
    let before = describe(&bench.work);
    let room = free(&bench.work);
    let snapshot = bench.create();
    let export = bench.export(&snapshot.id);
    let used = room.saturating_sub(free(&bench.work));
    assert!(used < SIZE as u64 / 2, "{used} bytes more for a snapshot and an export of {SIZE}");
    assert!(bench.store.objects.reflinks(), "no attempt was refused");
    assert_eq!(describe(&export), before);
    // Whoever writes to one of them writes to no other.
    for copy in [bench.path("large"), export.join("large")] {
        fs::OpenOptions::new().write(true).open(copy).unwrap().write_all_at(b"changed", 4096).unwrap();
    }
    bench.restore(&snapshot.id);
    assert_eq!(describe(&bench.work), before);
    bench.write("large", "short");
    bench.restore(&snapshot.id);
    assert_eq!(describe(&bench.work), before);
}

#[test]
fn where_blocks_can_be_shared_a_snapshot_takes_no_room() {
    let bench = Bench::new();
    if !is_root() {
        return skipped("a file system that shares blocks needs root");
    }
    let (image, disk) = (bench.dir.path().join("image"), bench.path("disk"));
    fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
    fs::create_dir(&disk).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        command.args(arguments).stdout(std::process::Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let (image, disk) = (image.to_str().unwrap(), disk.to_str().unwrap());
    if !run("mkfs.xfs", &["-q", image]) && !run("mkfs.btrfs", &["-q", image]) {
        return skipped("there is neither mkfs.xfs nor mkfs.btrfs");
    }
    if !run("mount", &["-o", "loop", image, disk]) {
        return skipped("a file system in a file cannot be mounted");
    }
    let shared = std::panic::catch_unwind(|| shares_blocks(&Bench::below(Path::new(disk))));
    assert!(run("umount", &[disk]));
    if let Err(panic) = shared {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_change_that_the_system_refuses_half_way_is_undone() {
    if !is_root() {
        return skipped("only root may make a file immutable");
    }
    let bench = Bench::new();
    for name in ["a", "b", "c"] {
        bench.write(name, "old");
        bench.write(&format!("dir/{name}"), "old");
    }
    let snapshot = bench.create();
    for name in ["a", "b", "c"] {
        bench.write(name, "new");
        fs::remove_file(bench.path(&format!("dir/{name}"))).unwrap();
        bench.write(&format!("dir/{name}{name}"), "new");
    }
    let stuck = fs::File::open(bench.path("c")).unwrap();
    let flags = ioctl_getflags(&stuck).unwrap();
    if ioctl_setflags(&stuck, flags | IFlags::IMMUTABLE).is_err() {
        return skipped("this file system knows no immutable files");
    }
    let before = describe(&bench.work);
    let error = try_restore(&bench, &snapshot.id);
    ioctl_setflags(&stuck, flags).unwrap();
    assert_eq!(error.path(), bench.path("c"));
    assert_eq!(describe(&bench.work), before);
    bench.restore(&snapshot.id);
    assert_eq!(bench.read("c"), b"old");
}

/// Runs `work` as a user without privileges, who gets everything below the bench.
fn without_privileges(bench: &Bench, work: impl FnOnce() + Send) {
    if !is_root() {
        return work();
    }
    assert!(
        std::process::Command::new("chown")
            .arg("-R")
            .arg("65534:65534")
            .arg(bench.dir.path())
            .status()
            .unwrap()
            .success()
    );
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // Of this thread and those it starts, not of the process.
            let (uid, gid) = (rustix::fs::Uid::from_raw(65534), rustix::fs::Gid::from_raw(65534));
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            if fs::read_dir(bench.dir.path()).is_err() {
                return skipped("an ordinary user cannot reach the scratch directory");
            }
            work();
        });
        thread.join().unwrap();
    });
}

#[test]
fn an_unreadable_file_fails_the_snapshot_and_is_named() {
    let bench = Bench::new();
    bench.write("fine", "x");
    bench.write("dir/closed", "x");
    fs::set_permissions(bench.path("dir/closed"), fs::Permissions::from_mode(0o000)).unwrap();
    without_privileges(&bench, || {
        let error = bench.store.create(&bench.work, CreateOptions::default().writers(quiet())).unwrap_err();
        assert_eq!(error.path(), bench.path("dir/closed"));
        assert!(error.to_string().contains("ermission denied"), "{error}");
        assert_eq!(bench.store.list().unwrap().0, []);
        fs::set_permissions(bench.path("dir/closed"), fs::Permissions::from_mode(0o600)).unwrap();
        bench.create();
    });
}

#[test]
fn directories_that_forbid_changes_are_restored_by_their_owner() {
    let bench = Bench::new();
    let set =
        |name: &str, mode| fs::set_permissions(bench.path(name), fs::Permissions::from_mode(mode)).unwrap();
    without_privileges(&bench, || {
        bench.write("locked/changed", "old");
        bench.write("locked/gone/inner", "old");
        bench.write("removed/locked/inner", "old");
        for name in ["locked/gone", "locked", "removed/locked", "removed"] {
            set(name, 0o555);
        }
        let before = describe(&bench.work);
        let first = bench.create();
        for name in ["locked/gone", "locked", "removed/locked", "removed"] {
            set(name, 0o755);
        }
        bench.write("locked/changed", "new");
        fs::remove_dir_all(bench.path("locked/gone")).unwrap();
        fs::remove_dir_all(bench.path("removed")).unwrap();
        bench.write("locked/more/inner", "new");
        set("locked/more", 0o555);
        set("locked", 0o555);
        let after = describe(&bench.work);
        let second = bench.create();
        bench.restore(&first.id);
        assert_eq!(describe(&bench.work), before);
        bench.restore(&second.id);
        assert_eq!(describe(&bench.work), after);
        set("locked", 0o755);
        set("locked/more", 0o755);
    });
}

#[test]
fn what_was_closed_meanwhile_is_restored_by_its_owner() {
    let bench = Bench::new();
    let set =
        |name: &str, mode| fs::set_permissions(bench.path(name), fs::Permissions::from_mode(mode)).unwrap();
    without_privileges(&bench, || {
        bench.write("closed", "old");
        bench.write("labelled", "old");
        fs::create_dir(bench.path("folder")).unwrap();
        let before = describe(&bench.work);
        let snapshot = bench.create();
        for name in ["labelled", "folder"] {
            if setxattr(bench.path(name), "user.color", b"red", XattrFlags::empty()).is_err() {
                return skipped("this file system keeps no attributes of users");
            }
            set(name, 0o555);
        }
        set("closed", 0o000);
        bench.restore(&snapshot.id);
        assert_eq!(describe(&bench.work), before);
    });
}

#[test]
fn an_owner_that_cannot_be_given_back_is_reported_and_lends_no_identity() {
    if !is_root() {
        return skipped("another owner needs root");
    }
    let bench = Bench::new();
    bench.write("tool", "x");
    fs::set_permissions(bench.path("tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    let snapshot = bench.create();
    without_privileges(&bench, || {
        let dir = bench.dir.path().join("out");
        fs::create_dir(&dir).unwrap();
        let report = bench.store.export(&snapshot.id, &dir).unwrap();
        let about_tool: Vec<_> =
            report.not_restored.iter().filter(|(path, _)| path == Path::new("tool")).collect();
        assert_eq!(about_tool.len(), 2, "{report:?}");
        assert_eq!(fs::metadata(dir.join("tool")).unwrap().permissions().mode() & 0o7777, 0o755);
    });
}

#[test]
fn a_full_disk_leaves_the_old_state() {
    if !is_root() {
        return skipped("a small file system needs root");
    }
    let outer = Bench::new();
    let disk = outer.path("disk");
    fs::create_dir(&disk).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "none"])
        .arg(&disk)
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        return skipped("mounting is not permitted");
    }
    let full = std::panic::catch_unwind(|| {
        let bench = Bench::below(&disk);
        bench.write("big", vec![1; 1 << 20]);
        let first = bench.create();
        fs::remove_file(bench.path("big")).unwrap();
        bench.write("filler", vec![2; 5 << 19]);
        let before = describe(&bench.work);
        let is_full =
            |error: &Error| matches!(error.problem(), Problem::Io(error) if error.raw_os_error() == Some(28));
        let error = bench.store.create(&bench.work, CreateOptions::default().writers(quiet())).unwrap_err();
        assert!(is_full(&error), "{error}");
        assert_eq!(bench.store.list().unwrap().0, std::slice::from_ref(&first));
        assert_eq!(bench.objects().len(), 1, "what had been stored is freed again");
        let error = try_restore(&bench, &first.id);
        assert!(is_full(&error), "{error}");
        assert_eq!(describe(&bench.work), before);
        fs::remove_file(bench.path("filler")).unwrap();
        bench.restore(&first.id);
        assert_eq!(bench.read("big"), vec![1; 1 << 20]);
    });
    assert!(std::process::Command::new("umount").arg("--lazy").arg(&disk).status().unwrap().success());
    if let Err(panic) = full {
        std::panic::resume_unwind(panic);
    }
}
