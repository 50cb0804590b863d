//! A scope closes its sandbox whatever happens.

use std::time::Duration;

use grainchain_core::{Client, Error, Operation, SandboxConfig};
use grainchain_testkit::scripted::{Script, Step};

#[tokio::test(start_paused = true)]
async fn a_scope_dropped_while_its_sandbox_is_being_made_closes_it() {
    let script = Script::default();
    script.on(Operation::Create, Step::answer().after(Duration::from_secs(10)));
    let provider = script.provider();
    let client = Client::new(provider.clone());
    let scope = client.scope(SandboxConfig::default(), async |_| Ok::<(), Error>(()));
    assert!(tokio::time::timeout(Duration::from_secs(1), scope).await.is_err());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!((script.count(Operation::Create), script.count(Operation::Close)), (1, 1));
    assert!(provider.sandboxes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_scope_dropped_during_its_work_closes_its_sandbox() {
    let script = Script::default();
    let provider = script.provider();
    let client = Client::new(provider.clone());
    let scope = client.scope(SandboxConfig::default(), async |_| {
        std::future::pending::<()>().await;
        Ok::<(), Error>(())
    });
    assert!(tokio::time::timeout(Duration::from_secs(1), scope).await.is_err());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(provider.sandboxes().is_empty());
}

#[tokio::test]
async fn a_failed_close_is_told_when_the_work_succeeded() {
    let script = Script::default();
    script.on(Operation::Close, Step::fail(|| Error::unexpected("cannot be closed")));
    let client = Client::new(script.provider());
    let result = client.scope(SandboxConfig::default(), async |_| Ok::<_, Error>(1)).await;
    assert!(result.unwrap_err().to_string().contains("cannot be closed"));
}

#[tokio::test]
async fn the_error_of_the_work_outranks_that_of_the_close() {
    let script = Script::default();
    script.on(Operation::Close, Step::fail(|| Error::unexpected("cannot be closed")));
    let client = Client::new(script.provider());
    let result: Result<(), _> =
        client.scope(SandboxConfig::default(), async |_| Err(Error::unexpected("the work"))).await;
    assert!(result.unwrap_err().to_string().contains("the work"));
}
