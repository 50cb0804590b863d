//! A hostile workspace: it must not change a snapshot, read the host, or write to the host.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

use super::support::{Bench, describe, is_root, quiet, skipped};
use crate::snapshot::failpoint::at_step;
use crate::snapshot::{CreateOptions, LiveWriters, Problem, RestoreOptions, Writers};

/// Runs `attack` over and over on a thread of its own while `work` runs.
fn meanwhile<T>(mut attack: impl FnMut() + Send, work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                attack();
            }
        });
        // Also when `work` panics, lest the test hang.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = Stop(&stop);
        work()
    })
}

fn inodes_below(dir: &Path) -> Vec<u64> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                pending.push(path);
            } else {
                found.push(meta.ino());
            }
        }
    }
    found
}

#[test]
fn the_store_shares_no_inode_with_the_workspace() {
    let bench = Bench::new();
    for size in [1, 1000, 100_000, 3 << 20] {
        bench.write(&format!("file-{size}"), vec![5; size]);
    }
    let snapshot = bench.create();
    let check = |dir: &Path| {
        let stored = inodes_below(&bench.dir.path().join("snapshots"));
        assert!(inodes_below(dir).iter().all(|ino| !stored.contains(ino)));
    };
    check(&bench.work);
    fs::remove_file(bench.path("file-1000")).unwrap();
    bench.write("file-100000", "x");
    bench.restore(&snapshot.id);
    check(&bench.work);
    check(&bench.export(&snapshot.id));
}

#[test]
fn writing_in_place_after_snapshot_and_restore_changes_no_snapshot() {
    let bench = Bench::new();
    bench.write("file", vec![1; 200_000]);
    let held = fs::File::options().write(true).open(bench.path("file")).unwrap();
    fs::hard_link(bench.path("file"), bench.dir.path().join("outside")).unwrap();
    let snapshot = bench.create();
    let intact = || {
        let data = fs::read(bench.export(&snapshot.id).join("file")).unwrap();
        assert_eq!(data, vec![1; 200_000]);
    };
    held.write_all_at(&[2; 200_000], 0).unwrap();
    intact();
    bench.restore(&snapshot.id);
    held.write_all_at(&[3; 200_000], 0).unwrap();
    fs::write(bench.dir.path().join("outside"), "4").unwrap();
    intact();
    assert_eq!(bench.read("file"), vec![1; 200_000], "the open file is the one that was replaced");
    fs::File::options().write(true).open(bench.path("file")).unwrap().write_all_at(&[5; 10], 0).unwrap();
    fs::File::options().write(true).open(bench.path("file")).unwrap().set_len(7).unwrap();
    intact();
}

#[test]
fn a_file_that_changes_while_it_is_read_is_whole_or_named() {
    let bench = Bench::new();
    const SIZE: usize = 2 << 20;
    bench.write("busy", vec![0; SIZE]);
    let file = fs::File::options().write(true).open(bench.path("busy")).unwrap();
    let mut value = 0_u8;
    let attack = || {
        value = value.wrapping_add(1);
        file.write_all_at(&vec![value; SIZE], 0).unwrap();
    };
    meanwhile(attack, || {
        for _ in 0..6 {
            let writers = Writers::Seen(LiveWriters::of_processes([std::process::id()]).unwrap());
            let snapshot =
                bench.store.create(&bench.work, CreateOptions::default().writers(writers)).unwrap();
            let data = fs::read(bench.export(&snapshot.id).join("busy")).unwrap();
            let whole = data.iter().all(|byte| *byte == data[0]);
            assert!(whole || snapshot.changing == [PathBuf::from("busy")]);
        }
    });
}

#[test]
fn a_file_that_grows_faster_than_it_is_read_does_not_hold_up_the_snapshot() {
    let bench = Bench::new();
    bench.write("log", "");
    let mut log = fs::File::options().append(true).open(bench.path("log")).unwrap();
    let line = [b'x'; 4096];
    let attack = || {
        if log.metadata().unwrap().len() < 16 << 20 {
            log.write_all(&line).unwrap();
        }
    };
    meanwhile(attack, || {
        for _ in 0..5 {
            let snapshot = bench.create();
            let data = fs::read(bench.export(&snapshot.id).join("log")).unwrap();
            assert!(data.len().is_multiple_of(line.len()) || snapshot.changing == [PathBuf::from("log")]);
        }
    });
}

/// Swaps `name` in the workspace with something prepared beside it, there and back.
fn swapper(bench: &Bench, name: &str, other: &Path) -> impl FnMut() + Send + use<> {
    let (path, other) = (bench.path(name), other.to_path_buf());
    // The two names may vanish while a restore moves them about.
    move || {
        renameat_with(CWD, &path, CWD, &other, RenameFlags::EXCHANGE).ok();
    }
}

/// A host directory with a file `file` that must stay secret and unchanged.
fn host_beside(bench: &Bench) -> PathBuf {
    let host = bench.dir.path().join("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("file"), "the host's secret").unwrap();
    host
}

fn holds_secret(bench: &Bench) -> bool {
    bench.objects().iter().any(|object| fs::read(object).unwrap() == b"the host's secret")
}

#[test]
fn a_directory_swapped_for_a_link_between_listing_and_reading_leads_nowhere() {
    let bench = Bench::new();
    let host = host_beside(&bench);
    bench.write("dir/file", "harmless");
    let (dir, away) = (bench.path("dir"), bench.dir.path().join("away"));
    at_step("scanned", move || {
        fs::rename(&dir, away).unwrap();
        symlink(host, &dir).unwrap();
    });
    let snapshot = bench.create();
    assert!(!holds_secret(&bench));
    assert_eq!(snapshot.changing, [PathBuf::from("dir/file")]);
}

#[test]
fn a_file_swapped_for_a_link_between_listing_and_reading_is_not_followed() {
    let bench = Bench::new();
    let host = host_beside(&bench);
    bench.write("file", "harmless");
    let file = bench.path("file");
    at_step("scanned", move || {
        fs::remove_file(&file).unwrap();
        symlink(host.join("file"), &file).unwrap();
    });
    let snapshot = bench.create();
    assert!(!holds_secret(&bench));
    assert_eq!(snapshot.changing, [PathBuf::from("file")]);
}

#[test]
fn a_directory_swapped_for_a_link_before_the_changes_leads_nowhere() {
    for step in ["everything built", "journal published", "place exchanged"] {
        let bench = Bench::new();
        let host = host_beside(&bench);
        for name in ["dir/file", "dir/more"] {
            bench.write(name, "from the snapshot");
        }
        let snapshot = bench.create();
        bench.write("dir/file", "changed");
        fs::remove_file(bench.path("dir/more")).unwrap();
        let before = describe(&host);
        let (dir, away, to) = (bench.path("dir"), bench.dir.path().join("away"), host.clone());
        at_step(step, move || {
            fs::rename(&dir, away).unwrap();
            symlink(to, &dir).unwrap();
        });
        let restored =
            bench.store.restore(&bench.work, &snapshot.id, &RestoreOptions::default().writers(quiet()));
        assert_eq!(describe(&host), before, "at step {step}");
        // Once it holds the directory it goes on in it, wherever the attacker has moved it.
        assert_eq!(restored.is_ok(), step == "place exchanged", "at step {step}: {restored:?}");
        let work = bench.dir.path().join("snapshots/work");
        assert_eq!(fs::read_dir(work).unwrap().count(), 0, "at step {step}");
    }
}

#[test]
fn a_directory_swapped_for_a_link_all_the_time_does_not_let_a_snapshot_read_the_host() {
    let bench = Bench::new();
    let host = host_beside(&bench);
    for at in 0..50 {
        fs::write(host.join(format!("file{at}")), "the host's secret").unwrap();
        bench.write(&format!("dir/file{at}"), "harmless data!!!!");
    }
    let link = bench.dir.path().join("link");
    symlink(&host, &link).unwrap();
    meanwhile(swapper(&bench, "dir", &link), || {
        for _ in 0..30 {
            bench.create();
        }
    });
    assert!(!holds_secret(&bench));
}

#[test]
fn a_file_swapped_for_a_pipe_does_not_hang_a_snapshot() {
    let bench = Bench::new();
    bench.write("file", "data");
    let file = bench.path("file");
    at_step("scanned", move || {
        fs::remove_file(&file).unwrap();
        mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    });
    assert_eq!(bench.create().changing, [PathBuf::from("file")]);
}

#[test]
fn a_directory_swapped_for_a_link_does_not_let_a_restore_write_to_the_host() {
    let bench = Bench::new();
    let host = bench.dir.path().join("host");
    fs::create_dir(&host).unwrap();
    for at in 0..20 {
        bench.write(&format!("dir/new{at}"), "from the snapshot");
        bench.write(&format!("dir/sub/changed{at}"), "from the snapshot");
    }
    let snapshot = bench.create();
    fs::create_dir(host.join("sub")).unwrap();
    for at in 0..20 {
        fs::write(host.join(format!("extra{at}")), "the host's").unwrap();
        fs::write(host.join(format!("sub/changed{at}")), "the host's").unwrap();
    }
    let before = describe(&host);
    let link = bench.dir.path().join("link");
    for _ in 0..15 {
        fs::remove_dir_all(&bench.work).unwrap();
        fs::create_dir(&bench.work).unwrap();
        for at in 0..20 {
            bench.write(&format!("dir/extra{at}"), "x");
            bench.write(&format!("dir/sub/changed{at}"), "x");
        }
        if fs::symlink_metadata(&link).is_ok_and(|meta| meta.is_dir()) {
            fs::remove_dir_all(&link).unwrap();
        }
        if fs::symlink_metadata(&link).is_err() {
            symlink(&host, &link).unwrap();
        }
        meanwhile(swapper(&bench, "dir", &link), || {
            // Whether it succeeds depends on who is faster; what matters is what it touches.
            let options = RestoreOptions::default().writers(quiet());
            drop(bench.store.restore(&bench.work, &snapshot.id, &options));
        });
        assert_eq!(describe(&host), before);
    }
}

#[test]
fn a_link_planted_where_a_file_belongs_is_replaced_and_not_followed() {
    let bench = Bench::new();
    let host = bench.dir.path().join("host");
    fs::write(&host, "the host's").unwrap();
    bench.write("file", "x");
    bench.write("dir/inner", "x");
    let before = describe(&bench.work);
    let snapshot = bench.create();
    fs::remove_file(bench.path("file")).unwrap();
    symlink(&host, bench.path("file")).unwrap();
    fs::remove_dir_all(bench.path("dir")).unwrap();
    symlink(bench.dir.path(), bench.path("dir")).unwrap();
    bench.restore(&snapshot.id);
    assert_eq!(describe(&bench.work), before);
    assert_eq!(fs::read(&host).unwrap(), b"the host's");
    assert!(!bench.dir.path().join("inner").exists());
}

#[test]
fn the_mode_of_a_file_that_also_has_a_name_outside_is_left_alone() {
    let bench = Bench::new();
    let host = bench.dir.path().join("host");
    fs::write(&host, "x").unwrap();
    fs::set_permissions(&host, fs::Permissions::from_mode(0o666)).unwrap();
    fs::hard_link(&host, bench.path("file")).unwrap();
    let snapshot = bench.create();
    fs::set_permissions(&host, fs::Permissions::from_mode(0o600)).unwrap();
    bench.restore(&snapshot.id);
    assert_eq!(fs::metadata(&host).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(bench.path("file")).unwrap().mode() & 0o777, 0o666);
}

#[test]
fn a_workspace_that_is_a_link_is_refused() {
    let bench = Bench::new();
    let link = bench.dir.path().join("link");
    symlink(&bench.work, &link).unwrap();
    assert!(bench.store.create(&link, CreateOptions::default()).is_err());
}

struct Mount(PathBuf);

impl Mount {
    fn bind(from: &Path, to: &Path) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let done = std::process::Command::new("mount").arg("--bind").args([from, to]).status();
        done.is_ok_and(|status| status.success()).then(|| Self(to.to_path_buf()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        assert!(std::process::Command::new("umount").arg(&self.0).status().unwrap().success());
    }
}

#[test]
fn what_is_mounted_in_the_workspace_is_neither_captured_nor_removed() {
    let bench = Bench::new();
    bench.write("before", "x");
    let snapshot_before = bench.create();
    let host = bench.dir.path().join("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("precious"), "the host's").unwrap();
    fs::create_dir_all(bench.path("dir/mnt")).unwrap();
    let Some(mount) = Mount::bind(&host, &bench.path("dir/mnt")) else {
        return skipped("mounting needs root");
    };
    let snapshot = bench.create();
    assert_eq!(snapshot.mounts, [PathBuf::from("dir/mnt")]);
    assert!(!bench.objects().iter().any(|object| fs::read(object).unwrap() == b"the host's"));
    let options = RestoreOptions::default().writers(quiet());
    let error = bench.store.restore(&bench.work, &snapshot_before.id, &options).unwrap_err();
    assert!(matches!(error.problem(), Problem::Refused(_)), "{error}");
    bench.write("before", "changed");
    bench.restore(&snapshot.id);
    assert_eq!(bench.read("before"), b"x");
    assert_eq!(fs::read(host.join("precious")).unwrap(), b"the host's");
    drop(mount);
    bench.restore(&snapshot_before.id);
    assert!(!bench.path("dir").exists());
    assert_eq!(fs::read(host.join("precious")).unwrap(), b"the host's");
}

#[test]
fn a_lock_that_is_never_given_up_holds_nobody_up_and_its_holder_is_named() {
    let mut bench = Bench::new();
    bench.write("file", "x");
    let snapshot = bench.create();
    bench.store.patience = Duration::ZERO;
    let out = bench.dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let path = bench.dir.path().join("snapshots/lock");
    let held = fs::File::open(&path).unwrap();
    held.lock().unwrap();
    let before = describe(&bench.work);
    let (store, work) = (&bench.store, &bench.work);
    // Something to recover, or it would not have to wait.
    fs::write(bench.dir.path().join("snapshots").join("work").join("creating"), "").unwrap();
    let errors = [
        store.create(work, CreateOptions::default().writers(quiet())).unwrap_err(),
        store.restore(work, &snapshot.id, &RestoreOptions::default().writers(quiet())).unwrap_err(),
        store.export(&snapshot.id, &out).unwrap_err(),
        store.delete(&snapshot.id).unwrap_err(),
        store.recover(work).unwrap_err(),
        store.usage().unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error.problem(), Problem::Locked(who) if who == "this program"), "{error}");
        assert_eq!(error.path(), path);
    }
    assert_eq!(describe(&bench.work), before);
    assert_eq!(store.list().unwrap().0, std::slice::from_ref(&snapshot), "looking needs no lock");
    drop(held);
    bench.store.patience = Duration::from_secs(60);
    bench.restore(&snapshot.id);
}
