//! The first thread of the first process: takes in what has lost its parent, and goes when it is told to.

use std::io;
use std::mem::MaybeUninit;
use std::process;
use std::ptr;

use grainchain_core::{Error, Result};

use crate::sys::notice::Rounds;

/// How often it is looked whether somebody holds up a program that is being started.
const ROUND_SECONDS: i64 = 1;

/// Keeps the signals of the warden waiting for it, in this thread and in all that it starts.
#[expect(unsafe_code, reason = "signal masks have no safe form")]
pub(super) fn block_signals() -> Result<()> {
    let signals = signals();
    // SAFETY: a set that was filled, and no place for the old one.
    let refused = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, ptr::null_mut()) };
    if refused == 0 {
        return Ok(());
    }
    Err(Error::io("block the helper's signals", io::Error::from_raw_os_error(refused)))
}

/// Blocked, they reach us although we are the first process, for whom the kernel leaves out what nobody waits for.
#[expect(unsafe_code, reason = "signal sets have no safe form")]
fn signals() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is ours; it is valid when it is all zero, and filled below.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT] {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

/// Reaps for ever, on the process's first thread: what has lost its parent becomes that thread's child, and what others have started
/// stays theirs. Returns only when it cannot wait.
#[expect(unsafe_code, reason = "waiting for signals has no safe form")]
pub(super) fn watch() -> Result<()> {
    let signals = signals();
    let round = libc::timespec { tv_sec: ROUND_SECONDS, tv_nsec: 0 };
    let mut stuck = Rounds::default();
    loop {
        // SAFETY: a filled set, a filled time, and no place for what is known of the sender.
        match unsafe { libc::sigtimedwait(&raw const signals, ptr::null_mut(), &raw const round) } {
            libc::SIGCHLD => reap(),
            libc::SIGTERM | libc::SIGINT => process::exit(0),
            _ => {
                let error = io::Error::last_os_error();
                if !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) {
                    return Err(Error::io("wait for signals", error));
                }
                // A signal may have been lost in a crowd of the same kind.
                reap();
                stuck.next();
            }
        }
    }
}

/// Takes in all that have ended.
#[expect(unsafe_code, reason = "no safe wrapper knows __WNOTHREAD")]
fn reap() {
    // SAFETY: nothing is written anywhere.
    while unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG | libc::__WALL | libc::__WNOTHREAD) } > 0
    {
    }
}

/// Says why, and takes the whole sandbox along: the kernel ends every process when the first one ends.
#[expect(clippy::print_stderr, reason = "nobody else is left to tell")]
pub(super) fn end(reason: &Error) -> ! {
    eprintln!("{reason}");
    process::exit(0)
}
