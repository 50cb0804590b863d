use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use futures_util::{StreamExt, stream};
use grainchain_core::facet::{Archive, Files};
use grainchain_core::{ByteSize, Content, ErrorKind, Pack, Unpack};

use crate::testing::{TestGuest, within};

async fn tar_of(guest: &TestGuest, path: &str) -> Vec<u8> {
    let content = guest.pack(Pack::new(path)).await.unwrap();
    content.into_bytes(ByteSize::mib(64)).await.unwrap().to_vec()
}

fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_tree_goes_out_and_comes_back_the_same() {
    let guest = TestGuest::new();
    let from = guest.path().join("from");
    std::fs::create_dir_all(from.join("sub/empty")).unwrap();
    std::fs::write(from.join("sub/tool"), vec![3; 300_000]).unwrap();
    std::fs::set_permissions(from.join("sub/tool"), std::fs::Permissions::from_mode(0o751)).unwrap();
    std::fs::write(from.join("new\nline"), "x").unwrap();
    std::fs::hard_link(from.join("sub/tool"), from.join("again")).unwrap();
    symlink("sub/tool", from.join("link")).unwrap();
    let content = guest.pack(Pack::new("from")).await.unwrap();
    let summary = guest.unpack(Unpack::new("deep/to"), content).await.unwrap();
    assert_eq!(summary.entries, 6);
    assert!(summary.skipped.is_empty(), "{:?}", summary.skipped);
    let to = guest.path().join("deep/to");
    let (old, new) = (from.join("sub/tool").metadata().unwrap(), to.join("sub/tool").metadata().unwrap());
    assert_eq!(
        (old.mode(), old.size(), old.modified().unwrap()),
        (new.mode(), new.size(), new.modified().unwrap())
    );
    assert_eq!(new.ino(), to.join("again").metadata().unwrap().ino());
    assert_eq!(std::fs::read_link(to.join("link")).unwrap().to_str(), Some("sub/tool"));
    assert!(to.join("sub/empty").is_dir() && to.join("new\nline").is_file());
}

#[tokio::test]
async fn a_single_file_is_an_archive_of_one_entry() {
    let guest = TestGuest::new();
    guest.write("dir/file".into(), "content".into()).await.unwrap();
    assert_eq!(names(&tar_of(&guest, "dir/file").await), ["file"]);
}

#[tokio::test]
async fn what_cannot_be_packed_is_told_before_the_stream_begins() {
    let guest = TestGuest::new();
    let error = guest.pack(Pack::new("missing")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        guest.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let error = within(guest.pack(Pack::new("pipe"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");
    let error = guest.pack(Pack::new("")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest);
}

#[tokio::test]
async fn a_pipe_inside_is_left_out() {
    let guest = TestGuest::new();
    guest.write("dir/file".into(), "".into()).await.unwrap();
    let pipe = guest.path().join("dir/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    assert_eq!(names(&within(tar_of(&guest, "dir")).await), ["file"]);
}

#[tokio::test]
async fn an_archive_that_is_cut_off_is_refused_and_its_last_whole_entry_named() {
    let guest = TestGuest::new();
    guest.write("dir/first".into(), vec![1; 2000].into()).await.unwrap();
    let mut archive = tar_of(&guest, "dir").await;
    archive.truncate(512 + 2048);
    guest.write("dir/second".into(), vec![2; 2000].into()).await.unwrap();
    guest.remove("dir/first".into()).await.unwrap();
    archive.extend(&tar_of(&guest, "dir").await[..1000]);
    let error = guest.unpack(Unpack::new("to"), archive.into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");
    assert!(error.message().contains("first"), "{error}");
    assert!(!guest.exists("to/second"));
    let error = guest.unpack(Unpack::new("to"), vec![7; 4096].into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");
}

#[tokio::test]
async fn a_stream_that_fails_does_not_look_like_a_broken_archive() {
    let guest = TestGuest::new();
    guest.write("dir/file".into(), vec![1; 2000].into()).await.unwrap();
    let archive = tar_of(&guest, "dir").await;
    let half = stream::iter([Ok(bytes::Bytes::from(archive[..1000].to_vec()))])
        .chain(stream::once(async { Err(grainchain_core::Error::unexpected("torn")) }));
    let error = guest.unpack(Unpack::new("to"), Content::from_stream(half, None)).await.unwrap_err();
    assert_eq!(error.message(), "torn");
}

#[tokio::test]
async fn an_entry_that_wants_out_is_refused() {
    let guest = TestGuest::new();
    for name in ["../evil", "/tmp/evil", "a/../../evil"] {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(0);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, &b""[..]).unwrap();
        let archive = builder.into_inner().unwrap();
        let error = guest.unpack(Unpack::new("to"), archive.into()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRequest, "{name}: {error}");
    }
    assert!(!guest.exists("evil"));
}

#[tokio::test]
async fn an_empty_archive_makes_an_empty_directory_and_a_file_is_no_place_for_one() {
    let guest = TestGuest::new();
    let empty = vec![0; 1024];
    guest.unpack(Unpack::new("a/b"), empty.clone().into()).await.unwrap();
    assert!(guest.path().join("a/b").is_dir());
    guest.write("file".into(), "".into()).await.unwrap();
    let error = guest.unpack(Unpack::new("file"), empty.into()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict | ErrorKind::BadRequest), "{error}");
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_packing() {
    let guest = TestGuest::new();
    guest.write("file".into(), vec![0; 8 << 20].into()).await.unwrap();
    let mut chunks = guest.pack(Pack::new(".")).await.unwrap().into_stream();
    chunks.next().await.unwrap().unwrap();
    drop(chunks);
    // The runtime waits for its blocking work when it ends; this test would hang.
}
