use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use grainchain_core::facet::Files;
use grainchain_core::{ErrorKind, FileInfo, FileKind, ListFiles};

use super::super::list::list_up_to;
use super::Place;

fn paths(listed: &[FileInfo]) -> Vec<&str> {
    listed.iter().map(|info| info.path.as_str()).collect()
}

#[tokio::test]
async fn entries_are_sorted_relative_and_as_deep_as_asked_for() {
    let place = Place::new();
    for path in ["top/b/c/d", "top/b/a", "top/a", "top/b-c"] {
        place.put(path, "x");
    }
    let flat = place.guest.list("top".into()).await.unwrap();
    assert_eq!(paths(&flat), ["a", "b", "b-c"]);
    assert_eq!(flat[1].kind, FileKind::Directory);
    let two = place.guest.list(ListFiles::new("top").depth(2)).await.unwrap();
    assert_eq!(paths(&two), ["a", "b", "b-c", "b/a", "b/c"]);
    let all = place.guest.list(ListFiles::new("./top/").recursive()).await.unwrap();
    assert_eq!(paths(&all), ["a", "b", "b-c", "b/a", "b/c", "b/c/d"]);
    assert_eq!((all[5].name.as_str(), all[5].size), ("d", 1));
    let error = place.guest.list(ListFiles::new("top").depth(0)).await.unwrap_err();
    assert_eq!(error.failed_option(), Some("depth"));
}

#[tokio::test]
async fn links_are_shown_and_not_followed() {
    let place = Place::new();
    place.put("dir/file", "");
    symlink("..", place.root().join("dir/up")).unwrap();
    symlink(place.outside(), place.root().join("dir/out")).unwrap();
    symlink("dir", place.root().join("link")).unwrap();
    let all = place.guest.list(ListFiles::new(".").recursive()).await.unwrap();
    assert_eq!(paths(&all), ["dir", "dir/file", "dir/out", "dir/up", "link"]);
    assert_eq!(all[3].link_target.as_deref(), Some(".."));
    let through = place.guest.list("link".into()).await.unwrap();
    assert_eq!(paths(&through), ["file", "out", "up"]);
}

#[tokio::test]
async fn names_that_are_not_text_are_replaced_and_others_kept() {
    let place = Place::new();
    std::fs::write(place.root().join(std::ffi::OsStr::from_bytes(b"bad\xff")), "").unwrap();
    place.put("new\nline", "");
    let listed = place.guest.list(".".into()).await.unwrap();
    assert_eq!(paths(&listed), ["bad\u{fffd}", "new\nline"]);
}

#[tokio::test]
async fn a_file_cannot_be_listed() {
    let place = Place::new();
    place.put("file", "");
    assert_eq!(place.guest.list("file".into()).await.unwrap_err().kind(), ErrorKind::BadRequest);
}

#[tokio::test]
async fn a_thousand_files_are_listed_and_removed() {
    let place = Place::new();
    for number in 0..1000 {
        place.put(&format!("many/{number:04}"), "");
    }
    let listed = place.guest.list("many".into()).await.unwrap();
    assert_eq!(listed.len(), 1000);
    assert!(listed.is_sorted_by(|one, other| one.path < other.path));
    place.guest.remove(grainchain_core::Remove::new("many").recursive()).await.unwrap();
    assert!(place.names().is_empty());
}

#[test]
fn too_many_entries_are_refused_with_a_remedy() {
    let place = Place::new();
    for number in 0..11 {
        place.put(&format!("{number}"), "");
    }
    let root = &place.guest.shared.root;
    let error = list_up_to(root, ".".as_ref(), 1, 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert!(error.remedy().unwrap().contains("depth"));
    assert_eq!(list_up_to(root, ".".as_ref(), 1, 11).unwrap().len(), 11);
}

#[tokio::test]
async fn a_tree_deeper_than_any_path_is_listed_and_removed() {
    use rustix::fs::{Mode, OFlags};
    let place = Place::new();
    let name = "d".repeat(200);
    let mut here = rustix::fs::open(place.root(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    for _ in 0..60 {
        rustix::fs::mkdirat(&here, name.as_str(), Mode::RWXU).unwrap();
        here =
            rustix::fs::openat(&here, name.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    }
    let listed = place.guest.list(ListFiles::new(".").recursive()).await.unwrap();
    assert_eq!(listed.len(), 60);
    place.guest.remove(grainchain_core::Remove::new(name).recursive()).await.unwrap();
    assert!(place.names().is_empty());
}

#[tokio::test]
async fn what_vanishes_while_it_is_listed_is_left_out() {
    let place = Place::new();
    let root = place.root().to_owned();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let churn = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            std::fs::create_dir_all(root.join("a/b/c/d")).unwrap();
            std::fs::write(root.join("a/b/c/file"), "").unwrap();
            std::fs::remove_dir_all(root.join("a")).unwrap();
        }
    });
    for _ in 0..500 {
        place.guest.list(ListFiles::new(".").recursive()).await.unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    churn.join().unwrap();
}
