//! A sandbox's first process. The library says what it does.

#![expect(clippy::print_stderr, reason = "whoever starts it reads why it does not run")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match grainchain_guest::helper::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", grainchain_guest::helper::complaint(&error));
            ExitCode::FAILURE
        }
    }
}
