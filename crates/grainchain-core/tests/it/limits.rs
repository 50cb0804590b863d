//! Limits that others have given up waiting for.

use std::time::Duration;

use futures_util::future::join_all;
use grainchain_core::layer::RateLimit;
use grainchain_core::{Client, SandboxConfig};
use tokio::time::{Instant, timeout};

use crate::fake::Fake;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn who_gave_up_waiting_has_taken_no_place() {
    let client = Client::new(Fake::default()).layer(RateLimit::new(1, SECOND));
    let limited = client.create(SandboxConfig::default()).await.unwrap();
    let given_up = (0..100).map(|_| timeout(SECOND / 10, limited.execute("true").into_future()));
    assert!(join_all(given_up).await.iter().all(Result::is_err));
    let begun = Instant::now();
    limited.execute("true").await.unwrap();
    assert!(begun.elapsed() <= SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn no_period_is_too_long() {
    let client = Client::new(Fake::default()).layer(RateLimit::new(2, Duration::MAX));
    let sandbox = client.create(SandboxConfig::default()).await.unwrap();
    sandbox.execute("true").await.unwrap();
    assert!(timeout(SECOND, sandbox.execute("true").into_future()).await.is_err());
}
