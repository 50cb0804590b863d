//! Removing trees that resist

use std::os::unix::fs::{PermissionsExt, symlink};

use super::{Forge, Scene, both_ways, kind};
use crate::tree::TreeErrorKind;

#[test]
fn links_are_removed_and_not_followed() {
    both_ways(|scene| {
        std::fs::create_dir_all(scene.inside("d/e")).unwrap();
        symlink(scene.outside(), scene.inside("d/link")).unwrap();
        symlink(scene.outside(), scene.inside("d/e/link")).unwrap();
        symlink(scene.outside(), scene.inside("top")).unwrap();
        scene.root.remove_all("d").unwrap();
        scene.root.remove_all("top").unwrap();
        assert_eq!(std::fs::read_dir(scene.inside("")).unwrap().count(), 0);
        scene.assert_untouched();
    });
}

#[test]
fn five_thousand_levels_are_removed() {
    let scene = Scene::new();
    scene.unpack(&Forge::default().file(&format!("top/{}file", "d/".repeat(5000)), "x").end()).unwrap();
    scene.root.remove_all("top").unwrap();
    assert!(!scene.inside("top").exists());
}

#[test]
fn many_files_are_removed() {
    let scene = Scene::new();
    for number in 0..1000 {
        let directory = scene.inside(&format!("top/{}", number % 50));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(number.to_string()), "x").unwrap();
    }
    scene.root.remove_all("top").unwrap();
    assert_eq!(std::fs::read_dir(scene.inside("")).unwrap().count(), 0);
}

#[test]
fn locked_directories_are_unlocked() {
    let scene = Scene::new();
    std::fs::create_dir_all(scene.inside("d/e/f")).unwrap();
    for path in ["d/e/f", "d/e", "d"] {
        std::fs::set_permissions(scene.inside(path), std::fs::Permissions::from_mode(0o000)).unwrap();
    }
    scene.root.remove_all("d").unwrap();
    assert!(!scene.inside("d").exists());
}

#[test]
fn each_form_of_removal_says_why_it_cannot() {
    both_ways(|scene| {
        std::fs::create_dir_all(scene.inside("d/e")).unwrap();
        std::fs::write(scene.inside("file"), "x").unwrap();
        assert_eq!(kind(scene.root.remove_file("d")), TreeErrorKind::IsADirectory);
        assert_eq!(kind(scene.root.remove_dir("d")), TreeErrorKind::NotEmpty);
        assert_eq!(kind(scene.root.remove_dir("file")), TreeErrorKind::NotADirectory);
        for missing in [scene.root.remove_file("x"), scene.root.remove_dir("x"), scene.root.remove_all("x")] {
            assert_eq!(kind(missing), TreeErrorKind::NotFound);
        }
        scene.root.remove_dir("d/e/").unwrap();
        scene.root.remove_file("file").unwrap();
    });
}
