//! Snapshots after a small change, beside `cp -a` of the whole tree.

use std::fs;
use std::path::Path;
use std::time::Instant;

use grainchain::{Client, Error, Result, SandboxConfig};
use grainchain_tests::inputs::{noise, settle, tree};
use grainchain_tests::report::{Report, Runs, time};

use crate::transfer::run;

const FILES: u64 = 10_000;
/// 1 GiB in all.
const SIZE: usize = (1 << 30) / FILES as usize;

pub(crate) async fn after_a_change(client: &Client, folder: &Path, report: &mut Report) -> Result<()> {
    let sandbox = client.create(SandboxConfig::default()).await?;
    let info = sandbox.info().await?;
    let workspace = info.working_directory.ok_or_else(|| Error::unexpected("the workspace is unknown"))?;
    let workspace = Path::new(&workspace);
    tree(workspace, FILES, SIZE)?;
    settle();
    let begun = Instant::now();
    let mut last = sandbox.create_snapshot("first").await?;
    report.figure("the first snapshot of the tree", time(begun.elapsed().as_secs_f64()));

    let (mut created, mut restored, mut copied) = (Runs::default(), Runs::default(), Runs::default());
    for round in 1..=5 {
        let copy = folder.join("cp");
        let words = ["-a", &workspace.display().to_string(), &copy.display().to_string()];
        copied.add(run("cp", &words)?);
        fs::remove_dir_all(&copy).map_err(|error| Error::io("remove", error))?;

        change(workspace, round)?;
        settle();
        let begun = Instant::now();
        let next = sandbox.create_snapshot("next").await?;
        created.add(begun.elapsed());

        settle();
        let begun = Instant::now();
        sandbox.restore_snapshot(&last.id).await?;
        restored.add(begun.elapsed());
        sandbox.restore_snapshot(&next.id).await?;
        last = next;
    }
    report.ratio(
        "snapshot of 10,000 files / 1 GiB after a 1 % change",
        &created,
        &copied,
        0.1,
        "<= 0.1x of cp -a",
    );
    report.ratio("restore of the same", &restored, &copied, 0.3, "<= 0.3x of cp -a");
    sandbox.close().await
}

/// Writes every hundredth file anew.
fn change(workspace: &Path, round: u64) -> Result<()> {
    for number in (round..FILES).step_by(100) {
        let path = workspace.join(format!("d{:03}/f{number:05}", number / 100));
        fs::write(path, noise(number ^ round << 32, SIZE)).map_err(|error| Error::io("write", error))?;
    }
    Ok(())
}
