//! Archives that are damaged, or larger than they look

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tar::{EntryType, Header};

use super::{Forge, Scene, kind};
use crate::tree::{OutsideLinks, Root, Skipped, TreeErrorKind, UnpackOptions, Xattrs, unpack};

#[test]
fn a_truncated_archive_is_an_error_that_names_the_last_complete_entry() {
    let whole =
        Forge::default().file("first", "1").file("second", &"2".repeat(2000)).file("third", "3").end();
    // Up to and including the first of the two blocks at the end, which is all a reader needs.
    for length in 0..whole.len() - 1023 {
        let scene = Scene::new();
        let error = scene.unpack(&whole[..length]).unwrap_err();
        assert_eq!(error.kind(), TreeErrorKind::Corrupt, "{length}");
        let last = match length {
            0..513 => "no entry is complete",
            513..3536 => "the last complete entry is \"first\"",
            3536..4097 => "the last complete entry is \"second\"",
            _ => "the last complete entry is \"third\"",
        };
        assert!(error.to_string().contains(last), "{length}: {error}");
        assert!(length >= 3536 || !scene.inside("second").exists(), "half a file stayed at {length}");
    }
}

#[test]
fn a_failing_input_is_not_called_a_damaged_archive() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the connection is gone"))
        }
    }
    let scene = Scene::new();
    let error = unpack(&scene.root, ".", Broken, &UnpackOptions::default()).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (TreeErrorKind::Other, "read archive"));
    assert!(error.to_string().contains("the connection is gone"), "{error}");
}

#[test]
fn garbage_is_refused() {
    let scene = Scene::new();
    let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert_eq!(kind(scene.unpack(&noise)), TreeErrorKind::Corrupt);
    assert_eq!(kind(scene.unpack(b"")), TreeErrorKind::Corrupt);
    assert_eq!(std::fs::read_dir(scene.inside("")).unwrap().count(), 0);
}

#[test]
fn no_single_wrong_byte_leads_to_a_panic_or_outside() {
    let whole = Forge::default().directory("d").file("d/x", "1").symlink("l", "d").link("h", "d/x").end();
    let scene = Scene::new();
    // Every field of each header, but of the long ones only the beginning.
    let fields = (0..8).chain(100..165).chain(257..265).chain(345..353).chain(386..400).chain(482..500);
    for (header, field) in
        [0, 512, 1536, 2048].into_iter().flat_map(|header| fields.clone().map(move |at| (header, at)))
    {
        for value in [0, b'/', b'.', b'7', 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[header + field] = value;
            // Repair the checksum, so that the damage gets past it.
            let mut repaired = Header::new_old();
            repaired.as_mut_bytes().copy_from_slice(&damaged[header..header + 512]);
            repaired.set_cksum();
            damaged[header..header + 512].copy_from_slice(repaired.as_bytes());
            // Either outcome is fine; what matters comes after.
            drop(scene.unpack(&damaged));
            scene.assert_untouched();
        }
    }
}

#[test]
fn a_huge_declared_size_allocates_nothing_and_is_refused_by_the_limits() {
    for size in [u64::MAX, u64::MAX / 2, 1 << 50] {
        let scene = Scene::new();
        let mut header = Header::new_gnu();
        header.set_path("bomb").unwrap();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        let error = scene.unpack(&Forge::default().header(&header).end()).unwrap_err();
        assert!(matches!(error.kind(), TreeErrorKind::TooLarge | TreeErrorKind::Corrupt), "{error}");
        assert!(!scene.inside("bomb").exists());
    }
}

#[test]
fn a_sparse_bomb_counts_by_its_apparent_size() {
    let scene = Scene::new();
    let mut header = Header::new_gnu();
    header.set_path("bomb").unwrap();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header.set_entry_type(EntryType::GNUSparse);
    header.as_gnu_mut().unwrap().set_real_size(1 << 45);
    header.set_cksum();
    assert_eq!(kind(scene.unpack(&Forge::default().header(&header).end())), TreeErrorKind::TooLarge);
}

#[test]
fn a_sparse_map_that_overlaps_or_overflows_is_corrupt() {
    for ranges in
        [[(0, 512), (0, 512)], [(512, 512), (0, 512)], [(0, 1), (512, 1023)], [(1 << 62, 1 << 62), (0, 0)]]
    {
        let scene = Scene::new();
        let mut header = Header::new_gnu();
        header.set_path("x").unwrap();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(1024);
        header.set_entry_type(EntryType::GNUSparse);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(4096);
        for (slot, (offset, length)) in gnu.sparse.iter_mut().zip(ranges) {
            slot.set_offset(offset);
            slot.set_length(length);
        }
        header.set_cksum();
        assert_eq!(
            kind(scene.unpack(&Forge::default().header(&header).body(&[0; 1024]).end())),
            TreeErrorKind::Corrupt
        );
    }
}

#[test]
fn each_limit_is_kept() {
    let archive = Forge::default().file("a/b/c", "12345").file("d", "12345").end();
    let limited = |options: UnpackOptions| unpack(&Scene::new().root, ".", &archive[..], &options);
    let plain = UnpackOptions::default;
    assert_eq!(
        limited(plain().max_entries(2).max_bytes(10).max_file_bytes(5).max_depth(3)).unwrap().bytes,
        10
    );
    for options in
        [plain().max_entries(1), plain().max_bytes(9), plain().max_file_bytes(4), plain().max_depth(2)]
    {
        assert_eq!(kind(limited(options)), TreeErrorKind::TooLarge);
    }
}

#[test]
fn an_endless_name_is_refused_before_it_is_read() {
    let scene = Scene::new();
    for extension in
        [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader, EntryType::XGlobalHeader]
    {
        let mut header = Header::new_gnu();
        header.set_path("x").unwrap();
        header.set_size(1 << 40);
        header.set_entry_type(extension);
        header.set_cksum();
        assert_eq!(kind(scene.unpack(&Forge::default().header(&header).end())), TreeErrorKind::TooLarge);
    }
}

#[test]
fn malformed_pax_records_are_corrupt() {
    for records in
        ["5 a=", "9999 a=b\n", "x a=b\n", "0 a=b\n", "6 a=b", "5 ab\n", "18 mtime=tomorrow\n", "11 size=-1\n"]
    {
        let scene = Scene::new();
        let archive =
            Forge::default().entry(EntryType::XHeader, b"x", b"", records.as_bytes()).file("y", "").end();
        assert_eq!(kind(scene.unpack(&archive)), TreeErrorKind::Corrupt, "{records:?}");
    }
}

#[test]
fn pax_names_are_as_suspicious_as_any() {
    for (record, wanted) in [
        ("13 path=../x\n", TreeErrorKind::Outside),
        ("15 path=/etc/x\n", TreeErrorKind::Outside),
        ("12 path=a\0b\n", TreeErrorKind::InvalidPath),
    ] {
        let scene = Scene::new();
        let archive =
            Forge::default().entry(EntryType::XHeader, b"x", b"", record.as_bytes()).file("y", "").end();
        assert_eq!(kind(scene.unpack(&archive)), wanted, "{record:?}");
    }
}

#[test]
fn a_global_header_may_comment_but_not_rename() {
    let scene = Scene::new();
    let global = |record: &[u8]| {
        Forge::default().entry(EntryType::XGlobalHeader, b"g", b"", record).file("y", "").end()
    };
    scene.unpack(&global(b"14 comment=me\n")).unwrap();
    assert_eq!(kind(scene.unpack(&global(b"10 path=x\n"))), TreeErrorKind::Corrupt);
}

#[test]
fn names_of_255_bytes_fit_and_of_256_are_refused() {
    let scene = Scene::new();
    scene.unpack(&Forge::default().file(&"x".repeat(255), "y").end()).unwrap();
    let error = scene.unpack(&Forge::default().file(&"x".repeat(256), "y").end()).unwrap_err();
    assert_eq!(error.kind(), TreeErrorKind::InvalidPath);
}

#[test]
fn a_path_longer_than_any_system_call_takes_is_made_and_removed() {
    let scene = Scene::new();
    let path = format!("top/{}file", "0123456789/".repeat(1000));
    scene.unpack(&Forge::default().file(&path, "x").end()).unwrap();
    scene.root.remove_all("top").unwrap();
    assert_eq!(std::fs::read_dir(scene.inside("")).unwrap().count(), 0);
}

#[test]
fn a_file_does_not_replace_a_directory_with_content() {
    let scene = Scene::new();
    let error = scene.unpack(&Forge::default().file("d/x", "x").file("d", "y").end()).unwrap_err();
    assert_eq!(error.kind(), TreeErrorKind::IsADirectory);
    scene.unpack(&Forge::default().directory("empty").file("empty", "y").end()).unwrap();
    assert!(scene.inside("empty").is_file());
}

#[test]
fn a_name_below_a_file_is_not_a_directory() {
    let scene = Scene::new();
    let archive = Forge::default().file("a", "x").file("a/b", "y").end();
    assert_eq!(kind(scene.unpack(&archive)), TreeErrorKind::NotADirectory);
}

#[test]
fn strange_names_in_an_archive_are_kept_byte_by_byte() {
    let scene = Scene::new();
    for name in [&b"new\nline"[..], b"\xff\xfe", b"\x1b[31m", b"a\\b"] {
        scene.unpack(&Forge::default().entry(EntryType::Regular, name, b"", b"x").end()).unwrap();
        assert!(scene.inside("").join(Path::new(std::ffi::OsStr::from_bytes(name))).is_file());
    }
}

#[test]
fn a_read_only_or_full_destination_is_told_apart() {
    let scene = Scene::new();
    let mount = scene.inside("mount");
    std::fs::create_dir(&mount).unwrap();
    let run = |arguments: &[&str]| {
        std::process::Command::new(arguments[0])
            .args(&arguments[1..])
            .output()
            .is_ok_and(|out| out.status.success())
    };
    let mount = mount.to_str().unwrap();
    if !run(&["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mount]) {
        super::not_run("NOT RUN: A FULL AND A READ-ONLY DESTINATION, SINCE NO TMPFS CAN BE MOUNTED HERE");
        return;
    }
    let root = Root::open(mount).unwrap();
    let big = Forge::default().file("small", "x").file("big", &"x".repeat(1 << 20)).end();
    let full = unpack(&root, ".", &big[..], &UnpackOptions::default()).unwrap_err();
    let half = Path::new(mount).join("big").exists();
    let crossing = scene.root.remove_all("mount").unwrap_err();
    let survived = Path::new(mount).join("small").exists();
    let read_only = run(&["mount", "-o", "remount,ro", mount])
        .then(|| unpack(&root, ".", &big[..], &UnpackOptions::default()).unwrap_err());
    drop(root);
    assert!(run(&["umount", mount]));
    assert_eq!(full.kind(), TreeErrorKind::Full, "{full}");
    assert_eq!(full.path(), Path::new("big"));
    assert!(!half, "half a file stayed");
    assert_eq!(read_only.map(|error| error.kind()), Some(TreeErrorKind::ReadOnly));
    assert_eq!(crossing.kind(), TreeErrorKind::Busy, "{crossing}");
    assert!(survived, "a mounted file system was emptied");
}

#[test]
fn an_attribute_of_a_directory_that_cannot_be_set_is_reported_as_that_of_a_file_is() {
    let record = b"30 SCHILY.xattr.nowhere.x=yes\n";
    let archive = Forge::default()
        .entry(EntryType::XHeader, b"pax", b"", &record[..])
        .directory("d/")
        .entry(EntryType::XHeader, b"pax", b"", &record[..])
        .file("f", "")
        .end();
    let scene = Scene::new();
    let options = UnpackOptions::default().xattrs(Xattrs::All);
    let report = unpack(&scene.root, ".", archive.as_slice(), &options).unwrap();
    let mut paths: Vec<_> = report.skipped.iter().map(|skipped| skipped.path.to_str().unwrap()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["d", "f"], "{report:?}");
}

#[test]
fn what_a_report_keeps_of_a_hostile_archive_is_bounded() {
    let long = b"/".repeat(1 << 19);
    let archive = Forge::default()
        .entry(EntryType::Fifo, &b"p".repeat(1 << 19), b"", b"")
        .entry(EntryType::GNULongLink, b"././@LongLink", b"", &long)
        .symlink("link", "/")
        .end();
    let scene = Scene::new();
    let options = UnpackOptions::default().outside_links(OutsideLinks::Skip);
    let report = unpack(&scene.root, ".", archive.as_slice(), &options).unwrap();
    let kept = |skipped: &Skipped| skipped.path.as_os_str().len() + skipped.reason.len();
    assert_eq!(report.skipped.len(), 2);
    assert!(report.skipped.iter().map(kept).all(|kept| kept < 5000), "more is kept of a name than its end");
}

#[test]
fn an_attribute_with_a_name_that_no_system_holds_is_refused() {
    let name = "x".repeat(4000);
    let record = format!("4020 SCHILY.xattr.{name}=\n");
    assert_eq!(record.len(), 4020);
    let archive =
        Forge::default().entry(EntryType::XHeader, b"pax", b"", record.as_bytes()).directory("d").end();
    assert_eq!(kind(Scene::new().unpack(&archive)), TreeErrorKind::TooLarge);
}
