//! What goes into an archive comes out of it

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::{Forge, Scene, kind, packed};
use crate::tree::{Links, PackOptions, Root, Times, TreeErrorKind, UnpackOptions, Xattrs, pack, unpack};
use crate::types::file::FileKind;

/// A second, empty root.
fn elsewhere() -> (tempfile::TempDir, Root) {
    let directory = tempfile::TempDir::new().unwrap();
    let root = Root::open(directory.path()).unwrap();
    (directory, root)
}

fn everything() -> UnpackOptions {
    UnpackOptions::default().top(true).set_ids(true).ownership(true).xattrs(Xattrs::All)
}

#[test]
fn all_attributes_survive() {
    let scene = Scene::new();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    fs::create_dir_all(scene.inside("empty")).unwrap();
    fs::create_dir_all(scene.inside(&"d".repeat(120))).unwrap();
    fs::create_dir_all(scene.inside("locked/below")).unwrap();
    fs::write(scene.inside("file"), "content").unwrap();
    fs::write(scene.inside(&long), "long").unwrap();
    fs::write(scene.inside("locked/below/file"), "locked").unwrap();
    let strange = scene.inside("").join(Path::new(std::ffi::OsStr::from_bytes(b"\xffnew\nline")));
    fs::write(&strange, "strange").unwrap();
    symlink("/anywhere/at all", scene.inside("link")).unwrap();
    symlink("t".repeat(150), scene.inside("longlink")).unwrap();
    fs::hard_link(scene.inside(&long), scene.inside("hard")).unwrap();
    scene.root.chmod("file", 0o4640).unwrap();
    let before = std::time::UNIX_EPOCH - std::time::Duration::new(3, 250_000_001);
    scene.root.set_times("file", Times { accessed: None, modified: Some(before) }, Links::Keep).unwrap();
    let then = std::time::UNIX_EPOCH + std::time::Duration::new(1_234_567_890, 123_456_789);
    scene.root.set_times("link", Times { accessed: None, modified: Some(then) }, Links::Keep).unwrap();
    scene.root.chmod("locked/below", 0o555).unwrap();
    scene.root.chmod("locked", 0o500).unwrap();

    let archive = packed(&scene.root, ".");
    let (directory, root) = elsewhere();
    unpack(&root, ".", &archive[..], &everything()).unwrap();
    assert_eq!(packed(&root, "."), archive, "packed again, it is the same archive");
    let stat = root.stat("file", Links::Keep).unwrap();
    assert_eq!((stat.mode, stat.modified()), (0o4640, Some(before)));
    assert_eq!(root.stat("link", Links::Keep).unwrap().modified(), Some(then));
    assert_eq!(root.stat("locked/below", Links::Keep).unwrap().mode, 0o555);
    assert_eq!(fs::read_to_string(directory.path().join("hard")).unwrap(), "long");
    assert_eq!(fs::metadata(directory.path().join("hard")).unwrap().nlink(), 2);
    assert_eq!(fs::read_link(directory.path().join("longlink")).unwrap(), Path::new(&"t".repeat(150)));
    assert_eq!(fs::read_to_string(directory.path().join(strange.file_name().unwrap())).unwrap(), "strange");
}

#[test]
fn holes_stay_holes() {
    let scene = Scene::new();
    for (name, size, at) in [
        ("middle", 64 << 20, vec![1 << 20, 40 << 20]),
        ("all", 8 << 20, vec![]),
        ("odd", (1 << 20) + 7, vec![0]),
    ] {
        let file = File::create(scene.inside(name)).unwrap();
        file.set_len(size).unwrap();
        for offset in at {
            file.write_all_at(b"data", offset).unwrap();
        }
    }
    let fragments = File::create(scene.inside("fragments")).unwrap();
    for number in 0..60 {
        fragments.write_all_at(b"data", number * (64 << 10)).unwrap();
    }
    drop(fragments);
    let archive = packed(&scene.root, ".");
    assert!(archive.len() < 2 << 20, "the holes are in the archive: {}", archive.len());
    let (directory, root) = elsewhere();
    unpack(&root, ".", &archive[..], &everything()).unwrap();
    for name in ["middle", "all", "odd", "fragments"] {
        assert!(
            fs::read(scene.inside(name)).unwrap() == fs::read(directory.path().join(name)).unwrap(),
            "{name}"
        );
        let blocks = |path: &Path| fs::metadata(path).unwrap().blocks();
        assert!(blocks(&directory.path().join(name)) <= blocks(&scene.inside(name)) + 64, "{name}");
    }
}

#[test]
fn extended_attributes_survive_also_with_newlines_in_them() {
    let scene = Scene::new();
    fs::write(scene.inside("file"), "x").unwrap();
    fs::create_dir(scene.inside("d")).unwrap();
    let set = |path: &str| {
        let value = b"two\nlines\0and 100% bytes\xff";
        rustix::fs::setxattr(scene.inside(path), c"user.test", value, rustix::fs::XattrFlags::empty())
    };
    if set("file").and_then(|()| set("d")).is_err() {
        super::not_run("NOT RUN: EXTENDED ATTRIBUTES, SINCE THE FILE SYSTEM HAS NONE");
        return;
    }
    let archive = packed(&scene.root, ".");
    let get = |directory: &Path, path: &str| {
        let mut value = [0; 100];
        let length = rustix::fs::getxattr(directory.join(path), c"user.test", &mut value[..]).ok()?;
        Some(value[..length].to_vec())
    };
    let (directory, root) = elsewhere();
    unpack(&root, ".", &archive[..], &UnpackOptions::default()).unwrap();
    for path in ["file", "d"] {
        assert_eq!(get(directory.path(), path).unwrap(), b"two\nlines\0and 100% bytes\xff");
    }
    let (directory, root) = elsewhere();
    let report = unpack(&root, ".", &archive[..], &UnpackOptions::default().xattrs(Xattrs::Ignore)).unwrap();
    assert_eq!((get(directory.path(), "file"), report.skipped_count), (None, 2));
}

#[test]
fn five_thousand_levels_go_through() {
    let scene = Scene::new();
    scene.unpack(&Forge::default().file(&format!("top/{}file", "d/".repeat(5000)), "x").end()).unwrap();
    let mut archive = Vec::new();
    let report = pack(&scene.root, ".", &mut archive, &mut PackOptions::default()).unwrap();
    assert_eq!(report.entries, 5002);
    let (_directory, root) = elsewhere();
    assert_eq!(unpack(&root, ".", &archive[..], &everything()).unwrap().entries, 5002);
    root.remove_all("top").unwrap();
    scene.root.remove_all("top").unwrap();
}

#[test]
fn a_thousand_files_go_through_a_pipe() {
    let scene = Scene::new();
    for number in 0..1000_usize {
        let directory = scene.inside(&format!("{}/{}", number % 7, number % 11));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(number.to_string()), vec![b'x'; number * 3]).unwrap();
    }
    let (_directory, root) = elsewhere();
    let (reader, writer) = std::io::pipe().unwrap();
    let (packed, unpacked) = std::thread::scope(|threads| {
        let packing = threads.spawn(|| pack(&scene.root, ".", writer, &mut PackOptions::default()));
        let unpacked = unpack(&root, ".", reader, &everything()).unwrap();
        (packing.join().unwrap().unwrap(), unpacked)
    });
    assert_eq!((packed.entries, packed.bytes), (unpacked.entries, unpacked.bytes));
    assert_eq!(super::packed(&scene.root, "0"), super::packed(&root, "0"));
}

/// Runs something when the writer sees the first bytes, which is after the header of the first file was made.
struct Hook<F: FnMut()>(Vec<u8>, F);

impl<F: FnMut()> Write for Hook<F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (self.1)();
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_grows_or_shrinks_is_cut_or_filled_and_reported() {
    for size in [5 << 20, 10] {
        let scene = Scene::new();
        fs::write(scene.inside("file"), vec![b'x'; 3 << 20]).unwrap();
        let resize =
            || File::options().write(true).open(scene.inside("file")).unwrap().set_len(size).unwrap();
        let mut out = Hook(Vec::new(), resize);
        let report = pack(&scene.root, ".", &mut out, &mut PackOptions::default()).unwrap();
        assert_eq!((report.changed_count, report.changed), (1, vec!["file".into()]), "to {size}");
        let (directory, root) = elsewhere();
        unpack(&root, ".", &out.0[..], &everything()).unwrap();
        assert_eq!(fs::metadata(directory.path().join("file")).unwrap().len(), 3 << 20);
    }
}

#[test]
fn what_cannot_be_packed_is_skipped_and_counted() {
    let scene = Scene::new();
    fs::write(scene.inside("file"), "x").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, scene.inside("pipe"), rustix::fs::Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(scene.inside("socket")).unwrap();
    let report = pack(&scene.root, ".", std::io::sink(), &mut PackOptions::default().sorted(true)).unwrap();
    let reasons: Vec<_> = report.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
    assert_eq!((report.entries, report.skipped_count, reasons), (1, 2, vec!["named pipe", "socket"]));
}

#[test]
fn whoever_unpacks_learns_what_could_not_be_packed() {
    let scene = Scene::new();
    fs::write(scene.inside("file"), "x").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, scene.inside("new\nline"), rustix::fs::Mode::RWXU).unwrap();
    let mut archive = Vec::new();
    pack(&scene.root, ".", &mut archive, &mut PackOptions::default()).unwrap();
    let target = tempfile::tempdir().unwrap();
    let report = unpack(&Root::open(target.path()).unwrap(), ".", &archive[..], &everything()).unwrap();
    let skipped: Vec<_> = report
        .skipped
        .iter()
        .map(|skipped| (skipped.path.to_str().unwrap(), skipped.reason.as_str()))
        .collect();
    assert_eq!((report.entries, skipped), (1, vec![("new\nline", "named pipe")]));
    // Python's reader, for one, fails at a comment that no entry follows.
    let mut blocks = archive.chunks(512).skip_while(|block| block.iter().any(|byte| *byte != 0));
    assert!(blocks.by_ref().take(2).all(|block| block.iter().all(|byte| *byte == 0)));
    assert!(blocks.next().is_some(), "the comment does not stand behind the end");
}

#[test]
fn a_filter_leaves_out_whole_directories() {
    let scene = Scene::new();
    fs::create_dir_all(scene.inside("keep/node_modules/x")).unwrap();
    fs::write(scene.inside("keep/file"), "x").unwrap();
    let mut seen = Vec::new();
    let mut archive = Vec::new();
    let filter = |path: &Path, kind: FileKind| {
        seen.push((path.to_path_buf(), kind));
        !path.ends_with("node_modules")
    };
    let report =
        pack(&scene.root, ".", &mut archive, &mut PackOptions::default().sorted(true).filter(filter))
            .unwrap();
    assert_eq!(report.entries, 2);
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(seen[2], ("keep/node_modules".into(), FileKind::Directory));
}

#[test]
fn a_single_file_and_a_linked_directory_can_be_packed() {
    let scene = Scene::new();
    fs::create_dir(scene.inside("d")).unwrap();
    fs::write(scene.inside("d/file"), "x").unwrap();
    symlink("d", scene.inside("link")).unwrap();
    symlink(scene.outside(), scene.inside("out")).unwrap();
    let (directory, root) = elsewhere();
    unpack(&root, "one", &packed(&scene.root, "d/file")[..], &everything()).unwrap();
    unpack(&root, "two/deep", &packed(&scene.root, "link")[..], &everything()).unwrap();
    assert!(directory.path().join("one/file").is_file());
    assert!(directory.path().join("two/deep/file").is_file());
    let outside = pack(&scene.root, "out", std::io::sink(), &mut PackOptions::default());
    assert_eq!(kind(outside), TreeErrorKind::Outside);
}

#[test]
fn equal_trees_give_equal_archives() {
    let scene = Scene::new();
    let (directory, root) = elsewhere();
    for name in ["b", "a", "c/z", "c/y"] {
        fs::create_dir_all(scene.inside("c")).unwrap();
        fs::write(scene.inside(name), name).unwrap();
    }
    unpack(&root, ".", &packed(&scene.root, ".")[..], &everything()).unwrap();
    // Made in another order, so that the file system lists it in another order.
    fs::rename(directory.path().join("a"), directory.path().join("x")).unwrap();
    fs::rename(directory.path().join("x"), directory.path().join("a")).unwrap();
    let top = Times { accessed: None, modified: scene.root.stat(".", Links::Keep).unwrap().modified() };
    root.set_times(".", top, Links::Keep).unwrap();
    assert_eq!(packed(&root, "."), packed(&scene.root, "."));
}

#[test]
fn a_writer_that_fails_ends_packing() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let scene = Scene::new();
    let error = pack(&scene.root, ".", Broken, &mut PackOptions::default()).unwrap_err();
    assert_eq!(error.operation(), "write archive");
}

#[test]
fn the_tar_command_understands_us_and_we_understand_it() {
    let scene = Scene::new();
    fs::create_dir_all(scene.inside(&format!("d/{}", "n".repeat(130)))).unwrap();
    fs::write(scene.inside(&format!("d/{}/file", "n".repeat(130))), "deep").unwrap();
    fs::write(scene.inside("new\nline"), "x").unwrap();
    fs::hard_link(scene.inside("new\nline"), scene.inside("hard")).unwrap();
    symlink("s".repeat(130), scene.inside("link")).unwrap();
    let holes = File::create(scene.inside("holes")).unwrap();
    for number in 0..40 {
        holes.write_all_at(b"data", number << 18).unwrap();
    }
    holes.set_len(20 << 20).unwrap();
    let tar = |arguments: &[&str], directory: &Path| {
        std::process::Command::new("tar").args(arguments).current_dir(directory).output().ok()
    };
    let files = tempfile::TempDir::new().unwrap();
    let ours = files.path().join("ours.tar");
    fs::write(&ours, packed(&scene.root, ".")).unwrap();
    let (theirs, _) = elsewhere();
    let Some(output) = tar(&["-xpf", ours.to_str().unwrap()], theirs.path()) else {
        super::not_run("NOT RUN: THE TAR COMMAND, SINCE THERE IS NONE");
        return;
    };
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        packed(&Root::open(theirs.path()).unwrap(), ".") == packed(&scene.root, "."),
        "through their reader"
    );
    for format in ["gnu", "pax"] {
        let archive = files.path().join(format);
        let format = format!("--format={format}");
        let mut arguments = vec!["-cf", archive.to_str().unwrap(), &format];
        if format.ends_with("gnu") {
            arguments.push("-S");
        }
        arguments.push(".");
        assert!(tar(&arguments, &scene.inside("")).unwrap().status.success());
        let (directory, root) = elsewhere();
        unpack(&root, ".", File::open(&archive).unwrap(), &everything()).unwrap();
        let mut text = String::new();
        let deep = format!("d/{}/file", "n".repeat(130));
        root.open_read(deep).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "deep");
        assert!(
            fs::read(directory.path().join("holes")).unwrap() == fs::read(scene.inside("holes")).unwrap()
        );
        assert_eq!(fs::metadata(directory.path().join("hard")).unwrap().nlink(), 2);
    }
    assert_eq!(fs::metadata(theirs.path().join("hard")).unwrap().permissions().mode() & 0o777, 0o644);
}
