//! What a child that becomes another user says to its parent before it is its program: in memory that both see.
//!
//! Such a child holds up the thread that starts it, and whoever may signal it could stop it there for good. So it says who it is.

use std::{
    io,
    mem::size_of,
    ptr,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
};

use super::launch::Failure;

/// How many rounds without an end are too many.
#[cfg(feature = "helper")]
const MOST_ROUNDS: u32 = 10;

/// The memory itself.
#[derive(Debug)]
struct Board {
    /// Which process is on its way; none where it is 0.
    starting: AtomicI32,
    /// How many starts there were, so that one that is stuck is told from a row of quick ones.
    starts: AtomicU64,
    /// Written by the child on its way, read by its parent once that is gone.
    failure: Option<Failure>,
}

/// A mapping that stays for as long as the program.
#[derive(Clone, Copy, Debug)]
struct Mapped(*mut Board);

#[expect(unsafe_code, reason = "a pointer to memory that never goes")]
// SAFETY: it is used by the one who holds the turn, and by children of which there is one at a time; the rest is atomic.
unsafe impl Send for Mapped {}
#[expect(unsafe_code, reason = "a pointer to memory that never goes")]
// SAFETY: as above.
unsafe impl Sync for Mapped {}

static BOARD: OnceLock<Option<Mapped>> = OnceLock::new();

fn board() -> Option<Mapped> {
    *BOARD.get_or_init(|| {
        let (kind, protection) = (libc::MAP_SHARED | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
        #[expect(unsafe_code, reason = "anonymous mapping")]
        // SAFETY: a new mapping, aligned to pages and as long as what is written to it.
        unsafe {
            let place = libc::mmap(ptr::null_mut(), size_of::<Board>(), protection, kind, -1, 0);
            if place == libc::MAP_FAILED {
                return None;
            }
            let board = place.cast::<Board>();
            board.write(Board { starting: AtomicI32::new(0), starts: AtomicU64::new(0), failure: None });
            Some(Mapped(board))
        }
    })
}

/// The right to have one child on its way.
#[derive(Debug)]
pub(super) struct Notice {
    board: Mapped,
    _turn: MutexGuard<'static, ()>,
}

impl Notice {
    /// Waits for whoever is at it, and wipes what was said.
    pub(super) fn take() -> io::Result<Self> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let board = board().ok_or(io::ErrorKind::OutOfMemory)?;
        let notice = Self { board, _turn: turn };
        #[expect(unsafe_code, reason = "memory that a child may have written to")]
        // SAFETY: it is ours for as long as the turn is.
        unsafe {
            notice.failure().write(None);
        }
        Ok(notice)
    }

    /// Where the child says what went wrong.
    pub(super) fn failure(&self) -> *mut Option<Failure> {
        #[expect(unsafe_code, reason = "the place of a field")]
        // SAFETY: the mapping never goes; nothing is read.
        unsafe {
            &raw mut (*self.board.0).failure
        }
    }

    fn board(board: Mapped) -> (&'static AtomicI32, &'static AtomicU64) {
        #[expect(unsafe_code, reason = "references to memory that never goes")]
        // SAFETY: these two are atomic, and nobody has the whole.
        unsafe {
            (&(*board.0).starting, &(*board.0).starts)
        }
    }

    /// Said by the child, before it is anybody whom others may signal.
    pub(super) fn starting(pid: i32) {
        // Made by the parent before there was a child.
        if let Some(Some(board)) = BOARD.get() {
            let (starting, starts) = Self::board(*board);
            starts.fetch_add(1, Ordering::Relaxed);
            starting.store(pid, Ordering::Relaxed);
        }
    }
}

impl Drop for Notice {
    /// The child is its program by now, or there is none.
    fn drop(&mut self) {
        Self::board(self.board).0.store(0, Ordering::Relaxed);
    }
}

/// Looks from time to time, from a thread that starts nothing.
#[cfg(feature = "helper")]
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    seen: u64,
    count: u32,
}

#[cfg(feature = "helper")]
impl Rounds {
    /// Lets go on what is still where it was in the last round, and ends it after too many.
    pub(crate) fn next(&mut self) {
        let Some(Some(board)) = BOARD.get() else { return };
        let (starting, starts) = Notice::board(*board);
        let (starting, starts) = (starting.load(Ordering::Relaxed), starts.load(Ordering::Relaxed));
        if starting == 0 || starts != self.seen {
            *self = Self { seen: starts, count: 0 };
            return;
        }
        self.count += 1;
        let signal = if self.count > MOST_ROUNDS { libc::SIGKILL } else { libc::SIGCONT };
        #[expect(unsafe_code, reason = "kill(2)")]
        // SAFETY: a number and a signal. It cannot have been reaped: whoever would do that waits for it to start.
        unsafe {
            libc::kill(starting, signal);
        }
    }
}
