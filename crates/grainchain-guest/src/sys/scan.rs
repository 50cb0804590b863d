//! One look at all processes, and which of them belong to a selection.

use std::{collections::HashMap, io, time::Duration};

use super::{
    child::Handle,
    procfs::{Proc, Stat},
    tag::{Carrier, CommandNumber, Mark, SandboxTag, hard_limit_of},
};

/// Whose processes are meant.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub(crate) sandbox: SandboxTag,
    pub(crate) scope: Scope,
    /// The heads of commands that this process started and has not forgotten. Without them, relations are only
    /// followed from marked processes.
    pub(crate) leaders: Vec<Leader>,
    pub(crate) depth: Depth,
}

impl Selector {
    /// The whole sandbox, by marks and relations.
    pub(crate) fn sandbox(sandbox: SandboxTag) -> Self {
        Self { sandbox, scope: Scope::All, leaders: Vec::new(), depth: Depth::Relations }
    }

    /// One command, by marks and relations.
    pub(crate) fn command(mark: Mark) -> Self {
        Self { scope: Scope::Command(mark.command), ..Self::sandbox(mark.sandbox) }
    }

    fn wants(&self, mark: Mark) -> bool {
        mark.sandbox == self.sandbox && self.wants_command(mark.command)
    }

    pub(super) fn wants_command(&self, command: CommandNumber) -> bool {
        match self.scope {
            Scope::All => true,
            Scope::Command(wanted) => wanted == command,
        }
    }
}

/// Which commands of the sandbox.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    All,
    Command(CommandNumber),
}

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// Hard limits only: for listings and metrics.
    Marks,
    /// And descendants and sessions: for ending and pausing.
    Relations,
    /// And the environment of every process that we may read: when a command was marked
    /// [`VariableOnly`](super::tag::Marking::VariableOnly), or against root. A process can make the reading of
    /// its environment slow, with enough privilege endless; so not on a thread that others wait for.
    Thorough,
}

/// The process that was started for a command; see [`Handle::leader`].
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    pub(crate) command: CommandNumber,
    pub(crate) process: Handle,
}

/// By what a process was recognised, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Evidence {
    /// Its hard limit.
    Limit,
    /// It is a command's first process.
    Leader,
    /// Its environment.
    Variable,
    /// A parent, or the head of its session, belongs to the command.
    Relation,
}

/// A process of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessEntry {
    pub(crate) pid: i32,
    pub(crate) ppid: i32,
    pub(crate) sid: i32,
    /// Hundredths of a second since boot; with the pid it names a process for ever.
    pub(crate) start_ticks: u64,
    /// The letter of `/proc/<pid>/stat`: `R S D T t Z X I`.
    pub(crate) state: char,
    pub(crate) threads: u64,
    pub(crate) rss_bytes: u64,
    /// User and system time.
    pub(crate) cpu_time: Duration,
    pub(crate) command: CommandNumber,
    pub(crate) evidence: Evidence,
}

impl ProcessEntry {
    /// False for a zombie. A process whose first thread has ended while others run looks like one and is not.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X') || self.threads > 1
    }

    /// Stopped by a signal or a tracer, or (`D`) in the kernel and unable to return from there unstopped.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_alive() || matches!(self.state, 'T' | 't' | 'D')
    }

    pub(super) fn key(&self) -> (i32, u64) {
        (self.pid, self.start_ticks)
    }
}

/// The result of one look.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) entries: Vec<ProcessEntry>,
    /// A process ended within the microseconds between its name and the look at it: it may have been one that
    /// lives only until it has forked.
    pub(super) incomplete: bool,
}

struct Seen {
    pid: i32,
    stat: Stat,
    member: Option<(CommandNumber, Evidence)>,
}

/// Looks once; `eager` is called with the pid and the carrier at the moment when a hard limit matches.
pub(super) fn scan(
    proc: &mut Proc,
    selector: &Selector,
    mut eager: impl FnMut(i32, Carrier, u64),
) -> io::Result<Snapshot> {
    let own_pid = std::process::id() as i32;
    let mut incomplete = false;
    let mut listed = Vec::new();
    let mut failed = None;
    // First only the limits, within microseconds of the name: a process may live no longer than that.
    proc.each_pid(|proc, pid| {
        if pid == own_pid || pid == 1 {
            return;
        }
        match proc.hard_limits(pid) {
            Ok(Some(limits)) => {
                let carried = carried(selector, limits);
                if let Some((_, carrier, limit)) = carried {
                    eager(pid, carrier, limit);
                }
                if carried.is_some() || selector.depth > Depth::Marks {
                    listed.push((pid, carried.map(|(command, ..)| (command, Evidence::Limit))));
                }
            }
            Ok(None) => incomplete = true,
            Err(error) => failed = Some(error),
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }

    let mut seen = Vec::with_capacity(listed.len());
    for (pid, mut member) in listed {
        let Some(stat) = proc.stat(pid)? else { continue };
        if stat.is_kernel_thread() {
            continue;
        }
        if member.is_none() && selector.depth == Depth::Thorough {
            let block = proc.environment(pid)?.unwrap_or_default();
            let mark = Mark::all_in_environment(block).find(|mark| selector.wants(*mark));
            member = mark.map(|mark| (mark.command, Evidence::Variable));
        }
        seen.push(Seen { pid, stat, member });
    }
    if selector.depth >= Depth::Relations {
        add_leaders(selector, &mut seen);
        add_relations(&mut seen);
    }
    let page_bytes = rustix::param::page_size() as u64;
    let entries = seen.iter().filter_map(|process| Some((process, process.member?)));
    let entries = entries.map(|(process, (command, evidence))| ProcessEntry {
        pid: process.pid,
        ppid: process.stat.ppid,
        sid: process.stat.sid,
        start_ticks: process.stat.start_ticks,
        state: char::from(process.stat.state),
        threads: process.stat.threads,
        rss_bytes: process.stat.rss_pages * page_bytes,
        cpu_time: process.stat.cpu_time(),
        command,
        evidence,
    });
    Ok(Snapshot { entries: entries.collect(), incomplete })
}

/// The command, and where its mark was found.
fn carried(selector: &Selector, limits: [u64; 2]) -> Option<(CommandNumber, Carrier, u64)> {
    limits.into_iter().zip(Carrier::ALL).find_map(|(limit, carrier)| {
        let mark = Mark::from_limit(limit).filter(|mark| selector.wants(*mark))?;
        Some((mark.command, carrier, limit))
    })
}

/// Leaders themselves, and what is in the session of one that is no more.
fn add_leaders(selector: &Selector, seen: &mut [Seen]) {
    for leader in selector.leaders.iter().filter(|leader| selector.wants_command(leader.command)) {
        let pid = leader.process.pid();
        // Asked after the scan: if the pid was still pinned now, it was so when we read it.
        let reaped = leader.process.reaped_ticks();
        // A session keeps its number taken until its last member has gone. So one member that is older than
        // the moment of the reaping proves that the number has never been free, and that all are ours.
        let ours = match reaped {
            None => true,
            Some(reaped) => {
                seen.iter().any(|process| process.stat.sid == pid && process.stat.start_ticks < reaped)
            }
        };
        if !ours {
            continue;
        }
        for process in seen.iter_mut().filter(|process| process.member.is_none()) {
            if process.pid == pid {
                process.member = Some((leader.command, Evidence::Leader));
            } else if process.stat.sid == pid {
                process.member = Some((leader.command, Evidence::Relation));
            }
        }
    }
}

/// Whatever has a member as its parent or as the head of its session is a member. Nobody can join a session
/// or choose a parent, so this only ever adds what members have started.
fn add_relations(seen: &mut [Seen]) {
    let mut below: HashMap<i32, Vec<usize>> = HashMap::new();
    for (index, process) in seen.iter().enumerate() {
        below.entry(process.stat.ppid).or_default().push(index);
        if process.stat.sid != process.pid && process.stat.sid != process.stat.ppid {
            below.entry(process.stat.sid).or_default().push(index);
        }
    }
    let mut open: Vec<usize> = (0..seen.len()).filter(|index| seen[*index].member.is_some()).collect();
    while let Some(above) = open.pop() {
        let (pid, start_ticks) = (seen[above].pid, seen[above].stat.start_ticks);
        let Some((command, _)) = seen[above].member else { continue };
        for index in below.get(&pid).into_iter().flatten().copied() {
            let process = &mut seen[index];
            // An older "child" means that the number was reused while we were reading.
            if process.member.is_none() && process.stat.start_ticks >= start_ticks {
                process.member = Some((command, Evidence::Relation));
                open.push(index);
            }
        }
    }
}

/// Whether the process that `pidfd` was just opened for still carries this very limit.
pub(super) fn still_carries(pid: i32, carrier: Carrier, limit: u64) -> bool {
    match hard_limit_of(pid, carrier) {
        Ok(now) => now == limit,
        // Another user's process, whose limits are only for reading.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            let text = std::fs::read_to_string(format!("/proc/{pid}/limits"));
            text.is_ok_and(|text| carrier.in_limits_text(&text) == Some(limit))
        }
        Err(_) => false,
    }
}
