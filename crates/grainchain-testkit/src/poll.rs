//! Waiting for a condition.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::check::Outcome;

/// How long a condition may take to come true. Wide, because the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(15);

/// Waits until `condition` answers true.
///
/// # Errors
///
/// Those of `condition`, and after 15 s that `what` did not come true.
pub async fn until<F>(what: &str, mut condition: impl FnMut() -> F) -> Outcome
where
    F: Future<Output = Outcome<bool>>,
{
    let end = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(5);
    while !condition().await? {
        check!(Instant::now() < end, "waited {PATIENCE:?} in vain until {what}");
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
    Ok(())
}
