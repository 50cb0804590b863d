//! A started program: waiting for it, signalling it, and not forgetting it.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use rustix::{
    process::{Pid, Signal, kill_process_group},
    time::{ClockId, clock_gettime},
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    reaper,
    tag::{CommandNumber, Marking},
};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitStatus {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal.
    Signaled { signal: i32, core_dumped: bool },
}

/// A child of this process, its pid pinned until it is reaped.
///
/// Dropping it unreaped hands it to a background thread that reaps it when it ends; nothing is killed.
#[derive(Debug)]
pub(crate) struct Child {
    shared: Arc<Shared>,
    marking: Marking,
    status: Option<WaitStatus>,
    readiness: Option<AsyncFd<Descriptor>>,
}

#[derive(Debug)]
struct Shared {
    pid: i32,
    pidfd: OwnedFd,
    /// A moment, in clock ticks since boot, at which it had not been reaped yet, set just before it is.
    reaped: OnceLock<u64>,
}

#[derive(Debug)]
struct Descriptor(Arc<Shared>);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.pidfd.as_raw_fd()
    }
}

impl Child {
    pub(super) fn new(pid: i32, pidfd: OwnedFd, marking: Marking) -> Self {
        let shared = Arc::new(Shared { pid, pidfd, reaped: OnceLock::new() });
        Self { shared, marking, status: None, readiness: None }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.shared.pid
    }

    /// How it can be found again.
    pub(crate) fn marking(&self) -> Marking {
        self.marking
    }

    /// A handle for signals that other tasks may hold; it never hits a reused pid.
    pub(crate) fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Waits for the end and reaps it. Later calls answer the same at once.
    ///
    /// # Errors
    ///
    /// `ECHILD` if somebody else in this process reaped it or `SIGCHLD` is ignored; outside a runtime with
    /// I/O enabled this panics, as every [`AsyncFd`] does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    #[cfg(test)]
    pub(crate) async fn wait(&mut self) -> io::Result<WaitStatus> {
        self.ended().await?;
        self.try_wait()?
            .ok_or_else(|| io::Error::other("a child that has ended cannot be reaped; is it traced?"))
    }

    /// Waits for the end and leaves it unreaped: its pid stays taken, so that the tree below it can be ended
    /// while its session cannot be mistaken for another one.
    ///
    /// # Errors
    ///
    /// `ECHILD` if somebody else in this process reaped it or `SIGCHLD` is ignored; outside a runtime with
    /// I/O enabled this panics, as every [`AsyncFd`] does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub(crate) async fn ended(&mut self) -> io::Result<()> {
        if self.status.is_some() || peek(&self.shared.pidfd, libc::WNOWAIT)?.is_some() {
            return Ok(());
        }
        // A registration lives as long as its runtime. If that is gone, this one gets a new one.
        let was_registered = self.readiness.is_some();
        match self.readable().await {
            Err(_) if was_registered => {
                self.readiness = None;
                self.readable().await
            }
            result => result,
        }
    }

    /// As [`Self::ended`], for a task that waits for other things as well; costs no system call while nothing has
    /// happened. Only the last task that asked is woken.
    ///
    /// # Errors
    ///
    /// As [`Self::ended`].
    pub(crate) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.status.is_some() {
            return Poll::Ready(Ok(()));
        }
        let shared = Arc::clone(&self.shared);
        let readiness = self.registered()?;
        loop {
            let mut ready = ready!(readiness.poll_read_ready(cx))?;
            if peek(&shared.pidfd, libc::WNOWAIT)?.is_some() {
                return Poll::Ready(Ok(()));
            }
            ready.clear_ready();
        }
    }

    /// Forgets the runtime that it was waited for in. The next wait may be in another one.
    pub(crate) fn leave_runtime(&mut self) {
        self.readiness = None;
    }

    fn registered(&mut self) -> io::Result<&mut AsyncFd<Descriptor>> {
        Ok(match &mut self.readiness {
            Some(readiness) => readiness,
            empty => {
                let descriptor = Descriptor(Arc::clone(&self.shared));
                #[expect(unsafe_code, reason = "the runtime has to trust that the descriptor stays open")]
                // SAFETY: the descriptor is open and the same for as long as `Shared` lives.
                let readiness = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
                empty.insert(readiness)
            }
        })
    }

    async fn readable(&mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let readiness = self.registered()?;
        loop {
            let mut ready = readiness.readable().await?;
            if peek(&shared.pidfd, libc::WNOWAIT)?.is_some() {
                return Ok(());
            }
            ready.clear_ready();
        }
    }

    /// Reaps it if it has ended.
    ///
    /// # Errors
    ///
    /// As [`Self::ended`].
    pub(crate) fn try_wait(&mut self) -> io::Result<Option<WaitStatus>> {
        if self.status.is_none() && peek(&self.shared.pidfd, libc::WNOWAIT)?.is_some() {
            self.shared.reaped.get_or_init(ticks_now);
            self.status = peek(&self.shared.pidfd, 0)?;
            self.readiness = None;
        }
        Ok(self.status)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The descriptor leaves the runtime's set before the reaper puts it into its own.
        self.readiness = None;
        if self.status.is_none() {
            reaper::adopt(self.handle());
        }
    }
}

/// Refers to one process for ever, also after its pid belongs to somebody else.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn pid(&self) -> i32 {
        self.shared.pid
    }

    /// Sends a signal to this process alone.
    ///
    /// # Errors
    ///
    /// `ESRCH` once it has been reaped, `EPERM` if it changed its user, `EINVAL` for no signal.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        send_signal(&self.shared.pidfd, signal)
    }

    /// Sends a signal to the whole group that it was started in, also after it has been reaped; the kernel lets
    /// no member fork away meanwhile. Needs Linux 6.9.
    pub(super) fn signal_group(&self, signal: i32) -> io::Result<()> {
        send_signal_with(&self.shared.pidfd, signal, libc::PIDFD_SIGNAL_PROCESS_GROUP)
    }

    /// Kills it and the group that it was started in, without a look at any other process.
    ///
    /// # Errors
    ///
    /// As [`signal`](Self::signal), except that nothing is left to be done where there is nobody any more.
    pub(super) fn kill_with_group(&self) -> io::Result<()> {
        let group = match self.signal_group(libc::SIGKILL) {
            // An older kernel. While it is not reaped, nobody else has its number, which is also that of its group.
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) && self.reaped_ticks().is_none() => {
                let group = Pid::from_raw(self.pid());
                group.map_or(Ok(()), |group| Ok(kill_process_group(group, Signal::KILL)?))
            }
            signalled => signalled,
        };
        let gone = |error: io::Error| match error.raw_os_error() {
            Some(libc::ESRCH) => Ok(()),
            _ => Err(error),
        };
        self.signal(libc::SIGKILL).or_else(gone).and(group.or_else(gone))
    }

    /// Names it as the head of a command, for [`tree`](super::tree).
    pub(crate) fn leader(&self, command: CommandNumber) -> super::scan::Leader {
        super::scan::Leader { command, process: self.clone() }
    }

    /// When it was reaped, in clock ticks since boot; `None` while its pid is pinned.
    pub(super) fn reaped_ticks(&self) -> Option<u64> {
        self.shared.reaped.get().copied()
    }

    /// Readable once it has ended.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.shared.pidfd.as_fd()
    }

    /// Reaps it if it has ended; true when there is nothing left to do.
    pub(super) fn reap_now(&self) -> bool {
        match peek(&self.shared.pidfd, libc::WNOWAIT) {
            Ok(None) => false,
            Ok(Some(_)) => {
                self.shared.reaped.get_or_init(ticks_now);
                let _reaped_here_or_elsewhere = peek(&self.shared.pidfd, 0);
                true
            }
            Err(_) => true,
        }
    }
}

pub(super) fn ticks_now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    // The kernel shows start times in hundredths of a second on every architecture (USER_HZ).
    now.tv_sec as u64 * 100 + now.tv_nsec as u64 / 10_000_000
}

pub(super) fn send_signal(pidfd: &OwnedFd, signal: i32) -> io::Result<()> {
    send_signal_with(pidfd, signal, 0)
}

#[expect(unsafe_code, reason = "rustix knows no real-time signals here")]
fn send_signal_with(pidfd: &OwnedFd, signal: i32, flags: u32) -> io::Result<()> {
    let info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a valid descriptor and a null siginfo, which the kernel fills as for kill(2).
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reaps a child that is about to exit.
pub(super) fn reap_blocking(pidfd: &OwnedFd) {
    // Only ECHILD can come back, and then it has been reaped.
    let _gone = wait_id(pidfd, libc::WEXITED);
}

fn peek(pidfd: &OwnedFd, flags: i32) -> io::Result<Option<WaitStatus>> {
    wait_id(pidfd, libc::WEXITED | libc::WNOHANG | flags)
}

#[expect(unsafe_code, reason = "rustix hides whether a core was dumped, and __WALL")]
fn wait_id(pidfd: &OwnedFd, flags: i32) -> io::Result<Option<WaitStatus>> {
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: a valid descriptor; the kernel fills our structure, which is valid when all zero.
        let (result, info) = unsafe {
            let id = pidfd.as_raw_fd() as libc::id_t;
            let result = libc::waitid(libc::P_PIDFD, id, info.as_mut_ptr(), flags | libc::__WALL);
            (result, info.assume_init())
        };
        if result < 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        }
        // SAFETY: waitid has filled the SIGCHLD part of the union, or left zeroes.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        return Ok((pid != 0).then_some(match info.si_code {
            libc::CLD_EXITED => WaitStatus::Exited(status),
            code => WaitStatus::Signaled { signal: status, core_dumped: code == libc::CLD_DUMPED },
        }));
    }
}
