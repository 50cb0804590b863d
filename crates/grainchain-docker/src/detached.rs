//! Work that goes on when nobody waits for it any more.

use grainchain_core::{Error, Result};

/// Does `work` to its end, also when the future is dropped half way.
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::unexpected("the runtime is shutting down").caused_by(error)),
    }
}
