//! Finding, stopping, resuming and ending everything that a command or a sandbox has started.
//!
//! All of it blocks the thread, typically for a few milliseconds. The calling process and pid 1 are never touched.

use std::{
    collections::HashSet,
    fmt, io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{
    child::send_signal,
    launch,
    procfs::Proc,
    scan::{Depth, Evidence, ProcessEntry, Selector, Snapshot, scan, still_carries},
    tag::Carrier,
};

/// How many dying processes are watched at a time.
const WATCHED: usize = 64;
/// How long to wait for the watched before looking again.
const PATIENCE: Duration = Duration::from_millis(10);
/// Empty looks in a row that count as the end although each saw a process vanish. Measured against the fastest
/// chain of processes that only fork and exit, on a busy machine: 4 let one in 16 escape.
const EMPTY_LOOKS: u32 = 32;

/// Every process of the selection, zombies included ([`ProcessEntry::is_alive`]).
///
/// # Errors
///
/// When `/proc` cannot be read or is another namespace's.
pub(crate) fn find(selector: &Selector) -> io::Result<Vec<ProcessEntry>> {
    Ok(scan(&mut Proc::open()?, selector, |_, _, _| {})?.entries)
}

/// Ends the selection and returns how many processes it killed, once nothing of it is alive.
///
/// Everything is stopped first, so that nothing can fork away and relations stay readable, then killed, and
/// looked for again until nothing is found. Children that this process is starting meanwhile are waited for; the
/// caller sees to it that no further one is started into the selection. Zombies are left to their parents.
///
/// # Errors
///
/// [`TreeError::Survivors`] when something is still alive after `within`: it belongs to another user, or hangs
/// in the kernel. [`TreeError::Unseen`] when `/proc` cannot be read: then the groups of the leaders are killed all the same.
pub(crate) fn kill_tree(selector: &Selector, within: Duration) -> Result<usize, TreeError> {
    let deadline = Instant::now() + within;
    kill_all_that_is_seen(selector, within, deadline).map_err(|error| match error {
        TreeError::Scan(reason) if !selector.leaders.is_empty() => {
            TreeError::Unseen { reason, groups: kill_groups(selector, deadline) }
        }
        error => error,
    })
}

/// Kills what can be reached without a look at `/proc`: the leaders, and what has stayed in their groups.
fn kill_groups(selector: &Selector, deadline: Instant) -> io::Result<()> {
    let leaders = selector.leaders.iter().filter(|leader| selector.wants_command(leader.command));
    let mut refused = Ok(());
    for leader in leaders.clone() {
        refused = leader.process.kill_with_group().and(refused);
    }
    refused?;
    for leader in leaders {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut ends = [PollFd::from_borrowed_fd(leader.process.descriptor(), PollFlags::IN)];
            match poll(&mut ends, Some(&timeout)) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "it has not ended yet")),
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn kill_all_that_is_seen(
    selector: &Selector,
    within: Duration,
    deadline: Instant,
) -> Result<usize, TreeError> {
    let mut proc = Proc::open()?;
    // Whoever is half started is found from here on.
    drop(launch::hold());

    for leader in selector.leaders.iter().filter(|leader| selector.wants_command(leader.command)) {
        // At one stroke for whatever stayed in the group, which is most; an older kernel refuses, and then the
        // looks below have to be fast enough.
        let _looked_for_below = leader.process.signal_group(libc::SIGSTOP);
    }
    let mut known = HashSet::new();
    let mut snapshot = loop {
        let snapshot = scan_and_stop(&mut proc, selector)?;
        let mut news = false;
        for entry in snapshot.entries.iter().filter(|entry| entry.is_alive()) {
            if known.insert(entry.key()) {
                news = true;
                if entry.evidence != Evidence::Limit {
                    // What refuses to be stopped is killed below, or reported there.
                    let _killed_below = signal_entry(&mut proc, entry, libc::SIGSTOP);
                }
            }
        }
        if !news || Instant::now() >= deadline {
            break snapshot;
        }
    };

    // A chain of processes that only fork and exit outlives most looks, so these have to be many and short.
    let quick = Selector { depth: Depth::Marks, ..selector.clone() };
    let mut killed = HashSet::new();
    let mut empty = 0;
    loop {
        let mut refused = None;
        let mut dying = Vec::new();
        let alive: Vec<_> = snapshot.entries.iter().copied().filter(ProcessEntry::is_alive).collect();
        for entry in &alive {
            match signal_entry(&mut proc, entry, libc::SIGKILL) {
                Ok(Some(pidfd)) => {
                    killed.insert(entry.key());
                    if dying.len() < WATCHED {
                        dying.push(pidfd);
                    }
                }
                Ok(None) => {}
                Err(error) => refused = Some(error),
            }
        }
        // A zombie that was not there at the last look was alive since, and may have forked.
        let mut news = false;
        for entry in &snapshot.entries {
            news |= known.insert(entry.key());
        }
        empty = if alive.is_empty() && !news { empty + 1 } else { 0 };
        if empty >= EMPTY_LOOKS || (empty > 0 && !snapshot.incomplete) {
            return Ok(killed.len());
        }
        if (news || !alive.is_empty()) && Instant::now() >= deadline {
            let entries = if alive.is_empty() { snapshot.entries } else { alive };
            return Err(TreeError::Survivors { entries, within, reason: refused });
        }
        if !alive.is_empty() {
            await_ends(&dying, deadline)?;
        }
        snapshot = scan_and_stop(&mut proc, if alive.is_empty() { &quick } else { selector })?;
    }
}

/// Stops what carries the mark at the moment when it is seen, so that it cannot fork and end before the look
/// is over.
fn scan_and_stop(proc: &mut Proc, selector: &Selector) -> io::Result<Snapshot> {
    scan(proc, selector, |pid, carrier, limit| {
        // What refuses is met again in the result.
        let _looked_at_again = signal_marked(pid, carrier, limit, libc::SIGSTOP);
    })
}

/// Sends a signal to every process of the selection and returns to how many.
///
/// `SIGSTOP` is repeated until nothing of the selection runs; no child is started by this process meanwhile,
/// because a stopped half-started child would stop its starter. Every other signal is one pass. Another process
/// may undo a stop with `SIGCONT`, and so may a timer that the stopped process has set up for itself.
///
/// # Errors
///
/// [`TreeError::Survivors`] lists what could not be signalled or is still running after `within`.
pub(crate) fn signal_tree(selector: &Selector, signal: i32, within: Duration) -> Result<usize, TreeError> {
    let deadline = Instant::now() + within;
    let mut proc = Proc::open()?;
    let stopping = signal == libc::SIGSTOP;
    let _held = stopping.then(launch::hold);
    let mut known = HashSet::new();
    let mut reached = HashSet::new();
    let mut quiet = 0;
    loop {
        let snapshot = if stopping {
            scan_and_stop(&mut proc, selector)?
        } else {
            scan(&mut proc, selector, |_, _, _| {})?
        };
        let mut refused = None;
        let mut left = Vec::new();
        let mut watched = Vec::new();
        let mut news = false;
        for entry in &snapshot.entries {
            // A zombie that was not there at the last look was alive since, and may have forked.
            news |= known.insert(entry.key());
            if !entry.is_alive() {
                continue;
            }
            if stopping && entry.is_settled() && reached.contains(&entry.key()) {
                continue;
            }
            match signal_entry(&mut proc, entry, signal) {
                Ok(Some(pidfd)) => {
                    reached.insert(entry.key());
                    if stopping && !entry.is_settled() {
                        left.push(*entry);
                        watched.extend((watched.len() < WATCHED).then_some(pidfd));
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    left.push(*entry);
                    refused = Some(error);
                }
            }
        }
        let finished = !news && left.is_empty() && !snapshot.incomplete;
        if finished || (!stopping && left.is_empty()) {
            return Ok(reached.len());
        }
        quiet = if news || !left.is_empty() { 0 } else { quiet + 1 };
        if quiet >= EMPTY_LOOKS {
            return Ok(reached.len());
        }
        if !stopping || (Instant::now() >= deadline && (news || !left.is_empty())) {
            return Err(TreeError::Survivors { entries: left, within, reason: refused });
        }
        // A stop takes effect when the process is next scheduled.
        if let Some(one) = watched.first() {
            await_ends(std::slice::from_ref(one), Instant::now() + Duration::from_millis(1))?;
        }
    }
}

/// Signals what a scan has found, if it still is what it was. `None` if it has gone.
fn signal_entry(proc: &mut Proc, entry: &ProcessEntry, signal: i32) -> io::Result<Option<OwnedFd>> {
    let Some(pidfd) = open(entry.pid)? else { return Ok(None) };
    // The process that was seen lived before the descriptor was opened; if the pid still means it now, it
    // meant it in between.
    match proc.stat(entry.pid)? {
        Some(stat) if stat.start_ticks == entry.start_ticks => send(pidfd, signal),
        _ => Ok(None),
    }
}

/// Signals what has just been seen with this limit, with the fewest calls.
fn signal_marked(pid: i32, carrier: Carrier, limit: u64, signal: i32) -> io::Result<Option<OwnedFd>> {
    let Some(pidfd) = open(pid)? else { return Ok(None) };
    if !still_carries(pid, carrier, limit) {
        return Ok(None);
    }
    send(pidfd, signal)
}

fn open(pid: i32) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(pid) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn send(pidfd: OwnedFd, signal: i32) -> io::Result<Option<OwnedFd>> {
    match send_signal(&pidfd, signal) {
        Ok(()) => Ok(Some(pidfd)),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns when all have ended, or after a short while.
fn await_ends(dying: &[OwnedFd], deadline: Instant) -> io::Result<()> {
    let until = deadline.min(Instant::now() + PATIENCE);
    for pidfd in dying {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Why a tree could not be ended or signalled.
#[derive(Debug)]
pub(crate) enum TreeError {
    /// Processes could not be listed.
    Scan(io::Error),
    /// These are still there.
    Survivors { entries: Vec<ProcessEntry>, within: Duration, reason: Option<io::Error> },
    /// Processes could not be listed, so only the groups of the leaders were killed, if not even that failed.
    Unseen { reason: io::Error, groups: io::Result<()> },
    /// It is still going on, and was not waited for any longer.
    Unfinished,
}

impl From<io::Error> for TreeError {
    fn from(error: io::Error) -> Self {
        Self::Scan(error)
    }
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scan(error) => write!(f, "cannot list the processes: {error}"),
            Self::Survivors { entries, within, reason } => {
                write!(f, "{} processes are left after {within:?}:", entries.len())?;
                for entry in entries.iter().take(16) {
                    write!(f, " {} ({})", entry.pid, entry.state)?;
                }
                if entries.len() > 16 {
                    f.write_str(" …")?;
                }
                reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
            }
            Self::Unseen { reason, groups: Ok(()) } => write!(
                f,
                "only its own process group was killed, and descendants outside of it may be left, because the processes cannot be listed: {reason}"
            ),
            Self::Unseen { reason, groups: Err(refused) } => {
                write!(
                    f,
                    "its own process group cannot be killed ({refused}), and the processes cannot be listed: {reason}"
                )
            }
            Self::Unfinished => f.write_str("it has not ended yet"),
        }
    }
}

impl std::error::Error for TreeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Scan(error) | Self::Unseen { reason: error, .. } => Some(error),
            Self::Survivors { reason, .. } => reason.as_ref().map(|reason| reason as _),
            Self::Unfinished => None,
        }
    }
}
