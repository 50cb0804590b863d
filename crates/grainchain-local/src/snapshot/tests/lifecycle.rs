//! Many snapshots in one store.

use std::fs;

use super::support::{Bench, describe, open, quiet};
use crate::snapshot::store::Durability;
use crate::snapshot::{CreateOptions, Problem, RestoreOptions, SnapshotId, Store};

#[test]
fn chains_and_branches_are_listed_with_their_parents() {
    let bench = Bench::new();
    let make = |parent: Option<&SnapshotId>, name: &str| {
        bench.write("file", name);
        let mut options = CreateOptions::default().writers(quiet());
        options.name = Some(name.to_owned());
        options.metadata.insert("key".to_owned(), name.to_owned());
        options.parent = parent.cloned();
        bench.store.create(&bench.work, options).unwrap()
    };
    let root = make(None, "root");
    let left = make(Some(&root.id), "left");
    let leaf = make(Some(&left.id), "leaf");
    bench.restore(&root.id);
    let right = make(Some(&root.id), "right");
    let all = vec![root.clone(), left.clone(), leaf.clone(), right.clone()];
    assert_eq!(bench.store.list().unwrap(), (all, vec![]));
    bench.store.delete(&left.id).unwrap();
    for (snapshot, text) in [(&leaf, "leaf"), (&right, "right"), (&root, "root")] {
        bench.restore(&snapshot.id);
        assert_eq!(bench.read("file"), text.as_bytes());
    }
    assert_eq!(bench.store.record(&leaf.id).unwrap().parent, Some(left.id));
}

#[test]
fn an_unknown_parent_is_refused() {
    let bench = Bench::new();
    let options = CreateOptions { parent: Some(SnapshotId::random().unwrap()), ..CreateOptions::default() };
    let error = bench.store.create(&bench.work, options).unwrap_err();
    assert!(matches!(error.problem(), Problem::NoSuchSnapshot), "{error}");
    assert_eq!(bench.store.list().unwrap().0, []);
}

#[test]
fn snapshots_taken_at_once_have_different_ids() {
    let bench = Bench::new();
    bench.write("file", "x");
    let ids: Vec<SnapshotId> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..4).map(|_| bench.create().id).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let different: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(different.len(), 16);
    assert_eq!(bench.store.list().unwrap().0.len(), 16);
}

#[test]
fn an_id_cannot_lead_out_of_the_store() {
    for text in [
        "",
        "snap_",
        "../../etc/passwd",
        "snap_../../../../../../../etc/pw",
        "snap_AAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        assert!(SnapshotId::parse(text).is_err(), "{text}");
    }
    let id = SnapshotId::random().unwrap();
    assert_eq!(SnapshotId::parse(id.as_str()).unwrap(), id);
}

#[test]
fn deleting_frees_what_nobody_else_needs_and_nothing_more() {
    let bench = Bench::new();
    bench.write("shared", vec![1; 100_000]);
    let first = bench.create();
    bench.write("own", vec![2; 100_000]);
    let second = bench.create();
    let tree = describe(&bench.work);
    bench.store.delete(&first.id).unwrap();
    assert_eq!(bench.objects().len(), 2);
    fs::remove_file(bench.path("shared")).unwrap();
    bench.restore(&second.id);
    assert_eq!(describe(&bench.work), tree);
    let deleted = bench.store.delete(&second.id).unwrap();
    assert!(deleted.freed_bytes >= 200_000);
    assert_eq!(bench.objects(), Vec::<std::path::PathBuf>::new());
    let error = bench.store.delete(&second.id).unwrap_err();
    assert!(matches!(error.problem(), Problem::NoSuchSnapshot));
}

#[test]
fn a_snapshot_after_the_last_one_was_deleted_holds_all_data() {
    let bench = Bench::new();
    bench.write("old", vec![1; 100_000]);
    bench.age();
    let first = bench.create();
    bench.store.delete(&first.id).unwrap();
    // The file is unchanged, but what is known about it led to data that are gone.
    let second = bench.create();
    assert_eq!(second.added_bytes, 100_000);
    bench.write("old", "changed");
    bench.restore(&second.id);
    assert_eq!(bench.read("old"), vec![1; 100_000]);
}

#[test]
fn deleting_while_others_create_never_takes_their_data() {
    let bench = Bench::new();
    bench.write("file", "stable");
    let kept: Vec<SnapshotId> = std::thread::scope(|scope| {
        let creators: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    // Another opening of the same store, as another process would have it.
                    let store = open(&bench.dir.path().join("snapshots"));
                    let mut kept = Vec::new();
                    for _ in 0..10 {
                        let take = || {
                            store.create(&bench.work, CreateOptions::default().writers(quiet())).unwrap().id
                        };
                        let doomed = take();
                        kept.push(take());
                        store.delete(&doomed).unwrap();
                    }
                    kept
                })
            })
            .collect();
        creators.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for id in kept {
        assert_eq!(fs::read(bench.export(&id).join("file")).unwrap(), b"stable");
    }
}

#[test]
fn equal_files_are_stored_once() {
    let bench = Bench::new();
    for name in ["a", "b", "c"] {
        bench.write(name, vec![9; 50_000]);
    }
    assert_eq!(bench.create().added_bytes, 50_000);
    assert_eq!(bench.create().added_bytes, 0);
    let usage = bench.store.usage().unwrap();
    assert_eq!((usage.snapshots, usage.objects), (2, 1));
    assert!(usage.disk_bytes >= 50_000);
}

#[test]
fn a_store_that_writes_everything_out_keeps_the_same() {
    let bench = Bench::new();
    bench.write("file", "old");
    let store = Store::open(bench.dir.path().join("snapshots")).unwrap().durability(Durability::Everything);
    let snapshot = store.create(&bench.work, CreateOptions::default().writers(quiet())).unwrap();
    bench.write("file", "new");
    store.restore(&bench.work, &snapshot.id, &RestoreOptions::default().writers(quiet())).unwrap();
    assert_eq!(bench.read("file"), b"old");
}
