//! Whole sandboxes: made, ended, brought back, copied, and many at once.

use std::time::Instant;

use futures_util::future::{join_all, try_join_all};
use grainchain::{Error, Result, Sandbox, SandboxConfig};
use grainchain_tests::report::{Report, Runs};

use crate::Row;
use crate::ground::{Ground, TINY, TRUE, good, timed, turns};

/// Writes one MiB that no earlier one equals.
const CHANGE: &str = "head -c 1048576 /dev/urandom > /tmp/change";

/// How many copies are made at once.
const COPIES: u32 = 8;

/// How many sandboxes there are at once.
const MANY: usize = 64;

pub(crate) async fn cold(ground: &Ground, row: &Row, report: &mut Report) -> Result<()> {
    let (ours, raw) = turns(
        1,
        ground.settings.rounds(20),
        async || {
            let begun = Instant::now();
            let sandbox = ground.client.create(SandboxConfig::image(TINY)).await?;
            good(sandbox.execute("true").await?)?;
            let taken = begun.elapsed();
            sandbox.close().await?;
            Ok(taken)
        },
        async || {
            let begun = Instant::now();
            let container = ground.raw.run(TINY).await?;
            ground.raw.exec(&container, TRUE).await?;
            let taken = begun.elapsed();
            ground.raw.remove(&container).await?;
            Ok(taken)
        },
    )
    .await?;
    report.ratio("create up to the first result", &ours, &raw, row.most, row.goal);
    Ok(())
}

pub(crate) async fn close(ground: &Ground, row: &Row, report: &mut Report) -> Result<()> {
    let (ours, raw) = turns(
        1,
        ground.settings.rounds(20),
        async || {
            let sandbox = ground.sandbox().await?;
            timed(sandbox.close()).await
        },
        async || {
            let container = ground.container().await?;
            timed(ground.raw.remove(&container)).await
        },
    )
    .await?;
    report.ratio("close", &ours, &raw, row.most, row.goal);
    Ok(())
}

pub(crate) async fn snapshot(ground: &Ground, row: &Row, report: &mut Report) -> Result<()> {
    let (sandbox, mut container) = (ground.sandbox().await?, ground.container().await?);
    let (ours, raw) = turns(
        1,
        ground.settings.rounds(15),
        async || {
            good(sandbox.execute(CHANGE).await?)?;
            timed(async {
                let snapshot = sandbox.create_snapshot("change").await?;
                sandbox.restore_snapshot(&snapshot.id).await
            })
            .await
        },
        async || {
            ground.raw.exec(&container, &["/bin/sh", "-c", CHANGE]).await?;
            let begun = Instant::now();
            let image = ground.raw.commit(&container).await?;
            let restored = ground.raw.run(&image).await?;
            let taken = begun.elapsed();
            // As with ours the next one stands on this one: both have as many layers.
            ground.raw.remove(&std::mem::replace(&mut container, restored)).await?;
            Ok(taken)
        },
    )
    .await?;
    report.ratio("snapshot and restore after a change of 1 MiB", &ours, &raw, row.most, row.goal);
    ground.raw.remove(&container).await?;
    sandbox.close().await
}

pub(crate) async fn fork(ground: &Ground, row: &Row, report: &mut Report) -> Result<()> {
    let sandbox = ground.sandbox().await?;
    let (ours, raw) = turns(
        1,
        ground.settings.rounds(8),
        async || {
            let begun = Instant::now();
            let copies = sandbox.fork(COPIES).await?;
            try_join_all(copies.iter().map(answer)).await?;
            let taken = begun.elapsed();
            try_join_all(copies.iter().map(Sandbox::close)).await?;
            Ok(taken)
        },
        async || {
            let begun = Instant::now();
            let containers = try_join_all((0..COPIES).map(|_| ground.raw.run(TINY))).await?;
            let taken = begun.elapsed();
            try_join_all(containers.iter().map(|container| ground.raw.remove(container))).await?;
            Ok(taken)
        },
    )
    .await?;
    report.ratio("`fork(8)` until all answer", &ours, &raw, row.most, row.goal);
    sandbox.close().await
}

async fn answer(sandbox: &Sandbox) -> Result<()> {
    good(sandbox.execute("true").await?).map(drop)
}

pub(crate) async fn many(ground: &Ground, row: &Row, report: &mut Report) -> Result<()> {
    let before = ground.raw.containers().await?.len();
    let (mut ours, mut raw) = (Runs::default(), Runs::default());
    let (mut lost, mut left) = (Faults::default(), 0);
    for round in 0..ground.settings.rounds(3) {
        // Each is the first in every other round.
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                ours.add(timed(our_crowd(ground, &mut lost)).await?);
                left += ground.raw.containers().await?.len().saturating_sub(before);
            } else {
                raw.add(timed(raw_crowd(ground)).await?);
            }
        }
    }
    let ratio = ours.median() / raw.median();
    report.row(
        "64 sandboxes at once: create, execute, close",
        report.shown(&ours),
        report.shown(&raw),
        format!("{ratio:.2}x, {} lost, {left} left", lost.count),
        row.goal,
        ratio <= row.most && lost.count == 0 && left == 0,
    );
    // The count stands in the table; why stands in what this ends with.
    lost.first.map_or(Ok(()), Err)
}

/// What went wrong with some of many.
#[derive(Default)]
struct Faults {
    count: usize,
    first: Option<Error>,
}

impl Faults {
    /// What went well.
    fn without<T>(&mut self, results: Vec<Result<T>>) -> Vec<T> {
        let mut good = Vec::new();
        for result in results {
            match result {
                Ok(value) => good.push(value),
                Err(error) => {
                    self.count += 1;
                    self.first.get_or_insert(error);
                }
            }
        }
        good
    }
}

async fn our_crowd(ground: &Ground, lost: &mut Faults) -> Result<()> {
    let create = || ground.client.create(SandboxConfig::image(TINY));
    let all = lost.without(join_all((0..MANY).map(|_| create())).await);
    lost.without(join_all(all.iter().map(answer)).await);
    lost.without(join_all(all.iter().map(Sandbox::close)).await);
    Ok(())
}

async fn raw_crowd(ground: &Ground) -> Result<()> {
    let all = try_join_all((0..MANY).map(|_| ground.raw.run(TINY))).await?;
    try_join_all(all.iter().map(|container| ground.raw.exec(container, TRUE))).await?;
    try_join_all(all.iter().map(|container| ground.raw.remove(container))).await?;
    Ok(())
}
