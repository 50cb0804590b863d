//! The places where the suite runs.

mod linked;
mod local;
mod local_faults;

use grainchain_testkit::{Case, Setup};

/// The set-ups that `GRAINCHAIN_TEST_SETUPS` names, separated by commas; all of them by default.
pub(crate) fn chosen() -> Vec<(Setup, Vec<Case>)> {
    let all =
        [(local::setup(), local_faults::cases()), (local::bare(), Vec::new()), (local::linked(), Vec::new())];
    let Some(names) = std::env::var_os("GRAINCHAIN_TEST_SETUPS") else { return all.into() };
    let names = names.to_string_lossy().into_owned();
    let names: Vec<_> = names.split(',').map(str::trim).collect();
    all.into_iter().filter(|(setup, _)| names.contains(&setup.name())).collect()
}
