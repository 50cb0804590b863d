//! The places where the suite runs.

mod docker;
mod docker_cases;
mod linked;
mod local;
mod local_faults;

use grainchain_testkit::{Case, Setup};

/// The set-ups that `GRAINCHAIN_TEST_SETUPS` names, separated by commas; all of them by default.
pub(crate) fn chosen() -> Vec<(Setup, Vec<Case>)> {
    let names = std::env::var_os("GRAINCHAIN_TEST_SETUPS").map(|names| names.to_string_lossy().into_owned());
    let names: Option<Vec<_>> = names.as_deref().map(|names| names.split(',').map(str::trim).collect());
    let wanted = |name: &str| names.as_ref().is_none_or(|names| names.contains(&name));
    let mut all = Vec::new();
    if wanted("local") {
        all.push((local::setup(), local_faults::cases()));
    }
    if wanted("bare") {
        all.push((local::bare(), Vec::new()));
    }
    if wanted("linked") {
        all.push((local::linked(), Vec::new()));
    }
    // These ask the engine: only when they are wanted.
    let at_engine = docker::names().filter(|name| wanted(name)).filter_map(docker::setup);
    all.extend(at_engine.map(|setup| (setup, docker_cases::cases())));
    all
}
