//! Somebody swaps links in while we work; the outcome is open, the outside is not

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Forge, Scene};
use crate::tree::{
    AtomicOptions, Links, MkdirOptions, OpenOptions, PackOptions, Replace, Root, Times, UnpackOptions, pack,
    unpack,
};

/// Rounds of each race: enough to hit the window many times, little enough for every test run.
const ROUNDS: usize = 400;

/// Runs `work` while another thread makes `d` by turns a directory and a link to the outside.
fn while_swapping(scene: &Scene, work: impl Fn(&Root)) {
    let stop = AtomicBool::new(false);
    let path = scene.inside("d");
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let (link, directory) =
                (scene.directory.path().join("link"), scene.directory.path().join("directory"));
            symlink(scene.outside(), &link).unwrap();
            fs::create_dir(&directory).unwrap();
            while !stop.load(Ordering::Relaxed) {
                // Whatever the other thread made of them, the next turn starts afresh.
                drop(fs::remove_file(&path));
                drop(fs::remove_dir_all(&path));
                drop(fs::rename(&directory, &path));
                drop(fs::rename(&path, &directory));
                drop(fs::rename(&link, &path));
                drop(fs::rename(&path, &link));
                drop(fs::remove_file(&path));
                drop(symlink(scene.outside(), &path));
                if !directory.exists() {
                    drop(fs::create_dir(&directory));
                }
                if link.symlink_metadata().is_err() {
                    drop(symlink(scene.outside(), &link));
                }
            }
        });
        for _ in 0..ROUNDS {
            work(&scene.root);
        }
        stop.store(true, Ordering::Relaxed);
    });
    scene.assert_untouched();
}

fn every_operation(root: &Root) {
    if let Ok(mut file) = root.open_write("d/file", &OpenOptions::create().parents(true)) {
        file.write_all(b"overwritten").unwrap();
    }
    if let Ok(mut file) = root.write_atomic("d/file", AtomicOptions::default().parents(true)) {
        file.write_all(b"overwritten").unwrap();
        drop(file.commit());
    }
    if let Ok(file) = root.open_read("d/file") {
        assert_ne!(std::io::read_to_string(file).unwrap(), super::SECRET, "the secret was read");
    }
    drop(root.mkdir("d/made/deep", &MkdirOptions::default().parents(true)));
    drop(root.chmod("d/file", 0o777));
    drop(root.set_times("d/file", Times::default(), Links::Follow));
    drop(root.symlink("x", "d/symlink"));
    drop(root.rename("d/file", "d/renamed", Replace::Allow));
    drop(root.remove_file("d/file"));
    drop(root.remove_all("d"));
}

#[test]
fn no_operation_is_led_outside() {
    while_swapping(&Scene::new(), every_operation);
}

#[test]
fn no_operation_of_the_walker_is_led_outside() {
    let Scene { directory, root } = Scene::new();
    while_swapping(&Scene { directory, root: root.without_openat2() }, every_operation);
}

#[test]
fn unpacking_is_not_led_outside() {
    let archive = Forge::default()
        .directory("d")
        .file("d/file", "overwritten")
        .file("d/e/file", "x")
        .link("d/hard", "d/file")
        .symlink("d/soft", "file")
        .end();
    while_swapping(&Scene::new(), |root| drop(unpack(root, ".", &archive[..], &UnpackOptions::default())));
}

#[test]
fn packing_does_not_read_the_outside() {
    while_swapping(&Scene::new(), |root| {
        let mut archive = Vec::new();
        if pack(root, ".", &mut archive, &mut PackOptions::default()).is_ok() {
            let leaked =
                archive.windows(super::SECRET.len()).any(|window| window == super::SECRET.as_bytes());
            assert!(!leaked, "the secret is in the archive");
        }
    });
}

#[test]
fn a_directory_that_is_filled_while_it_is_removed_ends_removed_or_refused() {
    let scene = Scene::new();
    let stop = AtomicBool::new(false);
    let path = scene.inside("d");
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                drop(fs::create_dir_all(path.join("a/b/c")));
                drop(fs::write(path.join("a/b/file"), "x"));
            }
        });
        for _ in 0..ROUNDS {
            drop(scene.root.remove_all("d"));
        }
        stop.store(true, Ordering::Relaxed);
    });
    scene.root.remove_all("d").ok();
    assert!(!path.exists());
}
