//! All cases at all set-ups, as one test run.

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::{Builder, Runtime};

use crate::case::{Case, Tag};
use crate::cases::cases;
use crate::run::{Standing, Verdict, run_case, standing};
use crate::setup::Setup;

/// How many cases run at once, where the command line does not say. Most of a case's time is waiting.
const AT_ONCE: usize = 6;

/// Runs every case of the suite, and `extra` ones, at every set-up. Takes the arguments that cargo gives to a test binary and ends
/// with cargo's own result line.
///
/// # Panics
///
/// When no runtime can be started.
pub fn run(setups: &[(Setup, Vec<Case>)]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    if setups.is_empty() {
        return nowhere();
    }
    arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
    let runtime = Arc::new(runtime());
    let trials = setups.iter().flat_map(|(setup, extra)| trials(&runtime, setup, extra)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    conclusion.exit_code()
}

/// A run of nothing would end in `ok`, and whoever named a set-up that is not there would believe it.
#[expect(clippy::print_stderr, reason = "as any test binary says why it failed")]
fn nowhere() -> ExitCode {
    eprintln!(
        "error: there is no set-up to run the suite at: none of those asked for is known and usable here"
    );
    ExitCode::FAILURE
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("the machine that runs tests can start threads")
}

/// Every case of the suite, and `extra` ones, at `setup`. For a test binary that adds trials of its own.
pub fn trials(runtime: &Arc<Runtime>, setup: &Setup, extra: &[Case]) -> Vec<Trial> {
    let client = match runtime.block_on(setup.client()) {
        Ok(client) => client,
        Err(error) => {
            let reason = format!("the set-up has no client: {error:?}");
            return vec![Trial::test(format!("{}::setup", setup.name()), || Err(Failed::from(reason)))];
        }
    };
    let mut all: Vec<Case> = cases().into_iter().chain(extra.iter().copied()).collect();
    // The long ones first, so that they do not stand alone at the end.
    all.sort_by_key(|case| !case.tags.contains(&Tag::Heavy));
    all.into_iter()
        .map(|case| trial(runtime, setup, case, &standing(&case, setup, client.provider_info())))
        .collect()
}

fn trial(runtime: &Arc<Runtime>, setup: &Setup, case: Case, standing: &Standing) -> Trial {
    let name = format!("{}::{}", setup.name(), case.name);
    let (runtime, setup) = (Arc::clone(runtime), setup.clone());
    let trial = Trial::test(name, move || match runtime.block_on(run_case(&setup, &case)) {
        Verdict::Passed => Ok(()),
        Verdict::Failed(failure) => Err(Failed::from(failure)),
    });
    match standing {
        Standing::Runs => trial,
        Standing::NotDeclared(reason) | Standing::NotRun(reason) => {
            trial.with_kind(reason.as_str()).with_ignored_flag(true)
        }
    }
}
