//! Commands: what starting one costs, what the layers add, and how fast output streams.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use grainchain::layer::{ConcurrencyLimit, RateLimit, Retry, Trace};
use grainchain::{Client, CreateRequest, Error, ProcessEvent, Provider, Result, SandboxConfig};
use grainchain_testkit::scripted::Script;
use grainchain_tests::report::{Report, Runs, time};

const GIB: u64 = 1 << 30;

fn failed(what: &str, error: std::io::Error) -> Error {
    Error::io(what, error)
}

pub(crate) async fn execute(client: &Client, report: &mut Report) -> Result<()> {
    let sandbox = client.create(SandboxConfig::default()).await?;
    let (mut ours, mut reference) = (Runs::default(), Runs::default());
    for round in 0..1100 {
        let begun = Instant::now();
        // With its standard streams inherited and nothing else changed, this is `posix_spawn` and `waitpid`.
        let status =
            Command::new("/bin/sh").args(["-c", "true"]).status().map_err(|error| failed("run sh", error))?;
        let bare = begun.elapsed();
        assert!(status.success());
        let begun = Instant::now();
        let output = sandbox.execute("true").await?;
        let full = begun.elapsed();
        assert!(output.success());
        if round >= 100 {
            reference.add(bare);
            ours.add(full);
        }
    }
    report.ratio("`execute(\"true\")` p50", &ours, &reference, 1.25, "<= 1.25x of posix_spawn and wait");
    sandbox.close().await
}

pub(crate) async fn overhead(report: &mut Report) -> Result<()> {
    // Its commands cost next to nothing, so that only what stands above it is measured.
    let script = Script::default();
    let client = Client::new(script.provider())
        .layer(ConcurrencyLimit::new(64))
        .layer(RateLimit::new(u32::MAX, Duration::from_secs(1)))
        .layer(Retry::default())
        .layer(Trace);
    let sandbox = client.create(SandboxConfig::default()).await?;
    let request = CreateRequest::new(SandboxConfig::default(), "bare", "bench");
    let bare = script.provider().create(request).await?.exec;
    let (mut ours, mut reference) = (Runs::default(), Runs::default());
    // One call is too short for the clock.
    const CALLS: u32 = 1000;
    for _ in 0..100 {
        let begun = Instant::now();
        for _ in 0..CALLS {
            std::hint::black_box(bare.execute("true".into()).await?);
        }
        reference.add(begun.elapsed() / CALLS);
        let begun = Instant::now();
        for _ in 0..CALLS {
            std::hint::black_box(sandbox.execute("true").await?);
        }
        ours.add(begun.elapsed() / CALLS);
    }
    let added = ours.median() - reference.median();
    report.row(
        "`execute` through core and five layers",
        time(ours.median()),
        time(reference.median()),
        format!("+ {}", time(added)),
        "<= 20 µs over the bare facet",
        added <= 20e-6,
    );
    Ok(())
}

pub(crate) async fn stream(client: &Client, report: &mut Report) -> Result<()> {
    let sandbox = client.create(SandboxConfig::default()).await?;
    let mut growth = 0;
    for (name, command) in [
        ("stream 1 GiB of stdout", "head -c 1073741824 /dev/zero"),
        ("the same in writes of 4 KiB", "dd if=/dev/zero bs=4k count=262144 status=none"),
        ("the same through a pipe of two programs", "yes | head -c 1073741824"),
    ] {
        let (mut ours, mut reference) = (Runs::default(), Runs::default());
        for _ in 0..5 {
            reference.add(
                tokio::task::spawn_blocking(|| bare_pipe(command))
                    .await
                    .map_err(|error| Error::unexpected(error.to_string()))??,
            );
            let before = resident();
            let begun = Instant::now();
            let mut process = sandbox.spawn(command).await?;
            let mut total = 0;
            while let Some(event) = process.next().await? {
                if let ProcessEvent::Stdout(bytes) = event {
                    total += bytes.len() as u64;
                    growth = growth.max(resident().saturating_sub(before));
                }
            }
            ours.add(begun.elapsed());
            assert_eq!(total, GIB);
        }
        report.throughput(name, &ours, &reference, 0.8, ">= 80 % of a bare pipe read");
    }
    report.row(
        "resident growth while streaming",
        format!("{:.1} MiB", growth as f64 / f64::from(1 << 20)),
        "–".to_owned(),
        format!("{:.1} MiB", growth as f64 / f64::from(1 << 20)),
        "< 32 MiB",
        growth < 32 << 20,
    );
    sandbox.close().await
}

/// Reads a command's output as plainly as the standard library allows.
fn bare_pipe(command: &str) -> Result<Duration> {
    let begun = Instant::now();
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed("run sh", error))?;
    let mut stdout = child.stdout.take().ok_or_else(|| Error::unexpected("no pipe"))?;
    let (mut buffer, mut total) = (vec![0; 64 << 10], 0);
    loop {
        match stdout.read(&mut buffer).map_err(|error| failed("read", error))? {
            0 => break,
            count => total += count as u64,
        }
    }
    child.wait().map_err(|error| failed("wait", error))?;
    assert_eq!(total, GIB);
    Ok(begun.elapsed())
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}
