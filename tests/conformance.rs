//! The conformance suite at every set-up that this machine can run.
//!
//! `GRAINCHAIN_TEST_SETUPS=local,bare` chooses set-ups; everything that libtest understands (a name's part, `--exact`, `--list`,
//! `--test-threads`) works as in any test binary.

mod setups;

use std::process::ExitCode;

fn main() -> ExitCode {
    grainchain_testkit::run(&setups::chosen())
}
