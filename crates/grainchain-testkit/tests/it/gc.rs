//! Cleaning up while others come and go.

use std::time::Duration;

use grainchain_core::layer::Retry;
use grainchain_core::{
    Client, Error, ErrorKind, GcAction, GcOptions, Operation, Removal, RemoveIf, SandboxConfig,
};
use grainchain_testkit::scripted::{Script, Step};

#[tokio::test(start_paused = true)]
async fn who_connects_between_the_list_and_the_removal_keeps_the_sandbox() {
    let script = Script::default();
    let provider = script.provider();
    let client = Client::new(provider.clone());
    let id = client.create(SandboxConfig::default()).await.unwrap().id().clone();
    provider.abandon(&id);
    script.on(Operation::RemoveSandbox, Step::answer().after(Duration::from_secs(5)));
    let (report, connected) = tokio::join!(client.gc(GcOptions::default()), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.connect(id.clone()).await
    });
    let (report, sandbox) = (report.unwrap(), connected.unwrap());
    assert_eq!(script.count(Operation::RemoveSandbox), 1, "gc has tried");
    assert_eq!((report.entries.len(), report.kept), (0, 1), "{report:?}");
    assert!(sandbox.execute("true").await.unwrap().success());
}

#[tokio::test]
async fn what_stays_abandoned_goes() {
    let script = Script::default();
    let provider = script.provider();
    let client = Client::new(provider.clone());
    let id = client.create(SandboxConfig::default()).await.unwrap().id().clone();
    assert_eq!(client.remove_if(&id, RemoveIf::Abandoned).await.unwrap(), Removal::Kept);
    provider.abandon(&id);
    let report = client.gc(GcOptions::default()).await.unwrap();
    assert_eq!((&report.entries[0].action, report.kept), (&GcAction::Removed, 0));
    assert!(provider.sandboxes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_repeated_removal_is_judged_anew() {
    let script = Script::default();
    let provider = script.provider();
    let client = Client::new(provider.clone()).layer(Retry::default());
    let id = client.create(SandboxConfig::default()).await.unwrap().id().clone();
    provider.abandon(&id);
    let reset = || Error::new(ErrorKind::Connection, "reset");
    script.on(Operation::RemoveSandbox, Step::fail(reset));
    script.on(Operation::RemoveSandbox, Step::answer().after(Duration::from_secs(5)));
    let (report, connected) = tokio::join!(client.gc(GcOptions::default()), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.connect(id.clone()).await
    });
    assert_eq!((report.unwrap().kept, script.count(Operation::RemoveSandbox)), (1, 2));
    assert!(connected.unwrap().execute("true").await.unwrap().success());
}

#[tokio::test(start_paused = true)]
async fn a_removal_whose_answer_was_lost_counts_as_done() {
    let script = Script::default();
    let provider = script.provider();
    let client = Client::new(provider.clone()).layer(Retry::default());
    let id = client.create(SandboxConfig::default()).await.unwrap().id().clone();
    provider.abandon(&id);
    script.on(Operation::RemoveSandbox, Step::lose(|| Error::new(ErrorKind::Connection, "reset")));
    let report = client.gc(GcOptions::default()).await.unwrap();
    assert_eq!(report.entries[0].action, GcAction::Removed, "{report:?}");
    assert_eq!(script.count(Operation::RemoveSandbox), 2);
}
