//! The `grainchain` command: sandboxes from a terminal.

mod app;
mod cli;
mod command;
mod exit;
mod live;
mod output;
mod providers;
mod signals;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
