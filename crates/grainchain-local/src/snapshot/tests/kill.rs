//! Killing the process at every step of every operation.
//!
//! Each attempt is a process of its own: this test binary, told to run [`child`], which ends as `kill -9` ends it.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{Bench, describe, quiet};
use crate::snapshot::failpoint::kill_at;
use crate::snapshot::{CreateOptions, RestoreOptions, SnapshotId, Store};

const ORDER: &str = "GRAINCHAIN_TEST_KILL";

/// Runs an operation in a process that dies at step `at`. Returns whether it lived to the end.
fn survives(bench: &Bench, at: i64, operation: &str) -> bool {
    let test = module_path!().split_once("::").unwrap().1;
    let status = Command::new(std::env::current_exe().unwrap())
        .args([&format!("{test}::child"), "--exact", "--ignored", "--quiet"])
        .env(ORDER, format!("{at} {} {operation}", bench.dir.path().display()))
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success() || status.signal() == Some(9), "{operation} at step {at}: {status}");
    status.success()
}

#[test]
#[ignore = "started by the other tests of this file, in a process of its own"]
#[expect(
    clippy::disallowed_methods,
    reason = "the environment is the one way to tell a test process what to do"
)]
fn child() {
    let order = std::env::var(ORDER).unwrap();
    let words: Vec<&str> = order.split(' ').collect();
    let dir = Path::new(words[1]);
    let store = Store::open(dir.join("snapshots")).unwrap();
    let work = dir.join("workspace");
    let id = words.get(3).map(|id| SnapshotId::parse(id).unwrap());
    kill_at(words[0].parse().unwrap());
    match (words[2], id) {
        ("create", None) => drop(store.create(&work, CreateOptions::default().writers(quiet())).unwrap()),
        ("restore", Some(id)) => {
            drop(store.restore(&work, &id, &RestoreOptions::default().writers(quiet())).unwrap());
        }
        ("delete", Some(id)) => drop(store.delete(&id).unwrap()),
        ("recover", None) => drop(store.recover(&work).unwrap()),
        other => panic!("unknown order {other:?}"),
    }
}

fn fill(bench: &Bench, text: &str) {
    bench.write("same", "same");
    bench.write("changed", text);
    bench.write("dir/changed", text.repeat(2));
    bench.write(&format!("only-{text}/deep/file"), text.repeat(3));
    bench.write(&format!("dir/only-{text}"), text.repeat(4));
    fs::create_dir_all(bench.path(&format!("empty-{text}"))).unwrap();
    fs::hard_link(bench.path("changed"), bench.path(&format!("dir/twin-{text}"))).unwrap();
    std::os::unix::fs::symlink(text, bench.path("dir/link")).unwrap();
    if text == "one" {
        bench.write("kind/file", "x");
    } else {
        bench.write("kind", "x");
    }
    let old = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000 + text.len() as u64, 42);
    fs::File::open(bench.path("dir")).unwrap().set_modified(old).unwrap();
}

/// A workspace that held one thing and now holds another, with a snapshot of each.
fn two_states(bench: &Bench) -> [(SnapshotId, std::collections::BTreeMap<Vec<u8>, String>); 2] {
    fill(bench, "one");
    let one = (bench.create().id, describe(&bench.work));
    fs::remove_dir_all(&bench.work).unwrap();
    fs::create_dir(&bench.work).unwrap();
    fill(bench, "second");
    let two = (bench.create().id, describe(&bench.work));
    [one, two]
}

fn is_clean(bench: &Bench) -> bool {
    fs::read_dir(bench.dir.path().join("snapshots/work")).unwrap().count() == 0
}

#[test]
fn a_create_killed_at_any_step_leaves_the_old_snapshots_or_one_more() {
    let bench = Bench::new();
    let [one, two] = two_states(&bench);
    bench.store.delete(&two.0).unwrap();
    let objects: Vec<PathBuf> = bench.objects();
    for step in 0.. {
        let done = survives(&bench, step, "create");
        assert_eq!(describe(&bench.work), two.1, "step {step}: a snapshot does not touch the workspace");
        bench.store.recover(&bench.work).unwrap();
        assert!(is_clean(&bench));
        let (good, broken) = bench.store.list().unwrap();
        assert_eq!(broken, []);
        assert_eq!(describe(&bench.export(&one.0)), one.1);
        if let Some(new) = good.iter().find(|record| record.id != one.0) {
            assert_eq!(describe(&bench.export(&new.id)), two.1, "step {step}");
            bench.store.delete(&new.id).unwrap();
        }
        assert_eq!(bench.objects(), objects, "step {step}: nothing is left behind");
        if done {
            assert!(step > 10, "only {step} steps were tried");
            return;
        }
    }
}

#[test]
fn a_restore_killed_at_any_step_leaves_the_old_state_or_the_new_one() {
    let bench = Bench::new();
    let [one, two] = two_states(&bench);
    let order = format!("restore {}", one.0);
    let (mut undone, mut finished) = (0, 0);
    for step in 0.. {
        let done = survives(&bench, step, &order);
        bench.store.recover(&bench.work).unwrap();
        assert!(is_clean(&bench));
        let is = describe(&bench.work);
        if is == one.1 {
            finished += 1;
        } else {
            assert_eq!(is, two.1, "step {step}");
            assert_eq!(finished, 0, "step {step}: once finished, always finished");
            undone += 1;
        }
        bench.restore(&two.0);
        assert_eq!(describe(&bench.work), two.1);
        if done {
            assert!(undone > 20 && finished > 1, "{undone} undone, {finished} finished");
            return;
        }
    }
}

#[test]
fn undoing_a_restore_can_itself_be_killed_at_any_step() {
    let bench = Bench::new();
    let [one, two] = two_states(&bench);
    let order = format!("restore {}", one.0);
    // The journal is published late; what comes after it is what must be undone.
    let mut interrupted = 0;
    for step in (0..).step_by(3) {
        if survives(&bench, step, &order) {
            assert!(interrupted > 2, "only {interrupted} restores were interrupted after the journal");
            return;
        }
        if bench.dir.path().join("snapshots").join("work").join("journal").exists() {
            interrupted += 1;
            for again in 0.. {
                if survives(&bench, again, "recover") {
                    break;
                }
            }
        } else {
            bench.store.recover(&bench.work).unwrap();
        }
        let is = describe(&bench.work);
        if is != two.1 {
            assert_eq!(is, one.1, "step {step}");
            bench.restore(&two.0);
        }
    }
}

#[test]
fn the_next_create_undoes_an_interrupted_restore_by_itself() {
    let bench = Bench::new();
    let [one, two] = two_states(&bench);
    let mut step = 0;
    while !bench.dir.path().join("snapshots").join("work").join("journal").exists() {
        assert!(!survives(&bench, step, &format!("restore {}", one.0)));
        step += 1;
    }
    // Some steps further, so that the workspace is a mixture.
    bench.store.recover(&bench.work).unwrap();
    assert!(!survives(&bench, step + 4, &format!("restore {}", one.0)));
    let mixture = describe(&bench.work);
    assert!(mixture != one.1 && mixture != two.1);
    let snapshot = bench.create();
    assert_eq!(describe(&bench.work), two.1);
    assert_eq!(describe(&bench.export(&snapshot.id)), two.1);
}

#[test]
fn a_delete_killed_at_any_step_leaves_the_other_snapshots_whole() {
    for step in 0.. {
        let bench = Bench::new();
        let [one, two] = two_states(&bench);
        let done = survives(&bench, step, &format!("delete {}", one.0));
        bench.store.recover(&bench.work).unwrap();
        assert_eq!(describe(&bench.export(&two.0)), two.1);
        // What is known about the workspace must not lead to data that are gone.
        let again = bench.create();
        assert_eq!(describe(&bench.export(&again.id)), two.1);
        if done {
            assert!(step > 3, "only {step} steps were tried");
            return;
        }
    }
}
