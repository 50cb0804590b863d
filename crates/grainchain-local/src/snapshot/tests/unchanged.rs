//! When a file need not be read again, and when it must be.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::support::{Bench, quiet, skipped};
use crate::snapshot::{CreateOptions, LiveWriters, RestoreOptions, Writers};

impl Bench {
    /// Makes sure that what was written lies outside the window in which time stamps prove nothing: what is decisive
    /// is the start of the snapshot, so this waits for the clock and not for a duration of its own.
    pub(super) fn age(&self) {
        let newest = || fs::metadata(self.dir.path().join("tick")).unwrap().ctime_nsec();
        fs::write(self.dir.path().join("tick"), "").unwrap();
        let start = std::time::Instant::now();
        let first = newest();
        while start.elapsed() < std::time::Duration::from_millis(100) || newest() == first {
            fs::write(self.dir.path().join("tick"), "").unwrap();
        }
    }
}

/// Marks the data of the store so that it shows whether a file was read again: what is skipped is not noticed to
/// be missing.
fn forget_objects(bench: &Bench) {
    for path in bench.objects() {
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_settled_file_is_not_read_again() {
    let bench = Bench::new();
    bench.write("file", "x");
    bench.age();
    bench.create();
    forget_objects(&bench);
    assert_eq!(bench.create().added_bytes, 0);
}

#[test]
fn without_knowledge_about_writers_everything_is_read_again() {
    let bench = Bench::new();
    bench.write("file", "x");
    bench.age();
    bench.create();
    forget_objects(&bench);
    assert_eq!(bench.store.create(&bench.work, CreateOptions::default()).unwrap().added_bytes, 1);
}

#[test]
fn a_file_changed_after_the_look_at_the_processes_is_read_again_next_time() {
    let bench = Bench::new();
    let seen_before = quiet();
    bench.write("file", "x");
    bench.store.create(&bench.work, CreateOptions::default().writers(seen_before)).unwrap();
    forget_objects(&bench);
    assert_eq!(bench.create().added_bytes, 1);
}

#[test]
fn a_file_written_just_before_the_snapshot_is_compared_by_content_next_time() {
    let bench = Bench::new();
    // Many attempts, because the race needs both writes to fall into one tick of the kernel's clock.
    for round in 0..50_u32 {
        let (first, second) = (format!("a{round:04}"), format!("b{round:04}"));
        bench.write("file", &first);
        let one = bench.create();
        fs::File::options()
            .write(true)
            .open(bench.path("file"))
            .unwrap()
            .write_all_at(second.as_bytes(), 0)
            .unwrap();
        let two = bench.create();
        assert_eq!(fs::read(bench.export(&one.id).join("file")).unwrap(), first.as_bytes());
        assert_eq!(fs::read(bench.export(&two.id).join("file")).unwrap(), second.as_bytes());
    }
}

#[test]
fn a_change_with_a_forged_modification_time_is_noticed() {
    let bench = Bench::new();
    bench.write("file", "before");
    bench.age();
    bench.create();
    let modified = fs::metadata(bench.path("file")).unwrap().modified().unwrap();
    bench.write("file", "beforX");
    fs::File::open(bench.path("file")).unwrap().set_modified(modified).unwrap();
    let snapshot = bench.create();
    assert_eq!(fs::read(bench.export(&snapshot.id).join("file")).unwrap(), b"beforX");
}

#[test]
fn a_file_replaced_by_another_of_the_same_size_and_time_is_noticed() {
    let bench = Bench::new();
    bench.write("file", "before");
    bench.write("other", "AFTER!");
    let modified = fs::metadata(bench.path("file")).unwrap().modified().unwrap();
    fs::File::open(bench.path("other")).unwrap().set_modified(modified).unwrap();
    bench.age();
    let first = bench.create();
    fs::rename(bench.path("other"), bench.path("file")).unwrap();
    let second = bench.create();
    assert_eq!(fs::read(bench.export(&second.id).join("file")).unwrap(), b"AFTER!");
    bench.restore(&first.id);
    assert_eq!(bench.read("file"), b"before");
}

/// A file mapped for writing by this very process.
struct Mapping(*mut std::ffi::c_void);

impl Mapping {
    #[expect(unsafe_code, reason = "the attack needs a real mapping")]
    fn of(file: &fs::File) -> Self {
        // SAFETY: a new mapping at an address of the kernel's choice; the file is at least one page long.
        let at = unsafe {
            mmap(ptr::null_mut(), 4096, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)
        };
        Self(at.unwrap())
    }

    #[expect(unsafe_code, reason = "the attack writes through the mapping")]
    fn set(&self, value: u8) {
        // SAFETY: the first byte of the mapping above, which lives as long as `self`.
        unsafe { ptr::write_volatile(self.0.cast(), value) }
    }
}

impl Drop for Mapping {
    #[expect(unsafe_code, reason = "undoes `of`")]
    fn drop(&mut self) {
        // SAFETY: mapped in `of` with this length and not used any more.
        unsafe { munmap(self.0, 4096) }.unwrap();
    }
}

fn seen_myself() -> Writers {
    Writers::Seen(LiveWriters::of_processes([std::process::id()]).unwrap())
}

#[test]
fn a_store_through_a_mapping_that_leaves_no_time_stamp_is_noticed() {
    let bench = Bench::new();
    bench.write("file", vec![0; 4096]);
    let file = fs::File::options().read(true).write(true).open(bench.path("file")).unwrap();
    let mapping = Mapping::of(&file);
    drop(file);
    mapping.set(1);
    bench.age();
    let create = || bench.store.create(&bench.work, CreateOptions::default().writers(seen_myself())).unwrap();
    let stamp = || fs::metadata(bench.path("file")).unwrap().ctime_nsec();
    let first = (create(), stamp());
    mapping.set(2);
    let second = (create(), stamp());
    // Unmapped before the next look, so that nobody can be seen to hold the file.
    mapping.set(3);
    drop(mapping);
    let third = bench.create();
    if first.1 != second.1 {
        skipped("the page was written back in between, so that the attack left a time stamp");
    }
    for (snapshot, byte) in [(&first.0, 1), (&second.0, 2), (&third, 3)] {
        assert_eq!(fs::read(bench.export(&snapshot.id).join("file")).unwrap()[0], byte);
    }
    // The same holds for what a restore believes to be in place.
    bench.restore(&first.0.id);
    assert_eq!(bench.read("file")[0], 1);
}

#[test]
fn a_mapped_file_is_replaced_by_a_restore_and_not_believed_to_be_the_same() {
    let bench = Bench::new();
    bench.write("file", vec![0; 4096]);
    let file = fs::File::options().read(true).write(true).open(bench.path("file")).unwrap();
    let mapping = Mapping::of(&file);
    mapping.set(1);
    bench.age();
    let options = CreateOptions::default().writers(seen_myself());
    let snapshot = bench.store.create(&bench.work, options).unwrap();
    mapping.set(2);
    let options = RestoreOptions::default().writers(seen_myself());
    bench.store.restore(&bench.work, &snapshot.id, &options).unwrap();
    assert_eq!(bench.read("file")[0], 1);
    mapping.set(3);
    assert_eq!(bench.read("file")[0], 1, "the mapping belongs to the file that was replaced");
}

#[test]
fn on_tmpfs_where_mappings_leave_no_time_stamps_everything_is_compared() {
    let shm = std::path::Path::new("/dev/shm");
    if !shm.is_dir() {
        return skipped("there is no tmpfs at /dev/shm");
    }
    let bench = Bench::below(shm);
    bench.write("file", vec![0; 4096]);
    bench.age();
    bench.create();
    let file = fs::File::options().read(true).write(true).open(bench.path("file")).unwrap();
    let mapping = Mapping::of(&file);
    mapping.set(9);
    drop((mapping, file));
    let snapshot = bench.create();
    assert_eq!(fs::read(bench.export(&snapshot.id).join("file")).unwrap()[0], 9);
}

#[test]
fn a_descriptor_open_for_writing_counts_as_a_writer_and_one_for_reading_does_not() {
    let bench = Bench::new();
    bench.write("written", "x");
    bench.write("read", "x");
    let written = fs::File::options().append(true).open(bench.path("written")).unwrap();
    let read = fs::File::open(bench.path("read")).unwrap();
    let seen = LiveWriters::of_processes([std::process::id()]).unwrap();
    assert!(seen.holds(written.metadata().unwrap().ino()));
    assert!(!seen.holds(read.metadata().unwrap().ino()));
}

#[test]
fn a_process_that_is_gone_holds_nothing() {
    assert!(LiveWriters::of_processes([u32::MAX / 2]).is_ok());
}

#[test]
fn an_index_of_another_directory_or_of_garbage_is_ignored() {
    let bench = Bench::new();
    bench.write("file", "x");
    bench.age();
    bench.create();
    let index = bench.dir.path().join("snapshots/index");
    let mut bytes = fs::read(&index).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&index, bytes).unwrap();
    forget_objects(&bench);
    assert_eq!(bench.create().added_bytes, 1);
    let other = bench.dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::hard_link(bench.path("file"), other.join("file")).unwrap();
    forget_objects(&bench);
    let options = CreateOptions::default().writers(quiet());
    assert_eq!(bench.store.create(&other, options).unwrap().added_bytes, 1);
}
