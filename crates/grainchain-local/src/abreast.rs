//! Keeps this program abreast of what others do with a sandbox: before each call its state on disk is looked at, so that one that
//! somebody else has paused starts nothing, and one that somebody else has removed answers that it is gone.

use std::sync::Arc;

use grainchain_core::layer::{Around, Attempt, Call};
use grainchain_core::operation::OperationClass;
use grainchain_core::{Error, Operation, Result};

use crate::sandbox::LocalSandbox;

/// The layer around a sandbox's facets.
#[derive(Clone, Debug)]
pub(crate) struct Abreast(pub(crate) Arc<LocalSandbox>);

impl Around for Abreast {
    const REPEATS: bool = false;

    async fn around<'a, T: Send + 'a>(&'a self, call: Call<'a>, mut attempt: Attempt<'a, T>) -> Result<T> {
        self.0.catch_up().await;
        // Looking and ending wait for nobody.
        if !matches!(call.operation.class(), OperationClass::Query | OperationClass::End) {
            self.0.stand_by().await;
        }
        // Closing what is gone is no error; all else is, the same for every facet.
        if call.operation != Operation::Close {
            self.0.ensure_open()?;
        }
        let attempt =
            attempt().ok_or_else(|| Error::unexpected("a call cannot be made for the first time"))?;
        attempt.await
    }
}
