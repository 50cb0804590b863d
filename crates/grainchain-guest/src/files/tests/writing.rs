use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use grainchain_core::facet::Files;
use grainchain_core::{Content, Error, ErrorKind, FileKind, MakeDir, Remove, Rename, WriteFile};

use super::{Place, pattern};

fn mode(place: &Place, path: &str) -> u32 {
    std::fs::metadata(place.root().join(path)).unwrap().permissions().mode() & 0o7777
}

fn chunks(data: &[u8]) -> impl futures_util::Stream<Item = grainchain_core::Result<Bytes>> + use<> {
    let chunks: Vec<_> = data.chunks(10_000).map(Bytes::copy_from_slice).collect();
    stream::iter(chunks).map(Ok)
}

#[tokio::test]
async fn bytes_streams_and_files_are_written_whole_with_their_parents() {
    let place = Place::new();
    let data = pattern(700_000);
    let mut source = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut source, &data).unwrap();
    std::io::Seek::rewind(&mut source).unwrap();
    let contents = [
        ("bytes", Content::from(data.clone())),
        ("stream", Content::from_stream(chunks(&data), None)),
        ("known", Content::from_stream(chunks(&data), Some(data.len() as u64))),
        ("file", Content::from_file(source, data.len() as u64)),
    ];
    for (name, content) in contents {
        let path = format!("a/{name}/b");
        let info = place.guest.write(path.as_str().into(), content).await.unwrap();
        assert_eq!((info.kind, info.size, info.mode), (FileKind::File, 700_000, 0o644), "{name}");
        assert_eq!((info.path, info.name.as_str()), (path.clone(), "b"));
        assert_eq!(std::fs::read(place.root().join(path)).unwrap(), data, "{name}");
    }
}

#[tokio::test]
async fn a_file_is_copied_from_where_it_stands_and_no_further_than_told() {
    let place = Place::new();
    let mut source = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut source, b"0123456789").unwrap();
    std::io::Seek::seek(&mut source, std::io::SeekFrom::Start(2)).unwrap();
    place.guest.write("part".into(), Content::from_file(source, 5)).await.unwrap();
    assert_eq!(place.text("part"), "23456");
}

#[tokio::test]
async fn the_mode_is_the_one_asked_for_or_the_replaced_ones_or_644() {
    let place = Place::new();
    place.guest.write("new".into(), "".into()).await.unwrap();
    assert_eq!(mode(&place, "new"), 0o644);
    let info = place.guest.write(WriteFile::new("new").mode(0o751), "".into()).await.unwrap();
    assert_eq!((info.mode, mode(&place, "new")), (0o751, 0o751));
    place.guest.write("new".into(), "".into()).await.unwrap();
    assert_eq!(mode(&place, "new"), 0o751);
    let error = place.guest.write(WriteFile::new("new").mode(0o100_644), "".into()).await.unwrap_err();
    assert_eq!((error.kind(), error.failed_option()), (ErrorKind::BadRequest, Some("mode")));
}

#[tokio::test]
async fn a_missing_parent_is_an_error_when_none_shall_be_made() {
    let place = Place::new();
    let error = place.guest.write(WriteFile::new("a/b").without_parents(), "".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(place.names().is_empty());
}

#[tokio::test]
async fn a_stream_that_fails_leaves_the_old_file_and_nothing_else() {
    let place = Place::new();
    place.put("file", "old");
    let broken = chunks(&pattern(900_000)).chain(stream::once(async { Err(Error::unexpected("torn")) }));
    let error = place.guest.write("file".into(), Content::from_stream(broken, None)).await.unwrap_err();
    assert_eq!(error.message(), "torn");
    assert_eq!((place.text("file").as_str(), place.names()), ("old", vec!["file".to_owned()]));
}

#[tokio::test]
async fn content_of_another_length_than_announced_leaves_the_old_file() {
    let place = Place::new();
    place.put("file", "old");
    for announced in [9_999, 10_001] {
        let content = Content::from_stream(chunks(&pattern(10_000)), Some(announced));
        let error = place.guest.write("file".into(), content).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");
    }
    let mut source = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut source, b"short").unwrap();
    std::io::Seek::rewind(&mut source).unwrap();
    let error = place.guest.write("file".into(), Content::from_file(source, 6)).await.unwrap_err();
    assert!(error.message().contains("5 of 6"), "{error}");
    assert_eq!((place.text("file").as_str(), place.names()), ("old", vec!["file".to_owned()]));
}

#[tokio::test]
async fn a_write_that_is_given_up_leaves_the_old_file_and_nothing_else() {
    let place = Place::new();
    place.put("file", "old");
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let mut told = Some(sender);
    let endless = stream::repeat_with(move || {
        if let Some(sender) = told.take() {
            sender.send(()).unwrap();
        }
        Ok(Bytes::from_static(&[7; 65536]))
    });
    let endless = endless.take(3).chain(stream::pending());
    let guest = place.guest.clone();
    let writing =
        tokio::spawn(async move { guest.write("file".into(), Content::from_stream(endless, None)).await });
    receiver.await.unwrap();
    writing.abort();
    assert!(writing.await.unwrap_err().is_cancelled());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while place.names() != ["file"] {
        assert!(std::time::Instant::now() < deadline, "{:?}", place.names());
        tokio::task::yield_now().await;
    }
    assert_eq!(place.text("file"), "old");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_of_one_file_one_wins_whole() {
    let place = Place::new();
    let mut writers = tokio::task::JoinSet::new();
    for letter in b'a'..=b'p' {
        let guest = place.guest.clone();
        writers.spawn(async move {
            for _ in 0..10 {
                let data = vec![letter; 100_000 + usize::from(letter)];
                guest.write("deep/file".into(), data.into()).await.unwrap();
            }
        });
    }
    let reader = place.guest.clone();
    let checked = tokio::spawn(async move {
        let mut seen = 0;
        while seen < 200 {
            let Ok(content) = reader.read("deep/file".into()).await else {
                tokio::task::yield_now().await;
                continue;
            };
            let data = super::bytes(content).await;
            assert!(data.iter().all(|byte| *byte == data[0]), "a mixture");
            assert_eq!(data.len(), 100_000 + usize::from(data[0]));
            seen += 1;
        }
    });
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    checked.await.unwrap();
    assert_eq!(std::fs::read_dir(place.root().join("deep")).unwrap().count(), 1);
}

#[tokio::test]
async fn writing_to_a_link_replaces_what_it_points_to() {
    let place = Place::new();
    place.put("dir/target", "old");
    std::os::unix::fs::symlink("dir/target", place.root().join("link")).unwrap();
    place.guest.write("link".into(), "new".into()).await.unwrap();
    assert_eq!(place.text("dir/target"), "new");
    assert!(place.root().join("link").is_symlink());
}

#[tokio::test]
async fn odd_names_are_names() {
    let place = Place::new();
    let long = "x".repeat(255);
    for name in ["new\nline", "ünïcödé 文件", " ", "-rf", "*", &long, "tab\tand\u{1b}[31m"] {
        place.guest.write(name.into(), name.into()).await.unwrap();
        assert_eq!(place.read(name).await.unwrap(), name.as_bytes());
        assert_eq!(place.guest.stat(name.into()).await.unwrap().name, name);
    }
    assert_eq!(place.names().len(), 7);
}

#[tokio::test]
async fn impossible_names_are_refused_by_every_operation() {
    let place = Place::new();
    let long = "x".repeat(256);
    let endless = "a/".repeat(4096);
    for path in ["", "a\0b", long.as_str(), endless.as_str()] {
        let errors = [
            place.guest.read(path.into()).await.unwrap_err(),
            place.guest.write(path.into(), "".into()).await.unwrap_err(),
            place.guest.stat(path.into()).await.unwrap_err(),
            place.guest.list(path.into()).await.unwrap_err(),
            place.guest.make_dir(path.into()).await.unwrap_err(),
            place.guest.remove(path.into()).await.unwrap_err(),
            place.guest.rename(Rename::new(path, "x")).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");
        }
    }
    assert!(place.names().is_empty());
}

#[tokio::test]
async fn directories_are_made_with_parents_and_removed_with_their_content() {
    let place = Place::new();
    place.guest.make_dir(MakeDir::new("a/b/c").mode(0o700)).await.unwrap();
    assert_eq!(mode(&place, "a/b/c"), 0o700);
    place.guest.make_dir("a/b/c".into()).await.unwrap();
    place.guest.make_dir("plain".into()).await.unwrap();
    assert_eq!(mode(&place, "plain"), 0o755);
    let error = place.guest.make_dir(MakeDir::new("a/b").without_parents()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = place.guest.make_dir(MakeDir::new("x/y").without_parents()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = place.guest.remove("a".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.remedy().is_some());
    place.guest.remove("a/b/c".into()).await.unwrap();
    place.put("a/file", "");
    let error = place.guest.make_dir("a/file".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    place.guest.remove(Remove::new("a").recursive()).await.unwrap();
    place.guest.remove(Remove::new("a").recursive().missing_ok()).await.unwrap();
    place.guest.remove(Remove::new("a/b").missing_ok()).await.unwrap();
    assert_eq!(place.names(), ["plain"]);
}

#[tokio::test]
async fn rename_replaces_unless_told_not_to() {
    let place = Place::new();
    place.put("one", "1");
    place.put("two", "2");
    let error = place.guest.rename(Rename::new("one", "two").without_replacing()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(place.text("two"), "2");
    place.guest.rename(Rename::new("one", "two")).await.unwrap();
    assert_eq!((place.text("two").as_str(), place.names()), ("1", vec!["two".to_owned()]));
    place.put("full/file", "");
    place.put("other/file", "");
    let error = place.guest.rename(Rename::new("other", "full")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = place.guest.rename(Rename::new("other", "missing/dir")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_workspace_itself_is_neither_removed_nor_renamed() {
    let place = Place::new();
    place.put("dir/file", "");
    let root = place.root().to_str().unwrap().to_owned();
    let slashed = format!("{root}//.");
    for path in [".", "./", "././/.", "dir/..", &root, &slashed] {
        let errors = [
            place.guest.remove(Remove::new(path).recursive().missing_ok()).await.unwrap_err(),
            place.guest.remove(path.into()).await.unwrap_err(),
            place.guest.rename(Rename::new(path, "x")).await.unwrap_err(),
            place.guest.rename(Rename::new("dir", path)).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::BadRequest, "{path}: {error}");
        }
    }
    assert!(place.root().join("dir/file").exists());
}

#[tokio::test]
async fn relative_paths_begin_at_the_working_directory() {
    let place = Place::new();
    let config = crate::GuestConfig::new(place.root(), 1).working_directory("work");
    let guest = crate::Guest::new(config).unwrap();
    guest.write("file".into(), "1".into()).await.unwrap();
    guest.write("../top".into(), "2".into()).await.unwrap();
    assert_eq!((place.text("work/file").as_str(), place.text("top").as_str()), ("1", "2"));
    let error = guest.remove(Remove::new("").recursive()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    let error = guest.remove(Remove::new(".").recursive()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    assert_eq!(place.text("work/file"), "1");
}

#[tokio::test]
async fn a_closed_sandbox_has_no_files() {
    let place = Place::new();
    place.put("file", "");
    place.guest.set_stage(crate::Stage::Closed);
    let error = place.guest.read("file".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_old_file_stays() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT RUN: mounting a small file system needs root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mounted = rustix::mount::mount(
        "none",
        folder.path(),
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        Some(c"size=1m"),
    );
    if let Err(error) = mounted {
        eprintln!("NOT RUN: cannot mount a small file system: {error}");
        return;
    }
    let guest = crate::Guest::new(crate::GuestConfig::new(folder.path(), 1)).unwrap();
    guest.write("file".into(), "old".into()).await.unwrap();
    let data = pattern(2 << 20);
    let mut source = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut source, &data).unwrap();
    std::io::Seek::rewind(&mut source).unwrap();
    let contents = [
        Content::from(data.clone()),
        Content::from_stream(chunks(&data), None),
        Content::from_file(source, data.len() as u64),
    ];
    let mut results = Vec::new();
    for content in contents {
        results.push(guest.write("file".into(), content).await);
    }
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let old = std::fs::read(folder.path().join("file")).unwrap();
    drop(guest);
    rustix::mount::unmount(folder.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
        assert!(error.remedy().is_some());
    }
    assert_eq!((names, old), (vec!["file".into()], b"old".to_vec()));
}

#[tokio::test]
async fn a_read_only_directory_is_denied() {
    if rustix::process::geteuid().is_root() {
        eprintln!("NOT RUN: root may write everywhere");
        return;
    }
    let place = Place::new();
    place.put("dir/file", "old");
    std::fs::set_permissions(place.root().join("dir"), std::fs::Permissions::from_mode(0o555)).unwrap();
    let error = place.guest.write("dir/file".into(), "new".into()).await.unwrap_err();
    std::fs::set_permissions(place.root().join("dir"), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!((error.kind(), place.text("dir/file").as_str()), (ErrorKind::Denied, "old"));
}
