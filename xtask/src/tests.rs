//! What runs something of ours.

use crate::{Result, cargo};

/// The examples that CI runs, all of them on the provider `local`.
const EXAMPLES: &[&str] = &["quickstart", "watch", "own_layer"];

/// Every test, the conformance suite and the examples.
pub(crate) fn all() -> Result {
    cargo::run(&["test", "--workspace", "--exclude", "grainchain-tests"])?;
    for example in EXAMPLES {
        let mut command =
            cargo::cargo(&["run", "--quiet", "--package", "grainchain-examples", "--example", example]);
        cargo::run_with(command.env("GRAINCHAIN_DEFAULT_PROVIDER", "local"))?;
    }
    // Last, so that the output ends in the result of the suite that stands for everything.
    cargo::run(&["test", "--package", "grainchain-tests"])
}

/// The conformance suite, of one provider if named.
pub(crate) fn conformance(arguments: &[&str]) -> Result {
    let mut filters: Vec<String> = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            "--provider" => {
                let provider = rest.next().ok_or("--provider needs a name")?;
                filters.push(format!("{provider}::"));
            }
            other => filters.push(other.to_owned()),
        }
    }
    let mut all = vec!["test", "--package", "grainchain-tests", "--test", "conformance", "--"];
    all.extend(filters.iter().map(String::as_str));
    cargo::run(&all)
}

/// The benchmarks.
pub(crate) fn bench(arguments: &[&str]) -> Result {
    let mut all = vec!["bench", "--package", "grainchain-tests", "--bench", "local", "--"];
    all.extend(arguments);
    cargo::run(&all)
}
