//! Commands and code in a sandbox that lives, and what a timeout leaves of them.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use grainchain::{ErrorKind, ReadFile, Result, Sandbox, SandboxConfig};
use grainchain_tests::report::{Report, Runs, time};

use crate::Row;
use crate::ground::{Ground, PYTHON, TRUE, container, good, timed, turns};
use crate::trace::Trace;

pub(crate) async fn execute(ground: &Ground, row: &Row, report: &mut Report) -> Result<()> {
    let (sandbox, container) = (ground.sandbox().await?, ground.container().await?);
    let (ours, raw) = turns(
        5,
        ground.settings.rounds(200),
        async || timed(async { good(sandbox.execute("true").await?) }).await,
        async || timed(ground.raw.exec(&container, TRUE)).await,
    )
    .await?;
    report.ratio("`execute(\"true\")` in a live sandbox", &ours, &raw, row.most, row.goal);
    ground.raw.remove(&container).await?;
    sandbox.close().await
}

pub(crate) async fn code(ground: &Ground, row: &Row, report: &mut Report) -> Result<()> {
    let sandbox = ground.client.create(SandboxConfig::image(PYTHON)).await?;
    let container = ground.raw.run(PYTHON).await?;
    let (ours, raw) = turns(
        5,
        ground.settings.rounds(200),
        async || {
            timed(async {
                let result = sandbox.run_code("1+1").await?;
                expect(result.text() == Some("2"), "1+1 is 2")
            })
            .await
        },
        async || timed(ground.raw.exec(&container, &["python3", "-c", "print(1+1)"])).await,
    )
    .await?;
    report.ratio("`run_code(\"1+1\")` in a live context", &ours, &raw, row.most, row.goal);
    ground.raw.remove(&container).await?;
    sandbox.close().await
}

/// How long the commands of the timeout's row may take.
const TIMEOUT: Duration = Duration::from_millis(600);

pub(crate) async fn timeout(ground: &Ground, row: &Row, report: &mut Report) -> Result<()> {
    let sandbox = ground.sandbox().await?;
    let mut after = Runs::default();
    for round in 0..ground.settings.rounds(30) {
        after.add(escape(ground, &sandbox, round).await?);
    }
    let reached = after.percentile(0.99);
    // The engine has no timeout to compare with.
    report.row(
        "from a timeout until children of setsid and a double fork are gone",
        report.shown(&after),
        "–".to_owned(),
        time(reached),
        row.goal,
        reached <= row.most,
    );
    sandbox.close().await
}

/// Lets a command whose children leave its session and its parents run into its timeout, and answers how much later the last of them
/// was gone.
async fn escape(ground: &Ground, sandbox: &Sandbox, round: usize) -> Result<Duration> {
    let mut trace = Trace::new(round);
    let sleep = trace.command();
    let script = format!(
        "setsid sh -c '({sleep} & {sleep} &); {sleep}' & (setsid sh -c '({sleep} &)' &); (({sleep} &) &); {sleep}"
    );
    let begun = Instant::now();
    let running = tokio::spawn({
        let sandbox = sandbox.clone();
        async move { sandbox.execute(script).timeout(TIMEOUT).await }
    });
    tokio::time::sleep(TIMEOUT / 2).await;
    trace.begin(&ground.raw, &container(sandbox), 6).await?;
    tokio::time::sleep(TIMEOUT.saturating_sub(begun.elapsed())).await;
    trace.end(&ground.raw, &container(sandbox)).await?;
    let gone = begun.elapsed().saturating_sub(TIMEOUT);
    let ended = running.await.map_err(|error| grainchain::Error::unexpected(error.to_string()))?;
    expect(
        ended.is_err_and(|error| error.kind() == ErrorKind::Timeout),
        "the command runs into its timeout",
    )?;
    Ok(gone)
}

pub(crate) async fn stall(ground: &Ground, row: &Row, report: &mut Report) -> Result<()> {
    let sandbox = ground.sandbox().await?;
    good(sandbox.execute("head -c 268435456 /dev/zero > big").await?)?;
    let other = ground.another_client()?.connect(sandbox.id().clone()).await?;
    let (mut alone, mut beside) = (Runs::default(), Runs::default());
    for _ in 0..ground.settings.rounds(10) {
        several(&sandbox, &mut alone).await?;
        let mut reading = other.read_file(ReadFile::new("big")).await?.into_stream();
        let first = reading.next().await.transpose()?;
        expect(first.is_some_and(|bytes| !bytes.is_empty()), "the file comes")?;
        // What is on the way fills up while these run.
        several(&sandbox, &mut Runs::default()).await?;
        several(&sandbox, &mut beside).await?;
        drop(reading);
    }
    let added = beside.percentile(0.99) - alone.percentile(0.99);
    report.row(
        "`execute(\"true\")` while a download of the same sandbox stalls, beside none that does",
        report.shown(&beside),
        report.shown(&alone),
        format!("{}{} at p99", if added < 0.0 { "" } else { "+ " }, time(added)),
        row.goal,
        added <= row.most,
    );
    sandbox.close().await
}

async fn several(sandbox: &Sandbox, runs: &mut Runs) -> Result<()> {
    for _ in 0..10 {
        runs.add(timed(async { good(sandbox.execute("true").await?) }).await?);
    }
    Ok(())
}

/// Refuses what is measured when it is not what should be measured.
pub(crate) fn expect(held: bool, what: &str) -> Result<()> {
    if held { Ok(()) } else { Err(grainchain::Error::unexpected(format!("it does not hold that {what}"))) }
}
