//! The mark that every process of a sandbox inherits and that an unprivileged one cannot shake off for free.
//!
//! The strong mark is the *hard limit* of a resource that no program uses: it survives `fork`, `exec`,
//! `setsid`, a cleared environment and closed descriptors, everybody may read it, and without
//! `CAP_SYS_RESOURCE` it can be lowered but never raised. `RLIMIT_RTTIME` (microseconds of real-time CPU; ours
//! are 146 millennia) comes first. `RLIMIT_LOCKS`, which the kernel has ignored since 2.4.25, is for a caller whose own
//! `RLIMIT_RTTIME` is taken: a Grainchain inside a Grainchain sandbox, or a service with its own limit. So the
//! outer sandbox's mark is never overwritten by the inner one and both find exactly their own.
//!
//! The weak mark is the variable [`VARIABLE`], set always, as a list: an inner sandbox appends to what it
//! inherited. It is read when neither limit is free and in thorough scans.
//!
//! What remains: a process that lowers or (with the capability) raises its limit, clears its environment,
//! calls `setsid` *and* loses every living marked ancestor is found by nothing here. Neither is one that is
//! started by somebody else on its behalf (cron, a container engine, a service manager). Whoever may signal
//! a process may also put a mark on it; that gives nobody a power that `kill` had not given them already.

use std::{fmt, io, mem::MaybeUninit, sync::OnceLock};

use rustix::process::{Resource, getrlimit};

/// The variable that carries the weak mark.
pub(crate) const VARIABLE: &str = grainchain_core::RESERVED_VARIABLE;

/// Values of this form are marks: bit 63 clear, bit 62 set.
const FORM: u64 = 0b01 << 62;
const COMMAND_BITS: u32 = 30;

/// What tells one sandbox's processes from another's on this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SandboxTag(pub(crate) u32);

impl SandboxTag {
    /// A tag nobody else is likely to have.
    ///
    /// # Errors
    ///
    /// When the kernel gives no random bytes.
    #[cfg(test)]
    pub(crate) fn random() -> io::Result<Self> {
        getrandom::u32().map(Self).map_err(|error| io::Error::other(error.to_string()))
    }
}

/// The number of a command within its sandbox, below [`CommandNumber::LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CommandNumber(u32);

impl CommandNumber {
    /// The first number that does not fit.
    pub(crate) const LIMIT: u32 = 1 << COMMAND_BITS;

    /// `None` from [`Self::LIMIT`] on.
    pub(crate) const fn new(number: u32) -> Option<Self> {
        if number < Self::LIMIT { Some(Self(number)) } else { None }
    }

    pub(crate) const fn get(self) -> u32 {
        self.0
    }
}

/// Which command of which sandbox a process belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    pub(crate) sandbox: SandboxTag,
    pub(crate) command: CommandNumber,
}

impl Mark {
    pub(crate) const fn to_limit(self) -> u64 {
        FORM | (self.sandbox.0 as u64) << COMMAND_BITS | self.command.0 as u64
    }

    /// `None` for every value that is not a mark, infinity among them.
    pub(crate) const fn from_limit(limit: u64) -> Option<Self> {
        if limit >> 62 != FORM >> 62 {
            return None;
        }
        let command = CommandNumber(limit as u32 & (CommandNumber::LIMIT - 1));
        Some(Self { sandbox: SandboxTag((limit >> COMMAND_BITS) as u32), command })
    }

    /// Reads one element of the variable's list.
    fn parse(text: &[u8]) -> Option<Self> {
        let (sandbox, command) = std::str::from_utf8(text).ok()?.split_once(':')?;
        if sandbox.len() != 8
            || sandbox.starts_with('+')
            || !command.bytes().all(|byte| byte.is_ascii_digit())
        {
            return None;
        }
        let sandbox = SandboxTag(u32::from_str_radix(sandbox, 16).ok()?);
        Some(Self { sandbox, command: CommandNumber::new(command.parse().ok()?)? })
    }

    /// Every mark in an environment block (`NAME=value`, each ended by a zero byte).
    pub(crate) fn all_in_environment(block: &[u8]) -> impl Iterator<Item = Self> {
        block
            .split(|byte| *byte == 0)
            .filter_map(|entry| entry.strip_prefix(VARIABLE.as_bytes())?.strip_prefix(b"="))
            .flat_map(|value| value.split(|byte| *byte == b','))
            .filter_map(Self::parse)
    }

    /// The value of [`VARIABLE`] for a child with this mark: what this process inherited, then ours.
    pub(crate) fn to_variable(self) -> String {
        static INHERITED: OnceLock<String> = OnceLock::new();
        // Not `std::env`: what an outer sandbox reads about us is the block we were started with.
        let inherited = INHERITED.get_or_init(|| {
            let block = std::fs::read("/proc/self/environ").unwrap_or_default();
            Self::all_in_environment(&block).map(|mark| format!("{mark},")).collect()
        });
        format!("{inherited}{self}")
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}:{}", self.sandbox.0, self.command.0)
    }
}

/// A limit that can hold a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// `RLIMIT_RTTIME`.
    RealTime,
    /// `RLIMIT_LOCKS`.
    Locks,
}

impl Carrier {
    /// In the order in which they are taken.
    pub(crate) const ALL: [Self; 2] = [Self::RealTime, Self::Locks];

    /// The first that this process can still give to a child; `None` leaves only the variable.
    ///
    /// A limit that holds something is never overwritten, even where we have the capability: it may be the
    /// mark by which an outer sandbox finds us.
    pub(crate) fn free() -> Option<Self> {
        Self::ALL.into_iter().find(|carrier| {
            let limit = getrlimit(match carrier {
                Self::RealTime => Resource::Rttime,
                Self::Locks => Resource::Locks,
            });
            limit.maximum.is_none()
        })
    }

    pub(super) const fn resource(self) -> libc::c_uint {
        match self {
            Self::RealTime => libc::RLIMIT_RTTIME as libc::c_uint,
            Self::Locks => libc::RLIMIT_LOCKS as libc::c_uint,
        }
    }

    /// How `/proc/<pid>/limits` calls it.
    const fn label(self) -> &'static str {
        match self {
            Self::RealTime => "Max realtime timeout",
            Self::Locks => "Max file locks",
        }
    }

    /// The hard limit in the text of `/proc/<pid>/limits`.
    pub(super) fn in_limits_text(self, text: &str) -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(self.label()))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

/// How a started child was marked; the variable is always there as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marking {
    /// The caller asked for no mark.
    None,
    /// By a hard limit.
    Limit(Carrier),
    /// No limit was free: a cleared environment is enough to lose the mark. Scans must be
    /// [`Thorough`](super::scan::Depth::Thorough), and the layer above should say so.
    VariableOnly,
}

/// The hard limit of another process, by one system call.
///
/// # Errors
///
/// `EPERM` for another user's process, `ESRCH` when it is gone.
pub(super) fn hard_limit_of(pid: i32, carrier: Carrier) -> io::Result<u64> {
    let mut limit = MaybeUninit::<libc::rlimit64>::zeroed();
    #[expect(unsafe_code, reason = "no safe wrapper reads another process's limit without setting it")]
    // SAFETY: the kernel writes one rlimit64 to a place that we own; all bytes were initialised.
    let (result, limit) = unsafe {
        let new: *const libc::rlimit64 = std::ptr::null();
        let result = libc::syscall(libc::SYS_prlimit64, pid, carrier.resource(), new, limit.as_mut_ptr());
        (result, limit.assume_init())
    };
    if result == 0 { Ok(limit.rlim_max) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(sandbox: u32, command: u32) -> Mark {
        Mark { sandbox: SandboxTag(sandbox), command: CommandNumber::new(command).unwrap() }
    }

    #[test]
    fn a_mark_survives_the_way_through_a_limit() {
        for mark in [mark(0, 0), mark(u32::MAX, CommandNumber::LIMIT - 1), mark(0x8000_0001, 7)] {
            assert_eq!(Mark::from_limit(mark.to_limit()), Some(mark));
        }
    }

    #[test]
    fn ordinary_limits_are_not_marks() {
        for limit in [0, 1, 200_000, i64::MAX as u64 / 2, u64::MAX, u64::MAX >> 1 << 1, 1 << 63] {
            assert_eq!(Mark::from_limit(limit), None, "{limit:x}");
        }
    }

    #[test]
    fn a_number_that_would_spill_into_the_sandbox_is_refused() {
        assert!(CommandNumber::new(CommandNumber::LIMIT).is_none());
    }

    #[test]
    fn an_environment_may_hold_the_marks_of_nested_sandboxes() {
        let block = b"A=1\0GRAINCHAIN_COMMAND=00000001:5,ffffffff:1073741823\0B=2\0";
        let found: Vec<_> = Mark::all_in_environment(block).collect();
        assert_eq!(found, [mark(1, 5), mark(u32::MAX, CommandNumber::LIMIT - 1)]);
    }

    #[test]
    fn malformed_environment_marks_are_ignored() {
        for value in ["", ":", "1:1", "00000001:", "00000001:+1", "+0000001:1", "00000001:1073741824"] {
            let block = format!("GRAINCHAIN_COMMAND={value}\0XGRAINCHAIN_COMMAND=00000001:1\0");
            let found: Vec<_> = Mark::all_in_environment(block.as_bytes()).collect();
            let expected: &[Mark] = &[];
            assert_eq!(found, expected, "{value}");
        }
    }

    #[test]
    fn the_limits_file_is_read_as_the_kernel_writes_it() {
        let text = std::fs::read_to_string("/proc/self/limits").unwrap();
        for carrier in Carrier::ALL {
            let from_call = hard_limit_of(std::process::id() as i32, carrier).unwrap();
            let from_file = carrier.in_limits_text(&text).unwrap_or(u64::MAX);
            assert_eq!(from_call, from_file);
        }
        let line = "Max realtime timeout      4611686018427387904  4611686018427387905  us        ";
        assert_eq!(Carrier::RealTime.in_limits_text(line), Some((1 << 62) + 1));
    }
}
