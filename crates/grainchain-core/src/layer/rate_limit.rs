//! At most so many operations in a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::layer::around::{Around, Attempt, Call};
use crate::operation::OperationClass;

/// Spaces a client's operations so that at most so many begin in a time, with bursts up to that many; the others wait in order.
/// What ends something is never held up.
#[derive(Clone, Debug)]
pub struct RateLimit {
    interval: Duration,
    burst: u32,
    // The moment at which the bucket would be full again: the generic cell rate algorithm needs no more state than that.
    full_at: Arc<Mutex<Option<Instant>>>,
}

impl RateLimit {
    /// At most `operations` in every `period`; at least one.
    pub fn new(operations: u32, period: Duration) -> Self {
        let burst = operations.max(1);
        Self { interval: period / burst, burst, full_at: Arc::default() }
    }

    /// Takes a place and says when its time has come.
    fn reserve(&self, now: Instant) -> Instant {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = full_at.map_or(now, |at| at.max(now));
        *full_at = Some(begin + self.interval);
        let tolerance = self.interval * (self.burst - 1);
        begin.checked_sub(tolerance).map_or(now, |at| at.max(now))
    }
}

impl Around for RateLimit {
    const REPEATS: bool = false;

    async fn around<'a, T: Send + 'a>(&'a self, call: Call<'a>, mut attempt: Attempt<'a, T>) -> Result<T> {
        if call.operation.class() != OperationClass::End {
            let now = Instant::now();
            let due = self.reserve(now);
            // Even a sleep that is over takes the timer's next tick, a millisecond.
            if due > now {
                tokio::time::sleep_until(due).await;
            }
        }
        match attempt() {
            Some(call) => call.await,
            None => Err(Error::unexpected("the call was already made")),
        }
    }
}
