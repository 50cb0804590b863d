//! How much the processes and files of a sandbox use.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use grainchain_core::tree::Root;
use grainchain_core::{Error, MetricsSample, Result, blocking, facet};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::contained;
use crate::files::dirs;
use crate::guest::Guest;
use crate::sys::scan::Depth;
use crate::sys::tree;

/// How long files are counted. A warm tree of some hundred thousand files takes that long.
const PATIENCE: Duration = Duration::from_secs(1);

#[async_trait]
impl facet::Metrics for Guest {
    /// Processor time is that of the processes that live, since each began. Memory is the sum of their resident sets, so that
    /// a page which several processes share counts for each. Disk space is what the files below the root occupy, each hard
    /// link's file once, other file systems mounted inside left out; it is absent when counting takes longer than a second.
    /// In a container it counts the files below the working directory, and tells the limits of memory and of processors, how long those
    /// held anything up, and the network's traffic; without one these are absent, because nothing here sets or counts them.
    async fn sample(&self) -> Result<MetricsSample> {
        self.ensure_open()?;
        let guest = self.clone();
        blocking::run(move || {
            let mut sample = MetricsSample::new(SystemTime::now());
            let found = tree::find(&guest.everything(Depth::Relations))
                .map_err(|error| Error::io("look for the sandbox's processes", error))?;
            let alive = || found.iter().filter(|entry| entry.is_alive());
            sample.cpu_time = Some(alive().map(|entry| entry.cpu_time).sum());
            sample.memory_bytes = Some(alive().map(|entry| entry.rss_bytes).sum());
            sample.processes = Some(alive().count() as u64);
            sample.disk_bytes = guest.disk_bytes()?;
            if guest.shared.config.contained {
                sample.memory_limit_bytes = contained::memory_limit();
                sample.cpu_limit = contained::cpu_limit();
                sample.cpu_throttled = contained::throttled();
                if let Some((received, sent)) = contained::traffic() {
                    (sample.network_received_bytes, sample.network_sent_bytes) = (Some(received), Some(sent));
                }
            }
            Ok(sample)
        })
        .await
    }
}

impl Guest {
    /// In a container the files are the image's for the most part: those below the working directory count.
    fn disk_bytes(&self) -> Result<Option<u64>> {
        if !self.shared.config.contained {
            return occupied(&self.shared.root, PATIENCE);
        }
        match self.directory(None) {
            Ok(Some(directory)) => occupied(&directory, PATIENCE),
            // It is the root, or gone.
            Ok(None) | Err(_) => Ok(None),
        }
    }
}

/// What everything below `root` occupies, none when it takes longer than `patience` to find out.
#[allow(clippy::unnecessary_cast, reason = "the field types differ between architectures")]
fn occupied(root: &Root, patience: Duration) -> Result<Option<u64>> {
    let fail = |errno: Errno| Error::io("count the sandbox's files", errno.into());
    let deadline = Instant::now() + patience;
    let top = rustix::fs::fstat(root).map_err(fail)?;
    let mut seen = HashSet::new();
    let mut blocks = top.st_blocks as u64;
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        // What cannot be read, or is gone by now, cannot be counted either.
        let Ok(directory) = dirs::open(root.as_fd(), &path, dirs::READ) else { continue };
        let counted = dirs::each(directory.as_fd(), |name, _| {
            if Instant::now() >= deadline {
                return Err(Stop);
            }
            let Ok(stat) = dirs::stat(directory.as_fd(), name) else { return Ok(()) };
            if stat.st_dev != top.st_dev {
                return Ok(());
            }
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => waiting.push(dirs::join(&path, name.to_bytes())),
                _ if has_more_names(&stat) && !seen.insert(stat.st_ino) => return Ok(()),
                _ => {}
            }
            blocks += stat.st_blocks as u64;
            Ok(())
        });
        if counted.is_err() && Instant::now() >= deadline {
            return Ok(None);
        }
    }
    Ok(Some(blocks * 512))
}

fn has_more_names(stat: &Stat) -> bool {
    stat.st_nlink > 1
}

/// The time is over, or the directory cannot be read further.
struct Stop;

impl From<Errno> for Stop {
    fn from(_: Errno) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use grainchain_core::Command;
    use grainchain_core::facet::{Metrics, Processes};

    use super::*;
    use crate::testing::{TestGuest, eventually, within};

    #[tokio::test]
    async fn an_idle_sandbox_has_no_processes_and_the_space_of_its_files() {
        let guest = TestGuest::new();
        std::fs::create_dir(guest.path().join("dir")).unwrap();
        std::fs::write(guest.path().join("dir/file"), vec![1; 100_000]).unwrap();
        std::fs::hard_link(guest.path().join("dir/file"), guest.path().join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", guest.path().join("link")).unwrap();
        let sample = guest.sample().await.unwrap();
        assert_eq!((sample.processes, sample.memory_bytes), (Some(0), Some(0)));
        assert_eq!(sample.cpu_time, Some(Duration::ZERO));
        let blocks: u64 = ["", "dir", "dir/file", "link"]
            .iter()
            .map(|path| guest.path().join(path).symlink_metadata().unwrap().blocks())
            .sum();
        assert_eq!(sample.disk_bytes, Some(blocks * 512));
        assert_eq!((sample.memory_limit_bytes, sample.network_sent_bytes), (None, None));
    }

    #[tokio::test]
    async fn running_processes_are_counted_with_their_time_and_memory() {
        let guest = TestGuest::new();
        let command = Command::shell("while :; do :; done & while :; do :; done");
        let process = within(guest.spawn(command)).await.unwrap();
        eventually("two busy processes", || guest.alive() == 2).await;
        let busy = async {
            loop {
                let sample = guest.sample().await.unwrap();
                assert_eq!(sample.processes, Some(2));
                assert!(sample.memory_bytes.unwrap() > 100_000);
                if sample.cpu_time.unwrap() > Duration::ZERO {
                    break;
                }
            }
        };
        within(busy).await;
        process.kill().await.unwrap();
        within(async { while guest.sample().await.unwrap().processes != Some(0) {} }).await;
    }

    #[test]
    fn what_takes_too_long_to_count_is_absent_and_not_wrong() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let root = Root::open(folder.path()).unwrap();
        assert_eq!(occupied(&root, Duration::ZERO).unwrap(), None);
        assert!(occupied(&root, Duration::from_secs(60)).unwrap().is_some());
    }
}
