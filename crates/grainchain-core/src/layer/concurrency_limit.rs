//! At most so many operations at once.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::error::Result;
use crate::layer::around::{Around, Attempt, Call, once};
use crate::operation::OperationClass;

/// Lets at most so many operations of a client run at once; the others wait in order. What ends something is never held up, so
/// that a full client can still be emptied. A spawned process counts only until it has started, and a stream until it is open.
/// Waiting for a place counts towards an operation's deadline, of commands towards their timeout.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit {
    permits: Arc<Semaphore>,
}

impl ConcurrencyLimit {
    /// At most `limit` operations at once; at least one.
    pub fn new(limit: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS))) }
    }
}

impl Around for ConcurrencyLimit {
    const REPEATS: bool = false;

    async fn around<'a, T: Send + 'a>(&'a self, call: Call<'a>, attempt: Attempt<'a, T>) -> Result<T> {
        let _permit = match call.operation.class() {
            OperationClass::End => None,
            _ => self.permits.acquire().await.ok(),
        };
        once(attempt).await
    }
}
