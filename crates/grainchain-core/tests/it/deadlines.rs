//! No call hangs, and every error says what failed and where.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use grainchain_core::{
    Client, Content, Deadlines, Error, ErrorKind, Operation, PtySize, Sandbox, SandboxConfig, Signal,
};
use tokio::time::{Instant, sleep};

use crate::fake::{Create, Fake};

const SECOND: Duration = Duration::from_secs(1);

async fn sandbox() -> Sandbox {
    let deadlines = Deadlines::default().control(SECOND * 5).idle(SECOND * 60);
    let client = Client::new(Fake::default()).deadlines(deadlines);
    client.create(SandboxConfig::default()).await.expect("the provider answers")
}

#[track_caller]
fn is_overdue(error: &Error, operation: Operation) {
    assert_eq!((error.kind(), error.failed_operation()), (ErrorKind::Timeout, Some(operation)), "{error}");
    assert_eq!(error.failed_provider(), Some("fake"));
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_has_beside_its_sandboxes_is_given_up_at_the_deadline() {
    let client = Client::new(Fake::default());
    let templates = client.templates().unwrap();
    is_overdue(&templates.list().await.unwrap_err(), Operation::ListTemplates);
    is_overdue(&templates.delete(&"t".into()).await.unwrap_err(), Operation::DeleteTemplate);
}

#[tokio::test(start_paused = true)]
async fn the_control_of_a_process_is_given_up_at_the_deadline_and_its_errors_say_where() {
    let sandbox = sandbox().await;
    let process = sandbox.spawn("x").await.unwrap();
    is_overdue(&process.kill().await.unwrap_err(), Operation::KillProcess);
    is_overdue(&process.signal(Signal::TERM).await.unwrap_err(), Operation::SignalProcess);
    is_overdue(&process.close_stdin().await.unwrap_err(), Operation::CloseStdin);
    is_overdue(&process.control().resize(PtySize::default()).await.unwrap_err(), Operation::ResizeTerminal);
    let error = process.write("x").await.unwrap_err();
    assert_eq!(error.to_string(), "write stdin in sb at fake: nobody reads");
}

#[tokio::test]
async fn an_error_among_changes_says_where() {
    let error = sandbox().await.watch("d").await.unwrap().collect::<Vec<_>>().await.pop().unwrap();
    assert_eq!(error.unwrap_err().to_string(), "watch in sb at fake: no more");
}

#[tokio::test(start_paused = true)]
async fn a_create_is_looked_up_within_its_own_deadline() {
    let client = Client::new(Fake { create: Create::Hangs, ..Fake::default() })
        .deadlines(Deadlines::default().provision(SECOND * 30));
    let begun = Instant::now();
    let error = client.create(SandboxConfig::default()).await.unwrap_err();
    is_overdue(&error, Operation::Create);
    assert!(error.message().contains("30s"), "{error}");
    assert!(begun.elapsed() <= SECOND * 30 + SECOND / 4, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_transfer_may_stand_still_only_so_long_after_its_last_byte() {
    for length in [None, Some(1 << 40)] {
        let chunks = stream::once(async {
            sleep(SECOND * 10).await;
            Ok(Bytes::from_static(b"x"))
        });
        let sandbox = sandbox().await;
        let begun = Instant::now();
        let error = sandbox.upload_file("f", Content::from_stream(chunks, length)).await.unwrap_err();
        is_overdue(&error, Operation::WriteFile);
        assert!(error.message().contains("60s"), "{error}");
        assert!(begun.elapsed() <= SECOND * 70 + SECOND / 4, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_content_that_ends_before_its_announced_length_is_not_whole() {
    let error = sandbox().await.download_file("f").await.unwrap_err();
    assert_eq!((error.kind(), error.failed_operation()), (ErrorKind::Connection, Some(Operation::ReadFile)));
    assert!(error.message().contains("4 of 10"), "{error}");
}
