//! A create whose answer is lost makes one sandbox, not two.

use grainchain_core::{Client, Effect, Error, ErrorKind, Operation, SandboxConfig};
use grainchain_testkit::scripted::{Script, Step};

fn reset() -> Error {
    Error::new(ErrorKind::Connection, "reset")
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_whose_answer_was_lost_is_adopted() {
    for lost in [ErrorKind::Connection, ErrorKind::Timeout, ErrorKind::Server] {
        let script = Script::default();
        script.on(Operation::Create, Step::lose(move || Error::new(lost, "lost")));
        let provider = script.provider();
        let sandbox = Client::new(provider.clone()).create(SandboxConfig::default()).await.unwrap();
        assert_eq!(provider.sandboxes(), [sandbox.id().clone()]);
        assert!(sandbox.execute("true").await.unwrap().success());
        assert_eq!(script.count(Operation::Create), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_that_was_not_carried_out_fails_as_it_did() {
    let script = Script::default();
    script.on(Operation::Create, Step::fail(reset));
    let provider = script.provider();
    let error = Client::new(provider.clone()).create(SandboxConfig::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Connection, "reset"));
    assert!(provider.sandboxes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_create_that_was_surely_not_sent_is_not_looked_up() {
    let script = Script::default();
    script.on(Operation::Create, Step::fail(|| reset().effect(Effect::None)));
    assert!(Client::new(script.provider()).create(SandboxConfig::default()).await.is_err());
    assert_eq!(script.count(Operation::List), 0);
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_sandbox_is_never_adopted() {
    let script = Script::default();
    let client = Client::new(script.provider());
    client.create(SandboxConfig::default()).await.unwrap();
    script.on(Operation::Create, Step::fail(reset));
    assert!(client.create(SandboxConfig::default()).await.is_err());
    assert_eq!(script.count(Operation::Connect), 0);
}
