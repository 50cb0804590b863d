//! What `docker` costs beside the raw Engine API, measured in the same run: `cargo xtask bench docker [ROW]…`.
//!
//! Ours and the reference take turns at the same engine, with the same image and the same walls. The reference is as fast as the
//! engine allows: requests by hand over kept connections, no library. A ratio is that of the medians. What is to come within a time
//! is judged by its 99th percentile.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its figures")]

mod commands;
mod ground;
mod http;
mod raw;
mod settings;
mod trace;
mod transfer;
mod whole;

use std::process::ExitCode;
use std::time::Duration;

use grainchain::{Capability, Error, Result};
use grainchain_tests::report::{Beside, Report, machine};
use tokio::runtime::Runtime;

use crate::ground::Ground;
use crate::settings::Settings;

/// One thing to measure.
#[derive(Debug)]
pub(crate) struct Row {
    name: &'static str,
    /// What the provider must be able to do for it.
    needs: Option<Capability>,
    /// The goal as a number: a ratio, or seconds.
    most: f64,
    goal: &'static str,
}

const fn row(name: &'static str, needs: Option<Capability>, most: f64, goal: &'static str) -> Row {
    Row { name, needs, most, goal }
}

/// Every row and its goal.
const ROWS: &[Row] = &[
    row("execute", None, 1.0 / 25.0, "<= 1/25 of a raw exec"),
    row("small-file", Some(Capability::Files), 1.0 / 20.0, "<= 1/20 of raw archive PUT and GET"),
    row("cold", None, 1.0, "<= 1.0x of raw create, start and exec"),
    row("timeout", Some(Capability::TreeKill), 0.020, "<= 20 ms after the deadline, at p99"),
    row("stall", Some(Capability::Files), 0.050, "+ 50 ms at most"),
    row("close", None, 1.1, "<= 1.1x of a raw forced removal"),
    row("large-file", Some(Capability::Files), 1.5, ">= 150 % of a raw archive's throughput"),
    row("folder", Some(Capability::Archive), 1.2, "<= 1.2x of one raw archive PUT and GET"),
    row("code", Some(Capability::Code), 1.0 / 50.0, "<= 1/50 of a raw exec of python3 -c"),
    row("snapshot", Some(Capability::Snapshots), 1.1, "<= 1.1x of raw commit, create and start"),
    row("fork", Some(Capability::Fork), 1.2, "<= 1.2x of 8 raw creates and starts at once"),
    row("many", None, 1.1, "<= 1.1x of the raw same, none lost, none left"),
];

/// Longer than any row takes: one that hangs must not keep what it has made.
const PATIENCE: Duration = Duration::from_secs(1200);

async fn measure(row: &Row, ground: &Ground, report: &mut Report) -> Result<()> {
    if let Some(missing) = row.needs.filter(|need| !ground.client.capabilities().supports(*need)) {
        let reason = format!("not offered: the provider has no {}", missing.as_str());
        report.without(row.name, &reason, row.goal);
        return Ok(());
    }
    match row.name {
        "execute" => commands::execute(ground, row, report).await,
        "small-file" => transfer::small(ground, row, report).await,
        "cold" => whole::cold(ground, row, report).await,
        "timeout" => commands::timeout(ground, row, report).await,
        "stall" => commands::stall(ground, row, report).await,
        "close" => whole::close(ground, row, report).await,
        "large-file" => transfer::large(ground, row, report).await,
        "folder" => transfer::folder(ground, row, report).await,
        "code" => commands::code(ground, row, report).await,
        "snapshot" => whole::snapshot(ground, row, report).await,
        "fork" => whole::fork(ground, row, report).await,
        "many" => whole::many(ground, row, report).await,
        other => Err(Error::unexpected(format!("nobody measures `{other}`"))),
    }
}

/// The rows that the arguments name, all without any.
fn chosen() -> Result<Vec<&'static Row>> {
    // `cargo bench` adds `--bench`.
    let names: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if names.is_empty() {
        return Ok(ROWS.iter().collect());
    }
    let find = |name: &String| {
        ROWS.iter().find(|row| row.name == name).ok_or_else(|| {
            let known: Vec<_> = ROWS.iter().map(|row| row.name).collect();
            Error::bad_request(format!("there is no row `{name}`"))
                .hint(format!("the rows are {}", known.join(", ")))
        })
    };
    names.iter().map(find).collect()
}

/// Removes what a run has made when it ends, however it ends.
struct Clearing<'a> {
    runtime: &'a Runtime,
    ground: &'a Ground,
}

impl Drop for Clearing<'_> {
    fn drop(&mut self) {
        let clear = async { tokio::time::timeout(Duration::from_secs(120), self.ground.clear()).await };
        match self.runtime.block_on(clear) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("LEFT BEHIND: {error:#}"),
            Err(_) => eprintln!("LEFT BEHIND: the engine did not answer in time"),
        }
    }
}

/// Measures, and answers whether all of it could be.
fn run(rows: &[&Row], runtime: &Runtime, mut ground: Ground) -> Result<bool> {
    let Settings { guest, shortcut, .. } = ground.settings;
    println!("{}, engine {}, guest {guest:?}, shortcut {shortcut}", machine(), ground.engine);
    let compared = runtime.block_on(ground.compare());
    let _clearing = Clearing { runtime, ground: &ground };
    compared?;
    println!("the reference's containers have {}", ground.raw.walls());
    let mut report = Report::new(Beside::P99);
    let mut whole = true;
    for row in rows {
        let work = async {
            tokio::select! {
                ended = tokio::time::timeout(PATIENCE, measure(row, &ground, &mut report)) => {
                    ended.unwrap_or_else(|_| Err(Error::unexpected("it hangs"))).map(|()| true)
                }
                _ = tokio::signal::ctrl_c() => Ok(false),
            }
        };
        match runtime.block_on(work) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                report.without(row.name, "FAILED", row.goal);
                eprintln!("FAILED: {}: {error:#}", row.name);
                whole = false;
            }
        }
    }
    Ok(whole)
}

/// Says in capitals that nothing was measured.
fn not_run(error: &Error) -> ExitCode {
    let line = "=".repeat(100);
    eprintln!("{line}\nNOT RUN: THE BENCHMARK AT A DOCKER ENGINE: {error:#}\n{line}");
    ExitCode::FAILURE
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let prepared = runtime.map_err(|error| Error::io("start the runtime", error)).and_then(|runtime| {
        let (rows, settings) = (chosen()?, Settings::load()?);
        let ground = runtime.block_on(Ground::find(settings))?;
        Ok((rows, runtime, ground))
    });
    let (rows, runtime, ground) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return not_run(&error),
    };
    match run(&rows, &runtime, ground) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => not_run(&error),
    }
}
