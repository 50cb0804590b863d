//! The layers `ConcurrencyLimit` and `RateLimit`, in paused time.

use std::time::Duration;

use futures_util::future::join_all;
use grainchain_core::layer::{ConcurrencyLimit, RateLimit};
use grainchain_core::{Client, Operation, SandboxConfig};
use grainchain_testkit::scripted::{Script, Step};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn at_most_so_many_run_at_once() {
    let script = Script::default();
    (0..9).for_each(|_| script.on(Operation::Execute, Step::answer().after(SECOND)));
    let client = Client::new(script.provider()).layer(ConcurrencyLimit::new(3));
    let sandbox = client.create(SandboxConfig::default()).await.unwrap();
    let begun = Instant::now();
    let all = join_all((0..9).map(|_| sandbox.execute("true").into_future())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!((script.most_at_once(), begun.elapsed().as_secs()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_again_after_an_error_and_after_a_cancellation() {
    let script = Script::default();
    script.on(Operation::Execute, Step::hang());
    script.on(Operation::Execute, Step::fail(|| grainchain_core::Error::unexpected("broken")));
    let client = Client::new(script.provider()).layer(ConcurrencyLimit::new(1));
    let sandbox = client.create(SandboxConfig::default()).await.unwrap();
    assert!(tokio::time::timeout(SECOND, sandbox.execute("true").into_future()).await.is_err());
    assert!(sandbox.execute("true").await.is_err());
    assert!(sandbox.execute("true").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn closing_never_waits_for_a_place() {
    let script = Script::default();
    script.on(Operation::Execute, Step::hang());
    let client = Client::new(script.provider())
        .layer(ConcurrencyLimit::new(1))
        .layer(RateLimit::new(1, SECOND * 1000));
    let sandbox = client.create(SandboxConfig::default()).await.unwrap();
    let busy = tokio::spawn(sandbox.execute("true").timeout(Duration::MAX).into_future());
    tokio::time::sleep(SECOND * 2000).await;
    let begun = Instant::now();
    sandbox.close().await.unwrap();
    assert!(begun.elapsed() < SECOND);
    busy.abort();
}

#[tokio::test(start_paused = true)]
async fn at_most_so_many_begin_in_a_time() {
    let script = Script::default();
    let client = Client::new(script.provider());
    let id = client.create(SandboxConfig::default()).await.unwrap().id().clone();
    let sandbox = client.layer(RateLimit::new(5, SECOND)).connect(id).await.unwrap();
    join_all((0..24).map(|_| sandbox.execute("true").into_future())).await;
    let times = script.times(Operation::Execute);
    assert_eq!(times.len(), 24);
    // Never more than the burst and what a second grants, in any second.
    for (index, begin) in times.iter().enumerate() {
        let within = times[index..].iter().filter(|time| **time < *begin + SECOND).count();
        assert!(within <= 10, "{within} within a second");
    }
    let whole = times[23] - times[0];
    assert!(whole >= Duration::from_secs(3) && whole <= Duration::from_secs(5), "{whole:?}");
}
