//! The layer `Retry`, in paused time.

use std::time::Duration;

use grainchain_core::layer::Retry;
use grainchain_core::{Client, Content, Effect, Error, ErrorKind, Operation, Sandbox, SandboxConfig};
use grainchain_testkit::scripted::{Script, Step};

async fn sandbox(script: &Script) -> Sandbox {
    Client::new(script.provider())
        .layer(Retry::default())
        .create(SandboxConfig::default())
        .await
        .expect("nothing is scripted for create")
}

fn reset() -> Error {
    Error::new(ErrorKind::Connection, "reset")
}

fn refused() -> Error {
    reset().effect(Effect::None)
}

#[tokio::test(start_paused = true)]
async fn what_was_never_sent_is_repeated() {
    let script = Script::default();
    script.on(Operation::Execute, Step::fail(refused));
    assert!(sandbox(&script).await.execute("true").await.unwrap().success());
    assert_eq!(script.count(Operation::Execute), 2);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_may_have_run_is_not_repeated() {
    let script = Script::default();
    script.on(Operation::Execute, Step::fail(reset));
    let error = sandbox(&script).await.execute("true").await.unwrap_err();
    assert_eq!((error.kind(), script.count(Operation::Execute)), (ErrorKind::Connection, 1));
}

#[tokio::test(start_paused = true)]
async fn a_command_that_timed_out_is_not_repeated() {
    let script = Script::default();
    script.on(Operation::Execute, Step::fail(|| Error::new(ErrorKind::Timeout, "over")));
    assert!(sandbox(&script).await.execute("true").await.is_err());
    assert_eq!(script.count(Operation::Execute), 1);
}

#[tokio::test(start_paused = true)]
async fn looking_is_repeated_after_a_broken_connection_and_a_failed_server() {
    let script = Script::default();
    script.on(Operation::Stat, Step::fail(reset));
    script.on(Operation::Stat, Step::fail(|| Error::new(ErrorKind::Server, "502")));
    let sandbox = sandbox(&script).await;
    sandbox.upload_file("f", "x").await.unwrap();
    assert_eq!(sandbox.stat("f").await.unwrap().size, 1);
    assert_eq!(script.count(Operation::Stat), 3);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_not_repeated_after_a_broken_connection() {
    let script = Script::default();
    script.on(Operation::Remove, Step::lose(reset));
    let sandbox = sandbox(&script).await;
    sandbox.upload_file("f", "x").await.unwrap();
    assert_eq!(sandbox.remove("f").await.unwrap_err().kind(), ErrorKind::Connection);
    assert_eq!(script.count(Operation::Remove), 1);
}

#[tokio::test(start_paused = true)]
async fn later_is_waited_for_as_long_as_the_other_side_said() {
    let script = Script::default();
    let later = || Error::new(ErrorKind::RateLimited, "later").retryable(Some(Duration::from_secs(7)));
    script.on(Operation::Execute, Step::fail(later));
    sandbox(&script).await.execute("true").await.unwrap();
    let times = script.times(Operation::Execute);
    assert_eq!(times[1] - times[0], Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_too_long_goes_to_the_caller_at_once() {
    let script = Script::default();
    let later = || Error::new(ErrorKind::RateLimited, "later").retryable(Some(Duration::from_secs(3600)));
    script.on(Operation::Execute, Step::fail(later));
    let error = sandbox(&script).await.execute("true").await.unwrap_err();
    assert_eq!((error.retry_after(), script.count(Operation::Execute)), (Some(Duration::from_secs(3600)), 1));
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_after_its_attempts_with_growing_waits() {
    let script = Script::default();
    (0..10).for_each(|_| script.on(Operation::Execute, Step::fail(refused)));
    assert!(sandbox(&script).await.execute("true").await.is_err());
    let times = script.times(Operation::Execute);
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits.len(), 3);
    for (wait, whole) in waits.iter().zip([200, 400, 800]) {
        let whole = Duration::from_millis(whole);
        assert!(*wait >= whole / 2 && *wait <= whole + Duration::from_millis(2), "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_input_that_can_be_read_only_once_is_not_repeated() {
    let script = Script::default();
    script.on(Operation::WriteFile, Step::fail(refused));
    let sandbox = sandbox(&script).await;
    let once = Content::from_stream(futures_util::stream::iter([Ok("x".into())]), None);
    assert!(sandbox.upload_file("f", once).await.is_err());
    assert_eq!(script.count(Operation::WriteFile), 1);
    script.on(Operation::WriteFile, Step::fail(refused));
    sandbox.upload_file("f", "held in memory").await.unwrap();
    assert_eq!(script.count(Operation::WriteFile), 3);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_request_is_not_repeated() {
    let script = Script::default();
    script.on(Operation::Stat, Step::fail(|| Error::bad_request("wrong")));
    assert!(sandbox(&script).await.stat("f").await.is_err());
    assert_eq!(script.count(Operation::Stat), 1);
}
