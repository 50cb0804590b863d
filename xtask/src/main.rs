//! The commands of this repository: `cargo xtask COMMAND`. Drives cargo and links none of our crates, so that it builds in seconds.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its terminal")]

mod cargo;
mod checks;
mod engine;
mod fuzz;
mod images;
mod matrix;
mod tests;
mod tidy;

use std::process::ExitCode;

/// A failed step, in words.
type Result<T = (), E = String> = std::result::Result<T, E>;

const HELP: &str = "\
cargo xtask COMMAND

  test [--provision]          everything: the checks of `ci`, then all tests, conformance, examples and a short `fuzz`. Those at a
                              Docker engine use the one that answers; where none does, `--provision` (or CI=true) has root on Debian
                              install and start one
  ci                          the checks alone: format, lints, tidy, features, dependencies, documentation, generated pages
  conformance [--provision] [--provider P] [PART]
                              the conformance suite, of one provider, or the cases with PART in their names
  matrix [--check]            writes docs/capabilities.md, or compares it
  tidy                        what no lint knows: names, sizes, documentation, where things may stand
  features                    each crate alone, without default features, with each feature, with all
  fuzz [SECONDS]              each end of the link against hostile peers, 20 s unless told otherwise; needs a C++ compiler and no nightly
  fuzz TARGET FILE            one input again, of the target `server` or `client`
  bench [local] [ROW]         the benchmarks of `local`, as ratios measured in one run
  bench docker [ROW]          those of `docker` beside the raw Engine API, at the engine that answers. GRAINCHAIN_BENCH_GUEST chooses
                              what runs commands (helper, engine); GRAINCHAIN_BENCH_SIZE=64MiB and GRAINCHAIN_BENCH_ROUNDS=2 make a try";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        ["test"] => checks::all().and_then(|()| tests::all(provision_in_ci())),
        ["test", "--provision"] => checks::all().and_then(|()| tests::all(true)),
        ["ci"] => checks::all(),
        ["conformance", "--provision", rest @ ..] => tests::with_engine(true, |_| tests::conformance(rest)),
        ["conformance", rest @ ..] => tests::with_engine(provision_in_ci(), |_| tests::conformance(rest)),
        ["matrix"] => matrix::write(),
        ["matrix", "--check"] => matrix::check(),
        ["tidy"] => tidy::run(),
        ["features"] => checks::features(),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["bench", rest @ ..] => tests::bench(rest),
        [unknown, ..] => Err(format!("there is no command `{unknown}`\n\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Says in capitals what did not run, for that must not look like a pass.
fn not_run(what: &str, reason: &str) {
    let line = "=".repeat(100);
    println!("\n{line}\nNOT RUN: {what}: {reason}\n{line}");
}

/// Whether this is a machine that was made for running tests.
fn provision_in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}
