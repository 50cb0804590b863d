//! At most so many operations in a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::Result;
use crate::layer::around::{Around, Attempt, Call, once};
use crate::operation::OperationClass;

/// Nobody waits longer for a place, and the clock can count that far.
const LONGEST_INTERVAL: Duration = Duration::from_secs(365 * 86_400);

/// Spaces a client's operations so that at most so many begin in a time, with bursts up to that many; the others wait in order.
/// One that is given up while it waits leaves its place to the next. What ends something is never held up. Waiting counts towards
/// an operation's deadline, of commands towards their timeout.
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
        Self { interval: (period / burst).min(LONGEST_INTERVAL), burst, full_at: Arc::default() }
    }

    /// Waits for a place and takes it.
    async fn take(&self) {
        // The lock goes round in order, and whoever holds it is the next: a place is taken at its time and never in advance.
        let mut full_at = self.full_at.lock().await;
        let now = Instant::now();
        let begin = full_at.map_or(now, |at| at.max(now));
        let tolerance = self.interval * (self.burst - 1);
        let due = begin.checked_sub(tolerance).unwrap_or(now);
        // Even a sleep that is over takes the timer's next tick, a millisecond.
        if due > now {
            tokio::time::sleep_until(due).await;
        }
        *full_at = Some(begin + self.interval);
    }
}

impl Around for RateLimit {
    const REPEATS: bool = false;

    async fn around<'a, T: Send + 'a>(&'a self, call: Call<'a>, attempt: Attempt<'a, T>) -> Result<T> {
        if call.operation.class() != OperationClass::End {
            self.take().await;
        }
        once(attempt).await
    }
}
