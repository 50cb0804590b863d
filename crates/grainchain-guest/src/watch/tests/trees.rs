use std::fs;
use std::os::unix::fs::symlink;

use futures_util::StreamExt;
use grainchain_core::facet::{Files, Watch};
use grainchain_core::{ErrorKind, Rename, WatchKind, WatchPath};

use super::{next, told, until, watch};
use crate::testing::{TestGuest, within};

#[tokio::test]
async fn files_are_created_modified_renamed_and_removed() {
    let guest = TestGuest::new();
    let root = guest.path().to_owned();
    fs::write(root.join("old"), "x").unwrap();
    let mut stream = watch(&guest, ".").await;
    fs::write(root.join("new"), "1").unwrap();
    fs::rename(root.join("new"), root.join("renamed")).unwrap();
    fs::set_permissions(root.join("renamed"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::remove_file(root.join("old")).unwrap();
    symlink("nowhere", root.join("link")).unwrap();
    let events = until(&mut stream, "link").await;
    assert_eq!(told(&events), ["+new", "~new", "new>renamed", "@renamed", "-old", "+link"]);
}

#[tokio::test]
async fn many_writes_in_a_row_are_one_change() {
    let guest = TestGuest::new();
    let mut stream = watch(&guest, ".").await;
    let mut file = fs::File::create(guest.path().join("file")).unwrap();
    for _ in 0..1000 {
        std::io::Write::write_all(&mut file, b"x").unwrap();
    }
    fs::write(guest.path().join("end"), "").unwrap();
    let events = until(&mut stream, "end").await;
    assert_eq!(told(&events), ["+file", "~file", "+end"]);
}

#[tokio::test]
async fn a_change_after_one_that_was_told_is_told_again() {
    let guest = TestGuest::new();
    let path = guest.path().join("file");
    fs::write(&path, "").unwrap();
    let mut stream = watch(&guest, ".").await;
    for _ in 0..3 {
        fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"x"))
            .unwrap();
        assert_eq!(next(&mut stream).await.kind, WatchKind::Modified);
    }
}

#[tokio::test]
async fn directories_made_in_one_go_lose_no_file() {
    let guest = TestGuest::new();
    let root = guest.path().to_owned();
    let mut stream = watch(&guest, ".").await;
    for round in 0..50 {
        fs::create_dir_all(root.join(format!("{round}/b/c"))).unwrap();
        fs::write(root.join(format!("{round}/b/c/file")), "").unwrap();
    }
    let mut missing: std::collections::BTreeSet<_> = (0..50)
        .flat_map(|round| ["", "/b", "/b/c", "/b/c/file"].map(|rest| format!("{round}{rest}")))
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    while !missing.is_empty() {
        let event = next(&mut stream).await;
        if event.kind == WatchKind::Created {
            missing.remove(&event.path);
            assert!(seen.insert(event.path.clone()), "{} is told of twice", event.path);
        }
    }
    // And they are watched from now on.
    fs::write(root.join("49/b/c/later"), "").unwrap();
    until(&mut stream, "49/b/c/later").await;
}

#[tokio::test]
async fn a_renamed_directory_is_watched_under_its_new_name() {
    let guest = TestGuest::new();
    let root = guest.path().to_owned();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::create_dir(root.join("other")).unwrap();
    let mut stream = watch(&guest, ".").await;
    fs::rename(root.join("a"), root.join("other/z")).unwrap();
    fs::write(root.join("other/z/b/file"), "").unwrap();
    let events = until(&mut stream, "other/z/b/file").await;
    assert_eq!(told(&events), ["a>other/z", "+other/z/b/file"]);
}

#[tokio::test]
async fn what_is_moved_out_is_removed_and_no_longer_watched() {
    let guest = TestGuest::new();
    let root = guest.path().to_owned();
    fs::create_dir_all(root.join("top/dir/sub")).unwrap();
    fs::write(root.join("top/file"), "").unwrap();
    let mut stream = watch(&guest, "top").await;
    fs::rename(root.join("top/dir"), root.join("gone")).unwrap();
    fs::rename(root.join("top/file"), root.join("lost")).unwrap();
    assert_eq!(told(&[next(&mut stream).await, next(&mut stream).await]), ["-dir", "-file"]);
    fs::write(root.join("gone/secret"), "").unwrap();
    fs::write(root.join("gone/sub/secret"), "").unwrap();
    fs::write(root.join("top/end"), "").unwrap();
    assert_eq!(told(&until(&mut stream, "end").await), ["+end"]);
}

#[tokio::test]
async fn what_is_moved_in_is_created_with_everything_in_it() {
    let guest = TestGuest::new();
    let root = guest.path().to_owned();
    fs::create_dir_all(root.join("outside/sub")).unwrap();
    fs::write(root.join("outside/sub/file"), "").unwrap();
    fs::create_dir(root.join("top")).unwrap();
    let mut stream = watch(&guest, "top").await;
    fs::rename(root.join("outside"), root.join("top/in")).unwrap();
    let events = until(&mut stream, "in/sub/file").await;
    assert_eq!(told(&events), ["+in", "+in/sub", "+in/sub/file"]);
}

#[tokio::test]
async fn an_exchange_of_two_directories_is_an_overflow_and_both_stay_watched() {
    let guest = TestGuest::new();
    let root = guest.path().to_owned();
    fs::create_dir_all(root.join("a/from-a")).unwrap();
    fs::create_dir_all(root.join("b/from-b")).unwrap();
    let mut model = super::Model::of(&root);
    let mut stream = watch(&guest, ".").await;
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, root.join("a"), CWD, root.join("b"), RenameFlags::EXCHANGE).unwrap();
    fs::write(root.join("a/from-b/file"), "").unwrap();
    fs::write(root.join("b/from-a/file"), "").unwrap();
    fs::write(root.join("end"), "").unwrap();
    for event in until(&mut stream, "end").await {
        model.hear(&event, &root);
    }
    assert_eq!(model.paths, super::Model::of(&root).paths);
    assert_eq!(model.overflows, 1);
    fs::write(root.join("a/from-b/later"), "").unwrap();
    fs::write(root.join("b/from-a/later"), "").unwrap();
    assert_eq!(told(&until(&mut stream, "b/from-a/later").await), ["+a/from-b/later", "+b/from-a/later"]);
}

#[tokio::test]
async fn a_flat_watch_stays_on_top() {
    let guest = TestGuest::new();
    let root = guest.path().to_owned();
    fs::create_dir(root.join("old")).unwrap();
    let mut stream = watch(&guest, WatchPath::new(".").flat()).await;
    fs::create_dir(root.join("new")).unwrap();
    fs::write(root.join("new/file"), "").unwrap();
    fs::write(root.join("old/file"), "").unwrap();
    fs::rename(root.join("new"), root.join("newer")).unwrap();
    fs::write(root.join("end"), "").unwrap();
    assert_eq!(told(&until(&mut stream, "end").await), ["+new", "new>newer", "+end"]);
}

#[tokio::test]
async fn links_are_not_followed_out_of_the_workspace_or_within() {
    let guest = TestGuest::new();
    let root = guest.path().to_owned();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), root.join("old")).unwrap();
    let error = guest.watch("old".into()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");
    let mut stream = watch(&guest, ".").await;
    symlink(outside.path(), root.join("new")).unwrap();
    fs::write(outside.path().join("secret"), "").unwrap();
    fs::write(root.join("end"), "").unwrap();
    assert_eq!(told(&until(&mut stream, "end").await), ["+new", "+end"]);
}

#[tokio::test]
async fn one_file_is_watched_through_replacement_and_ends_with_it() {
    let guest = TestGuest::new();
    let root = guest.path().to_owned();
    fs::create_dir(root.join("dir")).unwrap();
    fs::write(root.join("dir/file"), "1").unwrap();
    symlink("dir/file", root.join("link")).unwrap();
    for path in ["dir/file", "link"] {
        let mut stream = watch(&guest, path).await;
        fs::write(root.join("dir/other"), "").unwrap();
        fs::write(root.join("dir/file"), "2").unwrap();
        let event = next(&mut stream).await;
        assert_eq!((event.path.as_str(), event.kind), ("", WatchKind::Modified));
        fs::write(root.join("dir/next"), "3").unwrap();
        fs::rename(root.join("dir/next"), root.join("dir/file")).unwrap();
        assert_eq!(next(&mut stream).await.kind, WatchKind::Modified);
        guest.write("dir/file".into(), "4".into()).await.unwrap();
        assert_eq!(next(&mut stream).await.kind, WatchKind::Modified);
        fs::remove_file(root.join("dir/file")).unwrap();
        assert_eq!(next(&mut stream).await.kind, WatchKind::Removed);
        assert!(within(stream.next()).await.is_none());
        fs::write(root.join("dir/file"), "1").unwrap();
    }
}

#[tokio::test]
async fn the_end_of_what_is_watched_ends_the_stream() {
    let guest = TestGuest::new();
    let root = guest.path().to_owned();
    for how in ["removed", "renamed"] {
        fs::create_dir_all(root.join("top/sub")).unwrap();
        let mut stream = watch(&guest, "top").await;
        if how == "removed" {
            fs::remove_dir_all(root.join("top")).unwrap();
        } else {
            fs::rename(root.join("top"), root.join("elsewhere")).unwrap();
        }
        let mut events = Vec::new();
        while let Some(event) = within(stream.next()).await {
            events.push(event.unwrap());
        }
        assert_eq!(told(&events).last().unwrap(), "-", "{how}");
    }
}

#[tokio::test]
async fn the_end_of_the_workspace_itself_ends_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    let guest = crate::Guest::new(crate::GuestConfig::new(&root, 1)).unwrap();
    let mut stream = guest.watch(".".into()).await.unwrap();
    fs::remove_dir(&root).unwrap();
    assert_eq!(told(&[next(&mut stream).await]), ["-"]);
    assert!(within(stream.next()).await.is_none());
}

#[tokio::test]
async fn our_own_writes_appear_when_they_are_complete() {
    let guest = TestGuest::new();
    let mut stream = watch(&guest, ".").await;
    guest.write("dir/file".into(), "1".into()).await.unwrap();
    guest.rename(Rename::new("dir/file", "dir/moved")).await.unwrap();
    guest.write("end".into(), "".into()).await.unwrap();
    let events = told(&until(&mut stream, "end").await);
    assert!(events.iter().all(|event| !event.contains(".grainchain")), "{events:?}");
    assert_eq!(events.first().unwrap(), "+dir");
    assert_eq!(events.last().unwrap(), "+end");
    assert!(events.iter().any(|event| event.ends_with("dir/moved")), "{events:?}");
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused() {
    let guest = TestGuest::new();
    let pipe = guest.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    for (path, kind) in [
        ("missing", ErrorKind::NotFound),
        ("pipe", ErrorKind::BadRequest),
        ("..", ErrorKind::BadRequest),
        ("/etc", ErrorKind::BadRequest),
        ("", ErrorKind::BadRequest),
    ] {
        let error = within(guest.watch(path.into())).await.err().unwrap();
        assert_eq!(error.kind(), kind, "{path}: {error}");
    }
}

#[test]
fn the_limit_on_watches_is_named() {
    let error = super::super::inotify::refused("watch \"x\"", rustix::io::Errno::NOSPC);
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert!(error.remedy().unwrap().contains("fs.inotify.max_user_watches"));
}
