//! Timid repetition.

use std::time::Duration;

use crate::error::{Effect, Error, ErrorKind, Result};
use crate::layer::around::{Around, Attempt, Call};

/// Repeats what is safe to repeat, and nothing else: what failed before it was sent, what the provider refused with "later", and
/// operations whose repetition changes nothing, after a broken connection or a failed server. A `create` or `execute` that timed
/// out is never repeated.
///
/// Waits between attempts grow from [`base`](Self::base) by doubling up to [`longest`](Self::longest), each drawn evenly between
/// half and the whole of it; a time that the provider names is kept to, unless it is longer than `longest`: then the error goes
/// to the caller at once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Retry {
    /// How often a call is made in all: 4 by default.
    pub attempts: u32,
    /// The first wait: 200 ms by default.
    pub base: Duration,
    /// The longest wait: 20 s by default.
    pub longest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 4, base: Duration::from_millis(200), longest: Duration::from_secs(20) }
    }
}

impl Retry {
    /// Makes a call at most `attempts` times in all.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Begins with a wait of `base`.
    #[must_use]
    pub fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// Never waits longer than `longest`.
    #[must_use]
    pub fn longest(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// How long to wait after the attempt numbered `attempt` from 1, or none when the error is final.
    fn wait(&self, call: Call<'_>, attempt: u32, error: &Error) -> Option<Duration> {
        if attempt >= self.attempts || !is_safe(call, error) {
            return None;
        }
        if let Some(after) = error.retry_after() {
            return (after <= self.longest).then_some(after);
        }
        let whole = self.base.saturating_mul(1 << (attempt - 1).min(16)).min(self.longest);
        Some(whole / 2 + (whole / 2).mul_f64(random_fraction()))
    }
}

fn is_safe(call: Call<'_>, error: &Error) -> bool {
    if error.is_retryable() {
        return true;
    }
    match error.kind() {
        ErrorKind::Connection => error.what_happened() == Effect::None || call.operation.is_idempotent(),
        ErrorKind::Server => call.operation.is_idempotent(),
        _ => false,
    }
}

fn random_fraction() -> f64 {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(random) / f64::from(u32::MAX)
}

impl Around for Retry {
    const REPEATS: bool = true;

    async fn around<'a, T: Send + 'a>(&'a self, call: Call<'a>, mut attempt: Attempt<'a, T>) -> Result<T> {
        let mut number = 1;
        let mut next = attempt();
        loop {
            let Some(future) = next else { return Err(Error::unexpected("the call was already made")) };
            let error = match future.await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Some(wait) = self.wait(call, number, &error) else { return Err(error) };
            next = attempt();
            if next.is_none() {
                // The input was a stream and is used up.
                return Err(error);
            }
            number += 1;
            tracing::Span::current().record("attempt", number);
            tokio::time::sleep(wait).await;
        }
    }
}
