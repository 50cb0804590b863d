use grainchain_core::facet::Files;
use grainchain_core::{ErrorKind, FileKind, ReadFile, Stat};

use super::{Place, bytes, pattern};

#[tokio::test]
async fn small_files_come_as_bytes_and_large_ones_as_the_file() {
    let place = Place::new();
    place.put("small", pattern(64 * 1024));
    place.put("large", pattern(64 * 1024 + 1));
    let small = place.guest.read("small".into()).await.unwrap();
    assert_eq!(small.as_bytes().unwrap(), &pattern(64 * 1024));
    let large = place.guest.read("large".into()).await.unwrap();
    assert_eq!(large.len(), Some(64 * 1024 + 1));
    let (file, length) = large.into_file().unwrap();
    assert_eq!(length, 64 * 1024 + 1);
    assert_eq!(bytes(grainchain_core::Content::from_file(file, length)).await, pattern(64 * 1024 + 1));
}

#[tokio::test]
async fn ranges_end_where_the_file_ends() {
    let place = Place::new();
    let (small, large) = (pattern(1000), pattern(300_000));
    place.put("small", &small);
    place.put("large", &large);
    for (name, data) in [("small", &small), ("large", &large)] {
        let size = data.len() as u64;
        let ranges = [
            (0, None),
            (0, Some(0)),
            (0, Some(1)),
            (10, Some(90)),
            (size - 1, None),
            (size - 1, Some(u64::MAX)),
            (size, None),
            (size + 1, Some(5)),
            (u64::MAX, None),
            (u64::MAX, Some(u64::MAX)),
            (i64::MAX as u64, Some(1)),
            (0, Some(u64::MAX)),
        ];
        for (offset, length) in ranges {
            let mut request = ReadFile::new(name).offset(offset);
            request.length = length;
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
            let end =
                start.saturating_add(length.map_or(usize::MAX, |length| length as usize)).min(data.len());
            assert_eq!(place.read(request).await.unwrap(), &data[start..end], "{name} {offset} {length:?}");
        }
    }
}

#[tokio::test]
async fn an_empty_file_has_no_bytes() {
    let place = Place::new();
    place.put("empty", "");
    let content = place.guest.read("empty".into()).await.unwrap();
    assert_eq!(content.len(), Some(0));
}

#[tokio::test]
async fn a_file_of_the_kernel_that_claims_to_be_empty_is_read_to_its_end() {
    let guest = crate::Guest::new(crate::GuestConfig::new("/proc", 1)).unwrap();
    let version = bytes(guest.read("version".into()).await.unwrap()).await;
    assert_eq!(version, std::fs::read("/proc/version").unwrap());
    let large = bytes(guest.read("kallsyms".into()).await.unwrap()).await;
    assert!(large.len() > 64 * 1024);
    assert_eq!(large.last(), Some(&b'\n'));
    let part = guest.read(ReadFile::new("kallsyms").offset(3).length(100_000)).await.unwrap();
    assert_eq!(bytes(part).await.len(), 100_000);
}

#[tokio::test]
async fn what_is_missing_is_not_found_and_named() {
    let place = Place::new();
    let error = place.guest.read("a/b".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("a/b"), "{error}");
    assert_eq!(place.guest.stat("a".into()).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(place.guest.list("a".into()).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(place.guest.remove("a".into()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn pipes_sockets_devices_and_directories_are_refused_without_waiting() {
    let place = Place::new();
    let fifo = place.root().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.root().join("socket")).unwrap();
    std::fs::create_dir(place.root().join("folder")).unwrap();
    std::os::unix::fs::symlink("pipe", place.root().join("link")).unwrap();
    for name in ["pipe", "socket", "folder", "link", ".", "folder/"] {
        let reading = crate::files::tests::reading::soon(place.guest.read(name.into())).await;
        let error = reading.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRequest, "{name}: {error}");
        if name.ends_with('/') {
            continue;
        }
        let writing = soon(place.guest.write(name.into(), "x".into())).await;
        assert_eq!(writing.unwrap_err().kind(), ErrorKind::BadRequest, "{name}");
    }
    let devices = crate::Guest::new(crate::GuestConfig::new("/dev", 1)).unwrap();
    for name in ["null", "zero", "random"] {
        let error = soon(devices.read(name.into())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRequest, "{name}: {error}");
    }
}

#[tokio::test]
async fn stat_tells_kind_size_mode_time_and_target() {
    let place = Place::new();
    place.put("dir/file", "12345");
    rustix::fs::chmod(place.root().join("dir/file"), rustix::fs::Mode::from_raw_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("file", place.root().join("dir/link")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.root().join("broken")).unwrap();
    let file = place.guest.stat("dir/file".into()).await.unwrap();
    assert_eq!((file.kind, file.size, file.mode), (FileKind::File, 5, 0o640));
    assert_eq!((file.path.as_str(), file.name.as_str()), ("dir/file", "file"));
    let modified = std::fs::metadata(place.root().join("dir/file")).unwrap().modified().unwrap();
    assert_eq!(file.modified, Some(modified));
    let link = place.guest.stat("dir/link".into()).await.unwrap();
    assert_eq!((link.kind, link.link_target.as_deref()), (FileKind::Symlink, Some("file")));
    let target = place.guest.stat(Stat::new("dir/link").follow()).await.unwrap();
    assert_eq!((target.kind, target.size, target.link_target), (FileKind::File, 5, None));
    let broken = place.guest.stat("broken".into()).await.unwrap();
    assert_eq!(broken.kind, FileKind::Symlink);
    let error = place.guest.stat(Stat::new("broken").follow()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    for path in [".", "./", "dir/..", place.root().to_str().unwrap()] {
        assert_eq!(place.guest.stat(path.into()).await.unwrap().kind, FileKind::Directory, "{path}");
    }
    let slashed = place.guest.stat("dir/".into()).await.unwrap();
    assert_eq!((slashed.kind, slashed.name.as_str()), (FileKind::Directory, "dir"));
    let error = place.guest.stat("dir/file/".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");
    let error = place.guest.stat("dir/file/below".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");
}

pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(30), future).await.expect("it hangs")
}
