//! What `/proc` says about processes, read with few calls and no trust in what a process calls itself.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};

use super::tag::{Carrier, hard_limit_of};

/// The kernel never lets arguments and environment grow beyond this (three quarters of 8 MiB).
const ENVIRONMENT_BYTES: usize = 6 << 20;

/// The folder, and a buffer for its files.
#[derive(Debug)]
pub(super) struct Proc {
    folder: OwnedFd,
    buffer: Vec<u8>,
}

/// A process's line in `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    pub(super) state: u8,
    pub(super) ppid: i32,
    pub(super) sid: i32,
    pub(super) flags: u32,
    pub(super) cpu_ticks: u64,
    pub(super) threads: u64,
    pub(super) start_ticks: u64,
    pub(super) rss_pages: u64,
}

impl Stat {
    const KERNEL_THREAD: u32 = 0x0020_0000;

    pub(super) fn is_kernel_thread(&self) -> bool {
        self.flags & Self::KERNEL_THREAD != 0
    }

    pub(super) fn cpu_time(&self) -> Duration {
        Duration::from_millis(self.cpu_ticks * 10)
    }

    fn parse(line: &[u8]) -> Option<Self> {
        // A process may call itself ") R 1 1", so the last parenthesis is the one that counts.
        let after = line.iter().rposition(|byte| *byte == b')')? + 1;
        let text = std::str::from_utf8(line.get(after..)?).ok()?;
        let mut fields = text.split_ascii_whitespace();
        // Numbers as in proc_pid_stat(5): the state is 3.
        let state = *fields.next()?.as_bytes().first()?;
        let ppid = fields.next()?.parse().ok()?;
        let sid = fields.nth(1)?.parse().ok()?; // 6
        let flags = fields.nth(2)?.parse().ok()?; // 9
        let user: u64 = fields.nth(4)?.parse().ok()?; // 14
        let system: u64 = fields.next()?.parse().ok()?;
        let threads = fields.nth(4)?.parse().ok()?; // 20
        let start_ticks = fields.nth(1)?.parse().ok()?; // 22
        let rss_pages = fields.nth(1)?.parse().ok()?; // 24
        Some(Self { state, ppid, sid, flags, cpu_ticks: user + system, threads, start_ticks, rss_pages })
    }
}

impl Proc {
    /// Opens `/proc`, which must be the one of our own pid namespace.
    ///
    /// # Errors
    ///
    /// When it is not mounted, or belongs to another namespace: its numbers would be other people's processes.
    pub(super) fn open() -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, c"/proc", flags, Mode::empty())?;
        let own = rustix::fs::readlinkat(&folder, c"self", Vec::new())?;
        if own.to_bytes() != std::process::id().to_string().as_bytes() {
            return Err(io::Error::other(
                "/proc belongs to another pid namespace; mount the one of this namespace",
            ));
        }
        Ok(Self { folder, buffer: Vec::with_capacity(4096) })
    }

    /// Calls `visit` for every process, soon after the kernel has named it.
    pub(super) fn each_pid(&mut self, mut visit: impl FnMut(&mut Self, i32)) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let list = openat(&self.folder, c".", flags, Mode::empty())?;
        // Small, so that little time passes between a name and the look at its process.
        let mut buffer = Vec::with_capacity(1024);
        let mut entries = RawDir::new(&list, buffer.spare_capacity_mut());
        let mut batch = Vec::with_capacity(64);
        while let Some(entry) = entries.next() {
            batch.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok()));
            if entries.is_buffer_empty() {
                // Backwards: behind a process that forks and ends at once lies a row of its dead ancestors, and
                // it would be gone by the time one had looked at those.
                batch.drain(..).rev().for_each(|pid| visit(self, pid));
            }
        }
        batch.into_iter().rev().for_each(|pid| visit(self, pid));
        Ok(())
    }

    /// `None` when the process is gone (or hidden from us).
    pub(super) fn stat(&mut self, pid: i32) -> io::Result<Option<Stat>> {
        let Some(line) = self.read(pid, "stat", 4096)? else { return Ok(None) };
        Stat::parse(line)
            .map(Some)
            .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not understood")))
    }

    /// The hard limits that may hold a mark; `None` when the process is gone.
    pub(super) fn hard_limits(&mut self, pid: i32) -> io::Result<Option<[u64; 2]>> {
        let mut limits = [u64::MAX; 2];
        for (limit, carrier) in limits.iter_mut().zip(Carrier::ALL) {
            match hard_limit_of(pid, carrier) {
                Ok(value) => *limit = value,
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => return self.limits_file(pid),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(limits))
    }

    fn limits_file(&mut self, pid: i32) -> io::Result<Option<[u64; 2]>> {
        let Some(text) = self.read(pid, "limits", 8192)? else { return Ok(None) };
        let text = String::from_utf8_lossy(text);
        Ok(Some(Carrier::ALL.map(|carrier| carrier.in_limits_text(&text).unwrap_or(u64::MAX))))
    }

    /// The environment that the process was started with, or what it has since made of that memory; `None`
    /// when it is gone or not ours to read.
    pub(super) fn environment(&mut self, pid: i32) -> io::Result<Option<&[u8]>> {
        self.read(pid, "environ", ENVIRONMENT_BYTES)
    }

    fn read(&mut self, pid: i32, file: &str, most: usize) -> io::Result<Option<&[u8]>> {
        use rustix::io::Errno;
        let hidden = |error| match error {
            Errno::NOENT | Errno::SRCH | Errno::ACCESS | Errno::PERM => Ok(None),
            error => Err(error.into()),
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = match openat(&self.folder, format!("{pid}/{file}"), flags, Mode::empty()) {
            Ok(file) => file,
            Err(error) => return hidden(error),
        };
        self.buffer.clear();
        while self.buffer.len() < most {
            self.buffer.reserve(4096);
            match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut self.buffer)) {
                Ok(0) => break,
                // These files answer a short read only at their end.
                Ok(length) if length < 4096 => break,
                Ok(_) => {}
                Err(Errno::INTR) => {}
                // EIO: its memory cannot be read at the moment.
                Err(Errno::IO) => return Ok(None),
                Err(error) => return hidden(error),
            }
        }
        Ok(Some(&self.buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_cannot_lie_about_itself_by_its_name() {
        let line = b"42 (x) Z 1 1 1 (y) S 7 8 9 0 -1 4194560 1 2 3 4 50 60 7 8 20 0 3 0 1234 999 21 18446744073709551615";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.state, stat.ppid, stat.sid, stat.threads), (b'S', 7, 9, 3));
        assert_eq!(
            (stat.start_ticks, stat.rss_pages, stat.cpu_time()),
            (1234, 21, Duration::from_millis(1100))
        );
    }

    #[test]
    fn our_own_line_is_understood() {
        let mut proc = Proc::open().unwrap();
        let stat = proc.stat(std::process::id() as i32).unwrap().unwrap();
        assert_eq!(stat.ppid, std::os::unix::process::parent_id() as i32);
        assert!(!stat.is_kernel_thread());
        assert!(stat.start_ticks <= super::super::child::ticks_now());
    }

    #[test]
    fn every_listed_process_can_be_inspected() {
        let mut proc = Proc::open().unwrap();
        let mut seen = Vec::new();
        proc.each_pid(|proc, pid| {
            assert!(proc.hard_limits(pid).is_ok());
            seen.push(pid);
        })
        .unwrap();
        assert!(seen.contains(&(std::process::id() as i32)));
    }
}
