//! The place of one interpreter in its context: whose turn it is, and what waits between turns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::{Instant, timeout_at};

use super::interpreter::Interpreter;
use crate::ending::Tree;

/// One generation of a context. A restart closes it, which sends those who wait for their turn to the next.
#[derive(Debug)]
pub(super) struct Seat {
    /// One at a time, in the order in which they came.
    turn: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: Option<Interpreter>,
    /// Of the interpreter, idle or not.
    tree: Option<Tree>,
    count: u64,
    since: Option<SystemTime>,
}

/// Why there is no turn.
#[derive(Debug)]
pub(super) enum NoTurn {
    /// The context was restarted or deleted.
    Closed,
    /// The time is over.
    Elapsed,
}

impl Seat {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { turn: Arc::new(Semaphore::new(1)), state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all who came before are done.
    pub(super) async fn take(self: Arc<Self>, deadline: Option<Instant>) -> Result<Place, NoTurn> {
        let turn = Arc::clone(&self.turn);
        let permit = match Arc::clone(&turn).try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::Closed) => return Err(NoTurn::Closed),
            Err(TryAcquireError::NoPermits) => {
                let acquired = match deadline {
                    None => turn.acquire_owned().await,
                    Some(deadline) => {
                        timeout_at(deadline, turn.acquire_owned()).await.map_err(|_| NoTurn::Elapsed)?
                    }
                };
                acquired.map_err(|_| NoTurn::Closed)?
            }
        };
        Ok(Place { seat: self, _permit: permit })
    }

    /// Ends this generation and hands out what is to be killed.
    pub(super) fn close(&self) -> Option<Tree> {
        // In this order: whoever sits down from now on sees that it is closed, whoever did so before is seen here.
        self.turn.close();
        let mut state = self.lock();
        state.since = None;
        state.tree.take()
    }

    /// When the interpreter was started, and how many runs it has seen.
    pub(super) fn seen(&self) -> Option<(SystemTime, u64)> {
        let state = self.lock();
        state.since.map(|since| (since, state.count))
    }

    /// Reaps an interpreter that has ended while nobody used it.
    pub(super) fn reap(&self) {
        let dead = self.lock().idle.take_if(|interpreter| !interpreter.is_alive());
        drop(dead);
    }
}

/// The turn of one run, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    seat: Arc<Seat>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// The interpreter that the last run left, if it left one. It may have ended since.
    pub(super) fn left_behind(&self) -> Option<Interpreter> {
        self.seat.lock().idle.take()
    }

    /// Makes a new interpreter known, so that others can end it. False when the context is no longer this one.
    pub(super) fn sit_down(&self, tree: &Tree) -> bool {
        let mut state = self.seat.lock();
        *state = State { tree: Some(tree.clone()), since: Some(SystemTime::now()), ..State::default() };
        !self.is_closed()
    }

    /// Counts one run.
    pub(super) fn count(&self) -> u64 {
        let mut state = self.seat.lock();
        state.count += 1;
        state.count
    }

    /// Whether the context was restarted or deleted.
    pub(super) fn is_closed(&self) -> bool {
        self.seat.turn.is_closed()
    }

    /// Leaves the interpreter to the next.
    pub(super) fn give_back(self, interpreter: Interpreter) {
        self.seat.lock().idle = Some(interpreter);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.seat.lock();
        if state.idle.is_none() {
            state.tree = None;
        }
    }
}
