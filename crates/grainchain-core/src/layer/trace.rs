//! One span per operation.

use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::error::Result;
use crate::layer::around::{Around, Attempt, Call, once};

/// Opens one span per operation, named `grainchain`, at the level `debug`. Commands, variables, contents, paths and tokens are never
/// fields. The names of the fields are API:
///
/// | field | what it tells |
/// |---|---|
/// | `provider` | the provider's name |
/// | `operation` | what was asked, as [`Operation`](crate::Operation) writes it |
/// | `sandbox` | the sandbox's id; not at `create`, which begins without one |
/// | `attempt` | how many attempts it took, where a [`Retry`](crate::layer::Retry) within made more than one |
/// | `outcome` | `ok`, the kind of the error, or `cancelled` when the future was dropped |
/// | `duration_us` | how long it took, in microseconds |
///
/// The span ends with the call: what a stream or a process that it answers with does later is not in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace;

impl Around for Trace {
    const REPEATS: bool = false;

    async fn around<'a, T: Send + 'a>(&'a self, call: Call<'a>, attempt: Attempt<'a, T>) -> Result<T> {
        let span = tracing::debug_span!(
            "grainchain",
            provider = call.provider,
            operation = call.operation.as_str(),
            sandbox = call.sandbox.map(tracing::field::display),
            attempt = Empty,
            outcome = Empty,
            duration_us = Empty,
        );
        let mut ending = Ending { span: &span, begun: Instant::now(), outcome: "cancelled" };
        let result = once(attempt).instrument(span.clone()).await;
        ending.outcome = match &result {
            Ok(_) => "ok",
            Err(error) => {
                let kind = error.kind().as_str();
                // For those who read events and no spans.
                span.in_scope(|| tracing::debug!(kind, "failed"));
                kind
            }
        };
        result
    }
}

/// Tells the end of a call, also when its future is dropped.
struct Ending<'a> {
    span: &'a Span,
    begun: Instant,
    outcome: &'static str,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let took = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.span.record("outcome", self.outcome).record("duration_us", took);
    }
}
