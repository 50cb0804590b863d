//! Waiting for what may not be there.

use std::future::pending;

/// Ends with `future`, and never without one: a branch of a `select!` that may be absent.
pub(crate) async fn if_any<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}
