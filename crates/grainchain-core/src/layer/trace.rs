//! One span per operation.

use tracing::Instrument;

use crate::error::{Error, Result};
use crate::layer::around::{Around, Attempt, Call};

/// Opens one span per operation with the fields `provider`, `operation`, `sandbox` and `attempt`, and says in it when the operation
/// failed. Commands, variables, contents and tokens are never fields. The field names are API.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace;

impl Around for Trace {
    const REPEATS: bool = false;

    async fn around<'a, T: Send + 'a>(&'a self, call: Call<'a>, mut attempt: Attempt<'a, T>) -> Result<T> {
        let span = tracing::debug_span!(
            "grainchain",
            provider = call.provider,
            operation = call.operation.as_str(),
            sandbox = call.sandbox.map(tracing::field::display),
            attempt = tracing::field::Empty,
        );
        let Some(call) = attempt() else { return Err(Error::unexpected("the call was already made")) };
        async move {
            let result = call.await;
            if let Err(error) = &result {
                tracing::debug!(kind = error.kind().as_str(), "failed");
            }
            result
        }
        .instrument(span)
        .await
    }
}
