//! No call hangs, whatever the provider does.

use std::time::Duration;

use grainchain_core::{Client, Deadlines, ErrorKind, ListFilter, Operation, SandboxConfig};
use grainchain_testkit::scripted::{Script, Step};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_is_given_up_at_the_deadline() {
    let script = Script::default();
    for operation in [
        Operation::List,
        Operation::Connect,
        Operation::Check,
        Operation::Stat,
        Operation::Info,
        Operation::Close,
    ] {
        script.on(operation, Step::hang());
    }
    let client = Client::new(script.provider()).deadlines(Deadlines::default().control(SECOND * 5));
    let sandbox = client.create(SandboxConfig::default()).await.unwrap();
    let mut errors = Vec::new();
    let mut begun = Instant::now();
    let mut took = || std::mem::replace(&mut begun, Instant::now()).elapsed();
    errors.push((client.list(ListFilter::default()).await.map(drop).unwrap_err(), took(), Operation::List));
    errors.push((client.connect("x").await.map(drop).unwrap_err(), took(), Operation::Connect));
    errors.push((client.check().await.map(drop).unwrap_err(), took(), Operation::Check));
    errors.push((sandbox.stat("f").await.map(drop).unwrap_err(), took(), Operation::Stat));
    errors.push((sandbox.info().await.map(drop).unwrap_err(), took(), Operation::Info));
    errors.push((sandbox.close().await.unwrap_err(), took(), Operation::Close));
    for (error, took, operation) in errors {
        assert_eq!((error.kind(), error.failed_operation()), (ErrorKind::Timeout, Some(operation)));
        assert!(
            took >= SECOND * 5 && took <= SECOND * 5 + Duration::from_millis(250),
            "{operation} took {took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_that_hangs_is_given_up() {
    let script = Script::default();
    script.on(Operation::Create, Step::hang());
    let client = Client::new(script.provider()).deadlines(Deadlines::default().provision(SECOND * 30));
    let begun = Instant::now();
    let error = client.create(SandboxConfig::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(begun.elapsed() <= SECOND * 30 + Duration::from_millis(250), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_command_is_waited_for_a_moment_longer_than_its_timeout() {
    let script = Script::default();
    script.on(Operation::Execute, Step::hang());
    let sandbox = Client::new(script.provider()).create(SandboxConfig::default()).await.unwrap();
    let begun = Instant::now();
    let error = sandbox.execute("true").timeout(SECOND * 3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let took = begun.elapsed();
    assert!(took > SECOND * 3 && took <= SECOND * 3 + Duration::from_millis(250), "{took:?}");
}
