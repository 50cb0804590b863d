//! The moment of `clone`: a child that borrows our memory until it has become another program.
//!
//! As in glibc's `posix_spawn`, the child runs on its own stack in the parent's memory (`CLONE_VM`) while the
//! calling thread waits (`CLONE_VFORK`), so nothing is copied and the child reports by writing to the plan.
//! A child that becomes another user has a copy of the memory instead; the rest is the same.
//! It must therefore do nothing that another thread could be in the middle of: no allocation, no lock, no
//! panic, and none of libc's `set*id`, which would signal the *parent's* threads.

use std::{
    ffi::{c_char, c_int, c_long, c_uint, c_void},
    io,
    os::fd::{FromRawFd, OwnedFd, RawFd},
    ptr,
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{notice::Notice, spawn::Step};

/// The child needs a few hundred bytes; unoptimised Rust somewhat more.
const STACK_BYTES: usize = 64 * 1024;
const GUARD_BYTES: usize = 64 * 1024;

/// Held for reading while a child exists that is not yet its program.
static LAUNCHES: RwLock<()> = RwLock::new(());

/// Keeps children from being started by this process, after those under way have become their programs.
///
/// Stopping a half-started child would stop the thread that waits for it, too.
pub(super) fn hold() -> RwLockWriteGuard<'static, ()> {
    LAUNCHES.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn enter() -> RwLockReadGuard<'static, ()> {
    LAUNCHES.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Whom the child becomes.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) uid: c_uint,
    pub(super) gid: c_uint,
    pub(super) groups: *const c_uint,
    pub(super) group_count: usize,
}

/// Everything the child does, as plain numbers and pointers that outlive it.
#[derive(Debug)]
pub(super) struct Plan {
    /// Ended by null.
    pub(super) candidates: *const *const c_char,
    pub(super) searched: bool,
    pub(super) arguments: *const *const c_char,
    pub(super) environment: *const *const c_char,
    pub(super) stdio: [RawFd; 3],
    /// For the numbers from 3 on.
    pub(super) channel: Option<[RawFd; 2]>,
    pub(super) working_directory: Option<RawFd>,
    pub(super) controlling_terminal: bool,
    pub(super) umask: Option<c_uint>,
    pub(super) identity: Option<Identity>,
    pub(super) limit: Option<(c_uint, u64)>,
    /// Text, not ended by zero.
    pub(super) oom_score: Option<(*const u8, usize)>,
}

/// What went wrong in the child.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) step: Step,
    pub(super) errno: c_int,
    /// Which candidate, for [`Step::Interpreter`].
    pub(super) candidate: usize,
}

struct Shared<'a> {
    plan: &'a Plan,
    /// Where the child says what went wrong, in memory that both see.
    failure: *mut Option<Failure>,
}

/// Either side's reason why there is no child.
#[derive(Debug)]
pub(super) enum Refusal {
    Clone(io::Error),
    Child(Failure),
}

/// Starts the plan and returns once the child is its program, with its pid and pidfd.
///
/// # Safety
///
/// Every pointer in the plan is valid, and the arrays end as documented.
#[expect(unsafe_code, reason = "clone with shared memory has no safe form")]
pub(super) unsafe fn launch(plan: &Plan) -> Result<(libc::pid_t, OwnedFd), Refusal> {
    let stack = Stack::new().map_err(Refusal::Clone)?;
    let mut failure = None;
    // Whoever changes its user closes its memory to the new one: it must not be ours, or our files in /proc would be root's for as long
    // as that takes. What it would then copy is little, for a process that has little.
    let notice = plan.identity.as_ref().map(|_| Notice::take().map_err(Refusal::Clone)).transpose()?;
    let place = notice.as_ref().map_or(&raw mut failure, Notice::failure);
    let mut shared = Shared { plan, failure: place };
    let mut pidfd: c_int = -1;
    let memory = if notice.is_some() { 0 } else { libc::CLONE_VM };
    let flags = memory | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;

    let launching = enter();
    // A handler of ours that ran in the child would run on our memory with the child's identity.
    let blocked = BlockedSignals::new();
    // SAFETY: the stack is mapped and ours; `shared` and `pidfd` outlive the call, and because of CLONE_VFORK
    // the child no longer uses our memory when it returns.
    let pid = unsafe {
        libc::clone(
            child_main,
            stack.top(),
            flags,
            (&raw mut shared).cast::<c_void>(),
            &raw mut pidfd,
            ptr::null_mut::<c_void>(),
            ptr::null_mut::<c_void>(),
        )
    };
    let clone_error = io::Error::last_os_error();
    drop(blocked);
    drop(launching);

    if pid < 0 {
        return Err(Refusal::Clone(clone_error));
    }
    // SAFETY: the kernel has just opened this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // The compiler must not assume that only its own code writes there.
    // SAFETY: a valid, initialised value that nobody else uses any more.
    match unsafe { ptr::read_volatile(place) } {
        None => Ok((pid, pidfd)),
        Some(failure) => {
            super::child::reap_blocking(&pidfd);
            Err(Refusal::Child(failure))
        }
    }
}

/// A mapping with an inaccessible zone at its low end.
struct Stack {
    base: *mut c_void,
}

impl Stack {
    #[expect(unsafe_code, reason = "anonymous mapping")]
    fn new() -> io::Result<Self> {
        // SAFETY: a new private mapping; the protection change stays within it.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
            let base = libc::mmap(ptr::null_mut(), GUARD_BYTES + STACK_BYTES, libc::PROT_NONE, flags, -1, 0);
            if base == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            let stack = Self { base };
            let usable = base.byte_add(GUARD_BYTES);
            if libc::mprotect(usable, STACK_BYTES, libc::PROT_READ | libc::PROT_WRITE) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(stack)
        }
    }

    #[expect(unsafe_code, reason = "pointer arithmetic within the mapping")]
    fn top(&self) -> *mut c_void {
        // SAFETY: one past the end of the mapping; a multiple of the page size, hence aligned.
        unsafe { self.base.byte_add(GUARD_BYTES + STACK_BYTES) }
    }
}

impl Drop for Stack {
    #[expect(unsafe_code, reason = "unmapping what new() mapped")]
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody runs on it any more.
        unsafe {
            libc::munmap(self.base, GUARD_BYTES + STACK_BYTES);
        }
    }
}

/// The kernel's signal set, all 64, also the two that libc keeps for itself.
const SIGNAL_SET_BYTES: usize = 8;

/// All signals blocked in this thread while it lives.
struct BlockedSignals {
    before: u64,
}

impl BlockedSignals {
    fn new() -> Self {
        let mut before = 0;
        set_signal_mask(u64::MAX, Some(&mut before));
        Self { before }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        set_signal_mask(self.before, None);
    }
}

#[expect(unsafe_code, reason = "libc's wrapper leaves out the two signals that matter here")]
fn set_signal_mask(mask: u64, before: Option<&mut u64>) -> c_long {
    let before = before.map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: both pointers are null or valid for the eight bytes that the kernel uses.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, before, SIGNAL_SET_BYTES)
    }
}

#[expect(unsafe_code, reason = "the entry point that clone wants")]
extern "C" fn child_main(shared: *mut c_void) -> c_int {
    // SAFETY: `launch` passes its own `Shared` and waits until we are gone.
    unsafe {
        let shared = shared.cast::<Shared<'_>>();
        let failure = become_program((*shared).plan);
        ptr::write_volatile((*shared).failure, Some(failure));
        libc::_exit(127)
    }
}

fn last(step: Step) -> Failure {
    Failure { step, errno: errno(), candidate: 0 }
}

#[expect(unsafe_code, reason = "reading errno without an allocation")]
fn errno() -> c_int {
    // SAFETY: always valid for the running thread; the parent's is suspended, so nobody else writes it.
    unsafe { *libc::__errno_location() }
}

/// Only returns when a step failed.
#[expect(unsafe_code, reason = "a row of system calls")]
unsafe fn become_program(plan: &Plan) -> Failure {
    // SAFETY: plain system calls; the pointers are valid by the contract of `launch`.
    match unsafe { prepare(plan) } {
        Ok(()) => unsafe { execute(plan) },
        Err(failure) => failure,
    }
}

#[expect(unsafe_code, reason = "a row of system calls")]
unsafe fn prepare(plan: &Plan) -> Result<(), Failure> {
    let check = |result: c_long, step| if result < 0 { Err(last(step)) } else { Ok(result) };
    // SAFETY: see the module's text and the contract of `launch`.
    unsafe {
        reset_dispositions();
        // Before the mark: whoever carries the mark must already be in a session of its own.
        check(libc::setsid().into(), Step::Session)?;
        if let Some((resource, value)) = plan.limit {
            let limit = libc::rlimit64 { rlim_cur: value, rlim_max: value };
            let old: *mut libc::rlimit64 = ptr::null_mut();
            check(libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, old), Step::Mark)?;
        }
        if let Some((text, length)) = plan.oom_score {
            // The file is our own user's, while files may be somebody else's to us; and it is root's while our memory is closed to
            // others, as it is after each change of this kind, and again once the user changes below.
            if plan.identity.is_some() {
                libc::syscall(libc::SYS_setfsuid, libc::geteuid());
                libc::prctl(libc::PR_SET_DUMPABLE, 1);
            }
            let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            check(file.into(), Step::OomScore)?;
            check(libc::write(file, text.cast(), length) as c_long, Step::OomScore)?;
            libc::close(file);
        }

        // Whatever sits on a number that is given away and belongs elsewhere moves up first, or it would be overwritten.
        let [stdin, stdout, stderr] = plan.stdio;
        let [third, fourth] = plan.channel.unwrap_or([-1; 2]);
        let mut places = [stdin, stdout, stderr, third, fourth];
        let count: c_int = if plan.channel.is_some() { 5 } else { 3 };
        let above = |fd: RawFd| libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, count);
        let mut directory = plan.working_directory;
        if let Some(fd) = directory
            && fd < count
        {
            directory = Some(check(above(fd).into(), Step::WorkingDirectory)? as RawFd);
        }
        let sources = places.iter_mut().take(count as usize);
        for (target, source) in sources.enumerate() {
            if *source < count && *source != target as RawFd {
                *source = check(above(*source).into(), Step::Stdio)? as RawFd;
            }
        }
        for (target, source) in places.iter().take(count as usize).enumerate() {
            let target = target as RawFd;
            let result = if *source == target {
                libc::fcntl(target, libc::F_SETFD, 0)
            } else {
                libc::dup2(*source, target)
            };
            check(result.into(), Step::Stdio)?;
        }

        if plan.controlling_terminal {
            check(libc::ioctl(0, libc::TIOCSCTTY, 0).into(), Step::Terminal)?;
        }
        if let Some(umask) = plan.umask {
            libc::umask(umask as libc::mode_t);
        }
        if let Some(identity) = &plan.identity {
            Notice::starting(libc::syscall(libc::SYS_getpid) as i32);
            let Identity { uid, gid, groups, group_count } = *identity;
            check(libc::syscall(libc::SYS_setgroups, group_count, groups), Step::Groups)?;
            check(libc::syscall(libc::SYS_setresgid, gid, gid, gid), Step::Group)?;
            check(libc::syscall(libc::SYS_setresuid, uid, uid, uid), Step::User)?;
        }
        // As the new user: a folder that it may not enter is an error here and not a puzzle later.
        if let Some(fd) = directory {
            check(libc::fchdir(fd).into(), Step::WorkingDirectory)?;
        }
        // Closed now and not by exec, which does so only after it has let the parent go on: a descriptor that
        // was open for writing would keep other programs from being started (ETXTBSY).
        let (first, end, flags): (c_uint, c_uint, c_uint) = (count as c_uint, c_uint::MAX, 0);
        check(libc::syscall(libc::SYS_close_range, first, end, flags), Step::Descriptors)?;
        check(set_signal_mask(0, None), Step::Signals)?;
    }
    Ok(())
}

/// Every signal back to its default, the ignored ones too (a shell cannot undo `SIG_IGN` that it inherits).
#[expect(unsafe_code, reason = "libc's sigaction refuses the two signals that it keeps for itself")]
unsafe fn reset_dispositions() {
    // All zero is the kernel's SIG_DFL with no flags on every architecture; 64 bytes are enough for each.
    let default = [0_u64; 8];
    let old: *mut c_void = ptr::null_mut();
    for signal in 1..=64 {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            // SAFETY: the kernel reads a structure of less than 64 bytes.
            unsafe {
                libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, SIGNAL_SET_BYTES);
            }
        }
    }
}

/// Tries the candidates in order, as `execvp` does; but tells a script without interpreter from no script.
#[expect(unsafe_code, reason = "execve")]
unsafe fn execute(plan: &Plan) -> Failure {
    let mut denied = false;
    let mut errno_seen = libc::ENOENT;
    let mut candidate = 0;
    loop {
        // SAFETY: the list ends with null, where we stop.
        let path = unsafe { *plan.candidates.add(candidate) };
        if path.is_null() {
            break;
        }
        // SAFETY: null-terminated arrays of null-terminated strings.
        unsafe {
            libc::execve(path, plan.arguments, plan.environment);
        }
        let error = errno();
        match error {
            // SAFETY: a null-terminated string.
            libc::ENOENT
                if unsafe { libc::syscall(libc::SYS_faccessat, libc::AT_FDCWD, path, libc::F_OK) } == 0 =>
            {
                return Failure { step: Step::Interpreter, errno: error, candidate };
            }
            libc::EACCES => denied = true,
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {
                if !plan.searched {
                    errno_seen = error;
                }
            }
            _ => return Failure { step: Step::Program, errno: error, candidate },
        }
        candidate += 1;
    }
    Failure { step: Step::Program, errno: if denied { libc::EACCES } else { errno_seen }, candidate: 0 }
}
