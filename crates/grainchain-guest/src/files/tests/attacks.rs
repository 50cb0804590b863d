use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grainchain_core::facet::{Archive, Files};
use grainchain_core::{ErrorKind, ListFiles, MakeDir, Pack, Remove, Rename, Result, Stat, Unpack, WriteFile};

use super::{Place, bytes};

/// Every operation on `path`, which leads out; what each answered.
async fn everything(place: &Place, path: &str) -> Vec<(&'static str, Result<()>)> {
    let guest = &place.guest;
    vec![
        ("read", guest.read(path.into()).await.map(drop)),
        ("write", guest.write(WriteFile::new(path), "evil".into()).await.map(drop)),
        ("stat", guest.stat(Stat::new(path).follow()).await.map(drop)),
        ("list", guest.list(ListFiles::new(path)).await.map(drop)),
        ("make_dir", guest.make_dir(MakeDir::new(format!("{path}/new"))).await),
        ("remove below", guest.remove(Remove::new(format!("{path}/secret"))).await),
        ("remove all below", guest.remove(Remove::new(format!("{path}/secret")).recursive()).await),
        ("rename from", guest.rename(Rename::new(format!("{path}/secret"), "stolen")).await),
        ("rename to", guest.rename(Rename::new("inside", format!("{path}/planted"))).await),
        ("pack", guest.pack(Pack::new(path)).await.map(drop)),
        ("unpack", guest.unpack(Unpack::new(path), tar(&[("planted", "evil")]).into()).await.map(drop)),
    ]
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn untouched(place: &Place) {
    let names: Vec<_> =
        std::fs::read_dir(place.outside()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["secret"]);
    assert_eq!(std::fs::read_to_string(place.outside().join("secret")).unwrap(), "do not touch");
    assert!(place.root().join("inside").exists());
    assert!(!place.root().join("stolen").exists());
}

#[tokio::test]
async fn no_operation_leaves_the_workspace_whatever_the_way_out() {
    let place = Place::new();
    place.put("inside", "");
    place.put("dir/file", "");
    symlink(place.outside(), place.root().join("absolute")).unwrap();
    symlink("../outside", place.root().join("relative")).unwrap();
    symlink("../../outside", place.root().join("dir/deep")).unwrap();
    symlink("dir/deep", place.root().join("chain")).unwrap();
    symlink("/proc/self/root", place.root().join("magic")).unwrap();
    symlink("/proc/self/cwd", place.root().join("cwd")).unwrap();
    let outside = place.outside().to_str().unwrap().to_owned();
    let ways = [
        "absolute",
        "relative",
        "dir/deep",
        "chain",
        "dir/../relative",
        "../outside",
        "dir/../../outside",
        "magic",
        "cwd",
        "/usr",
        "/etc",
        outside.as_str(),
    ];
    for way in ways {
        for (operation, result) in everything(&place, way).await {
            let error = result.expect_err(&format!("{operation} {way}"));
            assert_eq!(error.kind(), ErrorKind::BadRequest, "{operation} {way}: {error}");
            assert!(error.message().contains("leaves the workspace"), "{operation} {way}: {error}");
            assert!(error.remedy().is_some(), "{operation} {way}");
        }
        untouched(&place);
    }
}

#[tokio::test]
async fn a_link_that_leads_out_is_itself_looked_at_renamed_and_removed() {
    let place = Place::new();
    place.put("inside", "");
    symlink(place.outside(), place.root().join("link")).unwrap();
    let info = place.guest.stat("link".into()).await.unwrap();
    assert_eq!(info.link_target.as_deref(), place.outside().to_str());
    place.guest.rename(Rename::new("link", "moved")).await.unwrap();
    place.guest.remove(Remove::new("moved").recursive()).await.unwrap();
    symlink(place.outside().join("secret"), place.root().join("link")).unwrap();
    place.guest.remove("link".into()).await.unwrap();
    untouched(&place);
}

#[tokio::test]
async fn removing_a_tree_leaves_what_its_links_point_to() {
    let place = Place::new();
    place.put("inside", "");
    place.put("tree/sub/file", "");
    symlink(place.outside(), place.root().join("tree/sub/out")).unwrap();
    place.guest.remove(Remove::new("tree").recursive()).await.unwrap();
    untouched(&place);
    assert_eq!(place.names(), ["inside"]);
}

#[tokio::test]
async fn a_link_swapped_in_while_we_work_leads_nowhere() {
    let place = Place::new();
    place.put("inside", "");
    place.put("dir/secret", "harmless");
    let (root, outside) = (place.root().to_owned(), place.outside());
    symlink(&outside, root.join("trap")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let swapper = std::thread::spawn(move || {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        while !stopped.load(Ordering::Relaxed) {
            renameat_with(CWD, root.join("dir"), CWD, root.join("trap"), RenameFlags::EXCHANGE).unwrap();
        }
    });
    for _ in 0..300 {
        if let Ok(content) = place.guest.read("dir/secret".into()).await {
            assert_eq!(bytes(content).await, b"harmless");
        }
        place.guest.write("dir/secret".into(), "harmless".into()).await.ok();
        place.guest.make_dir("dir/sub".into()).await.ok();
        if let Ok(listed) = place.guest.list(ListFiles::new("dir").recursive()).await {
            let secret = "do not touch".len() as u64;
            assert!(listed.iter().all(|info| info.name != "secret" || info.size != secret));
        }
        place.guest.rename(Rename::new("dir/sub", "dir/moved")).await.ok();
        place.guest.remove(Remove::new("dir/moved").recursive()).await.ok();
        let evil = tar(&[("secret", "harmless")]);
        place.guest.unpack(Unpack::new("dir"), evil.into()).await.ok();
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    untouched(&place);
}

#[tokio::test]
async fn a_pipe_swapped_in_for_a_file_holds_nobody_up() {
    let place = Place::new();
    place.put("file", "harmless");
    let root = place.root().to_owned();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let swapper = std::thread::spawn(move || {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        while !stopped.load(Ordering::Relaxed) {
            renameat_with(CWD, root.join("file"), CWD, root.join("pipe"), RenameFlags::EXCHANGE).unwrap();
        }
    });
    for _ in 0..500 {
        match super::reading::soon(place.guest.read("file".into())).await {
            Ok(content) => assert_eq!(bytes(content).await, b"harmless"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
}
