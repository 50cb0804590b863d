//! What `local` costs, as ratios to a reference measured in the same run: `cargo xtask bench [NAME]`.
//!
//! Ours and the reference take turns, so that a drift of the machine's speed meets both alike. A figure is the median of its runs, with
//! the smallest and the largest beside it.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod code;
mod exec;
mod snapshot;
mod transfer;

use grainchain::local::{Local, LocalConfig};
use grainchain::{Client, Result};
use grainchain_tests::report::{Report, machine};

/// A client of `local` in a folder that goes with the benchmark.
fn client(folder: &std::path::Path) -> Result<Client> {
    Ok(Client::new(Local::new(LocalConfig::at(folder))?))
}

fn main() -> Result<()> {
    // `cargo bench` adds `--bench`; everything else names what is to be measured.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| grainchain::Error::io("start the runtime", error))?;
    let folder = tempfile::tempdir().map_err(|error| grainchain::Error::io("make a folder", error))?;
    let client = client(folder.path())?;
    let mut report = Report::default();
    println!("{}", machine());
    if wants("exec") {
        runtime.block_on(exec::execute(&client, &mut report))?;
    }
    if wants("overhead") {
        runtime.block_on(exec::overhead(&mut report))?;
    }
    if wants("stream") {
        runtime.block_on(exec::stream(&client, &mut report))?;
    }
    if wants("transfer") {
        runtime.block_on(transfer::one_file(&client, folder.path(), &mut report))?;
    }
    if wants("folder") {
        runtime.block_on(transfer::folder(&client, folder.path(), &mut report))?;
    }
    if wants("snapshot") {
        runtime.block_on(snapshot::after_a_change(&client, folder.path(), &mut report))?;
    }
    if wants("code") {
        runtime.block_on(code::round_trip(&client, &mut report))?;
    }
    Ok(())
}
