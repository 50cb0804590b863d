//! What the kernel counts for a container as a whole: its control groups, of either version, and its network.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Numbers from here on mean that there is no limit: version 1 rounds the largest number down to whole pages.
const NO_LIMIT: u64 = 1 << 60;

/// The first of `files` that holds a number.
fn number(files: &[&str]) -> Option<u64> {
    files.iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
}

/// How much memory there may be, in bytes.
pub(crate) fn memory_limit() -> Option<u64> {
    number(&["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"])
        .filter(|limit| *limit < NO_LIMIT)
}

/// How many processors may be used at a time.
pub(crate) fn cpu_limit() -> Option<f64> {
    let text = fs::read_to_string("/sys/fs/cgroup/cpu.max").ok().or_else(|| {
        let part = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/cpu/cpu.cfs_{name}_us")).ok();
        Some(format!("{} {}", part("quota")?.trim(), part("period")?))
    });
    processors(&text?)
}

/// The processors in a quota and a period; none where the quota is no limit, which is `max` or -1.
fn processors(text: &str) -> Option<f64> {
    let mut numbers = text.split_whitespace().map(|word| word.parse::<f64>().ok());
    let (quota, period) = (numbers.next()??, numbers.next()??);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// How long processes were held up because of that limit.
pub(crate) fn throttled() -> Option<Duration> {
    let files = ["/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpu/cpu.stat"];
    files.iter().find_map(|file| held_up(&fs::read_to_string(file).ok()?))
}

fn held_up(text: &str) -> Option<Duration> {
    let number = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<u64>().ok())
    };
    number("throttled_usec")
        .map(Duration::from_micros)
        .or_else(|| number("throttled_time").map(Duration::from_nanos))
}

/// Counts the processes that were killed because there was no memory left.
#[derive(Debug)]
pub(crate) struct Kills(Option<File>);

impl Kills {
    /// Of this program's control group, where `contained` says that it is the sandbox's.
    pub(crate) fn new(contained: bool) -> Self {
        let files = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];
        Self(files.iter().filter(|_| contained).find_map(|file| File::open(file).ok()))
    }

    /// How many there were until now; none where nobody can tell. Costs one system call: every command asks twice.
    pub(crate) fn count(&self) -> Option<u64> {
        let mut text = [0; 512];
        let length = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
        kills(std::str::from_utf8(text.get(..length)?).ok()?)
    }
}

fn kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Bytes received and sent by all interfaces but the loopback.
pub(crate) fn traffic() -> Option<(u64, u64)> {
    Some(sums(&fs::read_to_string("/proc/net/dev").ok()?))
}

fn sums(text: &str) -> (u64, u64) {
    let interfaces = text.lines().filter_map(|line| line.split_once(':'));
    let counted = interfaces.filter(|(name, _)| name.trim() != "lo").filter_map(|(_, counts)| {
        let mut counts = counts.split_whitespace().map(|count| count.parse::<u64>().ok());
        Some((counts.next()??, counts.nth(7)??))
    });
    counted.fold((0, 0), |(received, sent), (more, also)| (received + more, sent + also))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_read_in_both_versions_words() {
        assert_eq!(kills("low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n"), Some(1));
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(kills("oom_kill_disable 0\n"), None);
    }

    #[test]
    fn processors_are_read_in_both_versions_words() {
        assert_eq!(processors("50000 100000\n"), Some(0.5));
        assert_eq!(processors("max 100000\n"), None);
        assert_eq!(processors("-1 100000\n"), None);
        assert_eq!(
            held_up("usage_usec 7\nnr_throttled 3\nthrottled_usec 1500\n"),
            Some(Duration::from_micros(1500))
        );
        assert_eq!(
            held_up("nr_periods 9\nnr_throttled 3\nthrottled_time 1500\n"),
            Some(Duration::from_nanos(1500))
        );
        assert_eq!(held_up("usage_usec 7\n"), None);
    }

    #[test]
    fn traffic_leaves_the_loopback_out() {
        let text = "Inter-|   Receive |  Transmit\n face |bytes packets|bytes\n    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  eth0: 100 2 0 0 0 0 0 0 30 3 0 0 0 0 0 0\n  eth1:7 2 0 0 0 0 0 0 3 3 0 0 0 0 0 0\n";
        assert_eq!(sums(text), (107, 33));
        assert_eq!(sums(""), (0, 0));
    }
}
