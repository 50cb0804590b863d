use std::fs;
use std::path::{Path, PathBuf};

use grainchain_core::WatchKind;

use super::{Model, next, watch};
use crate::testing::TestGuest;

/// A random number without a library: the storms are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn path(&mut self, root: &Path, depth: usize) -> PathBuf {
        let mut path = root.to_owned();
        for _ in 0..=self.roll(depth) {
            path.push(["a", "b", "c"][self.roll(3)]);
        }
        path
    }
}

/// Listens while `storm` rages on another thread, and compares what was heard with what is there in the end.
async fn outlasts(storm: impl FnOnce(&Path) + Send + 'static) -> Model {
    let guest = TestGuest::new();
    let root = guest.path().to_owned();
    let mut model = Model::of(&root);
    let mut stream = watch(&guest, ".").await;
    let raging = root.clone();
    let thread = std::thread::spawn(move || {
        storm(&raging);
        fs::write(raging.join("the-end"), "").unwrap();
    });
    loop {
        let event = next(&mut stream).await;
        model.hear(&event, &root);
        if model.paths.contains("the-end") {
            break;
        }
    }
    thread.join().unwrap();
    // The end is written into the top, and directories below may have more to tell: a second end is behind it all.
    fs::write(root.join("the-very-end"), "").unwrap();
    loop {
        let event = next(&mut stream).await;
        model.hear(&event, &root);
        if event.path == "the-very-end" && event.kind == WatchKind::Created {
            break;
        }
        if event.kind == WatchKind::Overflow && model.paths.contains("the-very-end") {
            break;
        }
    }
    let real = Model::of(&root);
    assert_eq!(model.paths, real.paths);
    model
}

#[tokio::test]
async fn a_thousand_renames_of_the_same_files_end_in_the_truth() {
    let model = outlasts(|root| {
        for name in ["a", "b", "c"] {
            fs::write(root.join(name), name).unwrap();
        }
        let mut dice = Dice(42);
        for _ in 0..1000 {
            let (from, to) = (dice.path(root, 1), dice.path(root, 1));
            fs::rename(&from, &to).ok();
            if dice.roll(4) == 0 {
                fs::write(from, "again").unwrap();
            }
        }
    })
    .await;
    assert_eq!(model.overflows, 0);
}

#[tokio::test]
async fn directories_renamed_made_and_removed_at_random_end_in_the_truth() {
    for seed in 1..=5 {
        outlasts(move |root| {
            let mut dice = Dice(seed * 7919);
            for _ in 0..1000 {
                let (one, other) = (dice.path(root, 4), dice.path(root, 4));
                // Most of these cannot be done, and all of them are tried.
                match dice.roll(8) {
                    0..=2 => drop(fs::create_dir_all(one)),
                    3 => drop(fs::write(one, "x")),
                    4 => drop(fs::remove_dir_all(one)),
                    5 => drop(fs::remove_file(one)),
                    _ => drop(fs::rename(one, other)),
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn exchanges_of_files_and_directories_end_in_the_truth() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    for seed in 1..=5 {
        outlasts(move |root| {
            let mut dice = Dice(seed * 104_729);
            for _ in 0..300 {
                let (one, other) = (dice.path(root, 3), dice.path(root, 3));
                match dice.roll(4) {
                    0 => drop(fs::create_dir_all(one)),
                    1 => drop(fs::write(one, "x")),
                    _ => drop(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)),
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn more_changes_than_the_kernel_keeps_are_an_overflow_and_then_all_is_well_again() {
    let guest = TestGuest::new();
    let root = guest.path().to_owned();
    let kept: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    if kept > 100_000 {
        eprintln!("NOT RUN: the kernel keeps {kept} changes, too many to overflow in a test");
        return;
    }
    let mut stream = watch(&guest, ".").await;
    for number in 0..kept {
        fs::create_dir(root.join(format!("{number}"))).unwrap();
        fs::remove_dir(root.join(format!("{number}"))).unwrap();
    }
    fs::create_dir_all(root.join("late/sub")).unwrap();
    let mut model = Model::default();
    while model.overflows == 0 {
        model.hear(&next(&mut stream).await, &root);
    }
    assert_eq!(model.paths, Model::of(&root).paths);
    fs::write(root.join("late/sub/file"), "").unwrap();
    while !model.paths.contains("late/sub/file") {
        model.hear(&next(&mut stream).await, &root);
    }
    assert_eq!(model.paths, Model::of(&root).paths);
}

#[tokio::test]
async fn a_tree_of_too_many_files_moved_in_is_an_overflow() {
    let guest = TestGuest::new();
    let root = guest.path().to_owned();
    fs::create_dir_all(root.join("outside/sub")).unwrap();
    fs::create_dir(root.join("top")).unwrap();
    for number in 0..super::super::tracker::MOST_FOUND + 10 {
        fs::write(root.join(format!("outside/{number}")), "").unwrap();
    }
    let mut stream = watch(&guest, "top").await;
    fs::rename(root.join("outside"), root.join("top/in")).unwrap();
    let mut heard = 0;
    while next(&mut stream).await.kind != WatchKind::Overflow {
        heard += 1;
    }
    assert!(heard <= super::super::tracker::MOST_FOUND);
    fs::write(root.join("top/in/sub/file"), "").unwrap();
    super::until(&mut stream, "in/sub/file").await;
}
