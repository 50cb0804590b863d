//! One case at one set-up.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use grainchain_core::{Capability, ProviderInfo};

use crate::case::{Case, Tag};
use crate::check::{Failure, Outcome};
use crate::context::Context;
use crate::setup::Setup;

/// How long closing a case's sandboxes may take.
const CLOSING: Duration = Duration::from_secs(60);

/// Whether a case makes sense at a set-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Runs,
    /// The provider does not declare (or does declare) what it is about.
    NotDeclared(String),
    /// It would, but the set-up lacks something.
    NotRun(String),
}

/// What came of a case.
#[derive(Debug)]
pub enum Verdict {
    /// It holds.
    Passed,
    /// It does not.
    Failed(Failure),
}

impl Verdict {
    /// Whether it does not hold.
    pub const fn failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// Whether `case` makes sense at `setup`, whose provider is `info`.
pub fn standing(case: &Case, setup: &Setup, info: &ProviderInfo) -> Standing {
    let capabilities = &info.capabilities;
    let not = |what: &str| Standing::NotDeclared(format!("not declared: {what}"));
    if let Some(missing) = case.needs.iter().find(|need| !capabilities.supports(**need)) {
        return not(missing.as_str());
    }
    if let Some(missing) = case.honours.iter().find(|option| !info.options.contains(option)) {
        return not(missing.as_str());
    }
    if case.tags.contains(&Tag::Users) && !capabilities.details.users {
        return not("users");
    }
    if case.needs.contains(&Capability::Code)
        && let Some(tool) =
            case.tools.iter().find(|tool| !capabilities.details.languages.contains(&tool.language()))
    {
        return not(tool.language().as_str());
    }
    if let Some(present) = case.lacks.iter().find(|lack| capabilities.supports(**lack)) {
        return Standing::NotDeclared(format!("declared: {present}"));
    }
    if let Some(present) = case.refuses.iter().find(|option| info.options.contains(option)) {
        return Standing::NotDeclared(format!("declared: {present}"));
    }
    match case.tools.iter().find(|tool| !setup.has(**tool)) {
        Some(tool) => Standing::NotRun(format!("NOT RUN: no {}", tool.as_str())),
        None => Standing::Runs,
    }
}

/// Runs `case` at `setup` to its end: a case that hangs is given up, one that panics is caught, and in every event its sandboxes are
/// closed and counted.
pub async fn run_case(setup: &Setup, case: &Case) -> Verdict {
    match attempt(setup, case).await {
        Ok(()) => Verdict::Passed,
        Err(failure) => Verdict::Failed(failure),
    }
}

async fn attempt(setup: &Setup, case: &Case) -> Outcome {
    let context = Context::new(setup).await?;
    let limit = setup.own_watchdog().unwrap_or_else(|| case.watchdog());
    // In a task of its own, so that a case that blocks its thread still meets the watchdog.
    let task = tokio::spawn(AssertUnwindSafe((case.run)(context.clone())).catch_unwind());
    let abort = task.abort_handle();
    let outcome = match tokio::time::timeout(limit, task).await {
        Ok(Ok(Ok(outcome))) => outcome,
        Ok(Ok(Err(panic))) => Err(format!("panicked: {}", panic_text(&*panic)).into()),
        Ok(Err(error)) => Err(format!("its task was lost: {error}").into()),
        Err(_) => {
            abort.abort();
            Err(format!("{} hangs: no end after {limit:?}", case.name).into())
        }
    };
    let closing = AssertUnwindSafe(context.finish()).catch_unwind();
    let closed = match tokio::time::timeout(CLOSING, closing).await {
        Ok(Ok(closed)) => closed,
        Ok(Err(panic)) => Err(format!("closing panicked: {}", panic_text(&*panic)).into()),
        Err(_) => Err(format!("closing its sandboxes hangs: no end after {CLOSING:?}").into()),
    };
    outcome.and(closed)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}
