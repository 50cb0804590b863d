//! Runs cargo and other programs, and says what it runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use crate::Result;

/// The engine that was started for the tests, as `DOCKER_HOST` spells it.
static ENGINE: OnceLock<String> = OnceLock::new();

/// Lets everything that is run from now on use the engine at `host`.
pub(crate) fn use_engine(host: String) {
    // There is one at most.
    ENGINE.set(host).ok();
}

/// The engine that was started for the tests.
pub(crate) fn engine_host() -> Option<&'static str> {
    ENGINE.get().map(String::as_str)
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Cargo, in the root of the repository.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    command.args(arguments).current_dir(root());
    if let Some(host) = engine_host() {
        command.env("DOCKER_HOST", host);
    }
    command
}

/// Runs cargo; its output goes to ours.
pub(crate) fn run(arguments: &[&str]) -> Result {
    run_with(&mut cargo(arguments))
}

/// Runs a prepared command; its output goes to ours.
pub(crate) fn run_with(command: &mut Command) -> Result {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let line = words.join(" ");
    println!("\n── cargo {line}");
    let begun = Instant::now();
    let status =
        command.stdin(Stdio::null()).status().map_err(|error| format!("cannot run cargo: {error}"))?;
    println!("── {:.1} s", begun.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { Err(format!("`cargo {line}` failed ({status})")) }
}

/// Runs cargo and takes its standard output.
pub(crate) fn output(arguments: &[&str]) -> Result<String> {
    let output = cargo(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("`cargo {}` failed ({})", arguments.join(" "), output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}
