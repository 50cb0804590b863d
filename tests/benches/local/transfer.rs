//! Files and folders in and out, beside a plain copy and `tar` piped to `tar`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use grainchain::{Client, Content, Error, Result, SandboxConfig};
use grainchain_tests::inputs::{noise, settle, tree};
use grainchain_tests::report::{Report, Runs};

fn failed(what: &str) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |error| Error::io(what, error)
}

/// Runs a command of the reference; everything written before is on the disk when it begins.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<Duration> {
    settle();
    let begun = Instant::now();
    let status = Command::new(program).args(arguments).status().map_err(failed("run the reference"))?;
    if !status.success() {
        return Err(Error::unexpected(format!("{program} failed: {status}")));
    }
    Ok(begun.elapsed())
}

/// A plain copy of `from`, which is removed again.
fn plain_copy(from: &Path, to: &Path) -> Result<Duration> {
    settle();
    let begun = Instant::now();
    fs::copy(from, to).map_err(failed("copy"))?;
    let copied = begun.elapsed();
    fs::remove_file(to).map_err(failed("remove"))?;
    Ok(copied)
}

pub(crate) async fn one_file(client: &Client, folder: &Path, report: &mut Report) -> Result<()> {
    let sandbox = client.create(SandboxConfig::default()).await?;
    let info = sandbox.info().await?;
    let workspace = info.working_directory.ok_or_else(|| Error::unexpected("the workspace is unknown"))?;
    let inside = Path::new(&workspace).join("big");
    let (source, copy) = (folder.join("big"), folder.join("copy"));
    let block = noise(7, 1 << 20);
    let mut file = File::create(&source).map_err(failed("make a file"))?;
    for _ in 0..1024 {
        file.write_all(&block).map_err(failed("write"))?;
    }
    drop(file);
    // Each has a reference of its own, from the same source. A copy that nobody times goes before each that counts: on a virtual
    // machine the first use of memory costs several times as much as the copy, and the next one finds what that one has left.
    let [mut up, mut streamed, mut down] = [(); 3].map(|()| (Runs::default(), Runs::default()));
    for _ in 0..5 {
        plain_copy(&source, &copy)?;
        up.1.add(plain_copy(&source, &copy)?);
        plain_copy(&source, &copy)?;
        settle();
        let begun = Instant::now();
        sandbox.upload_file("big", Content::open(&source).await?).await?;
        up.0.add(begun.elapsed());
        sandbox.remove("big").await?;

        plain_copy(&source, &copy)?;
        streamed.1.add(plain_copy(&source, &copy)?);
        plain_copy(&source, &copy)?;
        settle();
        let begun = Instant::now();
        let stream = Content::open(&source).await?.into_stream();
        sandbox.upload_file("big", Content::from_stream(stream, Some(1 << 30))).await?;
        streamed.0.add(begun.elapsed());

        plain_copy(&inside, &copy)?;
        down.1.add(plain_copy(&inside, &copy)?);
        plain_copy(&inside, &copy)?;
        settle();
        let begun = Instant::now();
        sandbox.download_to("big", &copy).await?;
        down.0.add(begun.elapsed());
        fs::remove_file(&copy).map_err(failed("remove"))?;
        sandbox.remove("big").await?;
    }
    for (work, (ours, reference)) in [
        ("upload 1 GiB from a file", up),
        ("upload 1 GiB from a stream", streamed),
        ("download 1 GiB to a file", down),
    ] {
        report.throughput(work, &ours, &reference, 0.8, ">= 80 % of a plain copy");
    }
    fs::remove_file(&source).map_err(failed("remove"))?;
    sandbox.close().await
}

pub(crate) async fn folder(client: &Client, folder: &Path, report: &mut Report) -> Result<()> {
    let sandbox = client.create(SandboxConfig::default()).await?;
    let source = folder.join("small");
    tree(&source, 10_000, 2048)?;
    let (mut ours, mut reference, mut down) = (Runs::default(), Runs::default(), Runs::default());
    for round in 0..7 {
        let target = folder.join(format!("tar{round}"));
        fs::create_dir(&target).map_err(failed("make a folder"))?;
        let script = format!("tar -C {} -cf - . | tar -C {} -xf -", source.display(), target.display());
        reference.add(run("sh", &["-c", &script])?);
        fs::remove_dir_all(&target).map_err(failed("remove"))?;

        settle();
        let begun = Instant::now();
        sandbox.upload_dir(&source, format!("up{round}")).await?;
        ours.add(begun.elapsed());

        settle();
        let begun = Instant::now();
        sandbox.download_dir(format!("up{round}"), &target).await?;
        down.add(begun.elapsed());
        fs::remove_dir_all(&target).map_err(failed("remove"))?;
        sandbox.remove(grainchain::Remove::new(format!("up{round}")).recursive()).await?;
    }
    report.ratio("10,000 small files up (folder)", &ours, &reference, 1.2, "<= 1.2x of tar piped to tar");
    report.ratio("10,000 small files down (folder)", &down, &reference, 1.2, "<= 1.2x of tar piped to tar");
    sandbox.close().await
}
