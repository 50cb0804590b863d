//! What a scripted provider does at its next calls, and what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use grainchain_core::{Error, Operation, Result};
use tokio::time::{Instant, sleep};

use super::Scripted;

/// What one call does before, or instead of, its answer.
#[derive(Clone)]
pub struct Step {
    delay: Duration,
    end: End,
}

#[derive(Clone)]
enum End {
    Answer,
    Fail(Arc<dyn Fn() -> Error + Send + Sync>),
    Lose(Arc<dyn Fn() -> Error + Send + Sync>),
    Hang,
}

impl Step {
    /// It answers as if nothing were scripted.
    pub fn answer() -> Self {
        Self { delay: Duration::ZERO, end: End::Answer }
    }

    /// It fails and does nothing.
    pub fn fail(error: impl Fn() -> Error + Send + Sync + 'static) -> Self {
        Self { delay: Duration::ZERO, end: End::Fail(Arc::new(error)) }
    }

    /// It does what was asked, but its answer is lost on the way: the caller sees the error.
    pub fn lose(error: impl Fn() -> Error + Send + Sync + 'static) -> Self {
        Self { delay: Duration::ZERO, end: End::Lose(Arc::new(error)) }
    }

    /// It never answers.
    pub fn hang() -> Self {
        Self { delay: Duration::ZERO, end: End::Hang }
    }

    /// It takes `delay` first.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            End::Answer => "answer",
            End::Fail(_) => "fail",
            End::Lose(_) => "lose",
            End::Hang => "hang",
        };
        f.debug_struct("Step").field("delay", &self.delay).field("end", &end).finish()
    }
}

/// The script of a provider and the record of its calls. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Script {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    steps: BTreeMap<Operation, VecDeque<Step>>,
    calls: Vec<(Operation, Instant)>,
    running: usize,
    most: usize,
}

/// Counts a call as running while it lives, also when it is cancelled.
struct Running(Script);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

impl Script {
    /// A provider that follows this script.
    pub fn provider(&self) -> Scripted {
        Scripted::new(self.clone())
    }

    /// Adds a step for the next call of `operation` that has none yet; a call without a step just answers.
    pub fn on(&self, operation: Operation, step: Step) {
        self.lock().steps.entry(operation).or_default().push_back(step);
    }

    /// How often `operation` was called.
    pub fn count(&self, operation: Operation) -> usize {
        self.lock().calls.iter().filter(|(called, _)| *called == operation).count()
    }

    /// When `operation` was called, by the clock of the runtime.
    pub fn times(&self, operation: Operation) -> Vec<Instant> {
        self.lock().calls.iter().filter(|(called, _)| *called == operation).map(|(_, at)| *at).collect()
    }

    /// How many calls ran at once at most.
    pub fn most_at_once(&self) -> usize {
        self.lock().most
    }

    /// Records a call of `operation` and follows its step around `work`.
    pub(super) async fn play<T>(&self, operation: Operation, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let step = {
            let mut shared = self.lock();
            shared.calls.push((operation, Instant::now()));
            shared.running += 1;
            shared.most = shared.most.max(shared.running);
            shared.steps.get_mut(&operation).and_then(VecDeque::pop_front)
        };
        let _running = Running(self.clone());
        let Some(step) = step else { return work() };
        if !step.delay.is_zero() {
            sleep(step.delay).await;
        }
        match step.end {
            End::Answer => work(),
            End::Fail(error) => Err(error()),
            End::Lose(error) => {
                work()?;
                Err(error())
            }
            End::Hang => std::future::pending().await,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
