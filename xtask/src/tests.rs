//! What runs something of ours.

use crate::engine::Engine;
use crate::{Result, cargo, fuzz};

/// The examples that CI runs, all of them on the provider `local`.
const EXAMPLES: &[&str] = &["quickstart", "watch", "own_layer"];

/// The example that CI runs at the engine, and with which image.
const AT_ENGINE: &[&str] = &["docker_session", "--", crate::images::PYTHON];

/// Does `work` with a Docker engine, if there can be one. `work` is told whether. What was started for
/// it ends with it, also when it fails.
pub(crate) fn with_engine(may_provision: bool, work: impl FnOnce(bool) -> Result) -> Result {
    let engine = Engine::ready(may_provision)?;
    work(engine.is_some())
}

/// Every test, the conformance suite, the examples and a short search by the fuzzer.
pub(crate) fn all(may_provision: bool) -> Result {
    with_engine(may_provision, everything)
}

fn everything(has_engine: bool) -> Result {
    // With what is off by default, whose tests would otherwise pass silently.
    cargo::run(&["test", "--workspace", "--all-features", "--exclude", "grainchain-tests"])?;
    for example in EXAMPLES {
        let mut command =
            cargo::cargo(&["run", "--quiet", "--package", "grainchain-examples", "--example", example]);
        cargo::run_with(command.env("GRAINCHAIN_DEFAULT_PROVIDER", "local"))?;
    }
    if has_engine {
        let run = ["run", "--quiet", "--package", "grainchain-examples", "--example"];
        cargo::run(&[&run, AT_ENGINE].concat())?;
    }
    fuzz::shortly(crate::provision_in_ci())?;
    // Last, so that the output ends in the result of the suite that stands for everything.
    cargo::run(&["test", "--package", "grainchain-tests", "--lib", "--bins", "--test", "umbrella"])?;
    conformance(&[])
}

/// The conformance suite, of one provider if named.
pub(crate) fn conformance(arguments: &[&str]) -> Result {
    let (provider, filter) = match arguments {
        ["--provider", provider, filter @ ..] => (Some(provider), filter),
        filter => (None, filter),
    };
    if let [_, unexpected, ..] = filter {
        return Err(format!(
            "`{unexpected}` is one filter too many: cases are chosen by one part of their names"
        ));
    }
    let mut command = cargo::cargo(&["test", "--package", "grainchain-tests", "--test", "conformance", "--"]);
    command.args(filter);
    if let Some(provider) = provider {
        command.env("GRAINCHAIN_TEST_SETUPS", provider);
    }
    cargo::run_with(&mut command)
}

/// The benchmarks of the provider that is named first, else of `local`; of these the rows that are named.
pub(crate) fn bench(arguments: &[&str]) -> Result {
    match arguments {
        ["docker", rows @ ..] => with_engine(crate::provision_in_ci(), |_| benchmark("docker", rows)),
        ["local", rows @ ..] | rows => benchmark("local", rows),
    }
}

fn benchmark(name: &str, rows: &[&str]) -> Result {
    let mut all = vec!["bench", "--package", "grainchain-tests", "--bench", name, "--"];
    all.extend(rows);
    cargo::run(&all)
}
