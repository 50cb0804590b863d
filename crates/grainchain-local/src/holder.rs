//! Who holds a lock, for the error of whoever cannot have it.

use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// How long is looked. Hostile commands may have opened any number of files.
const PATIENCE: Duration = Duration::from_millis(500);
/// How many are named.
const MOST: usize = 3;

/// The processes that hold a lock on `file`, in words. Names those that this user may look into; blocks the thread for a moment.
pub(crate) fn holder(file: &File) -> String {
    let Ok(metadata) = file.metadata() else { return unknown() };
    // By the inode alone: `/proc` and `stat` disagree about devices on some file systems.
    let inode = format!(":{}", metadata.ino());
    let deadline = Instant::now() + PATIENCE;
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holders: Vec<_> = pids
        .take_while(|_| Instant::now() < deadline)
        .filter(|pid| holds(*pid, &inode, deadline))
        .take(MOST)
        .collect();
    match holders.as_slice() {
        [] => unknown(),
        pids => describe(pids),
    }
}

fn unknown() -> String {
    "a process that cannot be named".to_owned()
}

fn describe(pids: &[u32]) -> String {
    let mut text = String::new();
    for pid in pids {
        let comma = if text.is_empty() { "" } else { ", " };
        let written = if *pid == std::process::id() {
            write!(text, "{comma}this program")
        } else {
            let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
            // Whatever the process likes to be called.
            let name = String::from_utf8_lossy(name.trim_ascii_end()).escape_debug().to_string();
            write!(text, "{comma}process {pid} ({name})")
        };
        // A string takes everything.
        written.ok();
    }
    text
}

/// Whether `pid` has a file open through which the lock is held. Reads only what the kernel says about the files, because looking at
/// a file itself may hang.
fn holds(pid: u32, inode: &str, deadline: Instant) -> bool {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    infos.take_while(|_| Instant::now() < deadline).any(|info| {
        let text = fs::read_to_string(info.path()).unwrap_or_default();
        // `lock:  1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`
        text.lines().filter_map(|line| line.strip_prefix("lock:")).any(|lock| {
            let mut fields = lock.split_whitespace();
            fields.nth(1) == Some("FLOCK") && fields.nth(3).is_some_and(|place| place.ends_with(inode))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_holds_a_lock_is_named_and_whoever_has_the_file_open_is_not() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let looking = File::open(path.path()).unwrap();
        assert_eq!(holder(&looking), unknown());
        let holding = File::open(path.path()).unwrap();
        holding.lock_shared().unwrap();
        assert_eq!(holder(&looking), "this program");
        drop(holding);
        // A child that is just being started by another test shares the lock until it is its own program.
        let deadline = Instant::now() + Duration::from_secs(60);
        while holder(&looking) != unknown() {
            assert!(Instant::now() < deadline, "still held");
            std::thread::yield_now();
        }
    }
}
