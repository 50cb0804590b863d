//! Ending the trees of commands, whatever becomes of those who wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use grainchain_core::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use crate::sys::child::Handle;
use crate::sys::scan::{Depth, Leader, Selector};
use crate::sys::tag::{CommandNumber, Mark};
use crate::sys::tree::{TreeError, kill_tree};

/// How much longer than its timeout it may take to tell of it, below the 200 ms that are promised.
const GRACE: Duration = Duration::from_millis(170);
/// How long a thread that others wait for kills at most.
const PROMPT: Duration = Duration::from_millis(120);
/// How long is tried at most: what has not died by then hangs in the kernel.
const STUBBORN: Duration = Duration::from_secs(10);

/// The first processes of all commands that may still have something running.
#[derive(Debug, Default)]
pub(crate) struct Leaders(Mutex<HashMap<CommandNumber, Handle>>);

impl Leaders {
    fn lock(&self) -> MutexGuard<'_, HashMap<CommandNumber, Handle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> Vec<Leader> {
        self.lock().iter().map(|(command, handle)| handle.leader(*command)).collect()
    }
}

/// One command's tree, and how to end it. Known to its guest until the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Tree(Arc<Registered>);

#[derive(Debug)]
struct Registered {
    mark: Mark,
    leader: Handle,
    depth: Depth,
    leaders: Arc<Leaders>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.leaders.lock().remove(&self.mark.command);
    }
}

impl Tree {
    pub(crate) fn new(mark: Mark, leader: Handle, depth: Depth, leaders: Arc<Leaders>) -> Self {
        leaders.lock().insert(mark.command, leader.clone());
        Self(Arc::new(Registered { mark, leader, depth, leaders }))
    }

    pub(crate) fn command(&self) -> CommandNumber {
        self.0.mark.command
    }

    pub(crate) fn leader(&self) -> &Handle {
        &self.0.leader
    }

    fn kill(&self, within: Duration) -> Result<usize, TreeError> {
        let tree = &*self.0;
        let leaders = vec![tree.leader.leader(tree.mark.command)];
        kill_tree(&Selector { leaders, depth: tree.depth, ..Selector::command(tree.mark) }, within)
    }

    /// Kills it now, on this thread: when a future is dropped nothing may be left to a runtime that is about to end,
    /// nor to a thread that ends with the program. Takes milliseconds.
    pub(crate) fn kill_now(&self) {
        if let Err(error) = self.kill(PROMPT) {
            let tree = self.clone();
            let started = spawn(move || tree.kill_stubbornly());
            if !started {
                tracing::warn!(%error, "a dropped command could not be killed");
            }
        }
    }

    /// Kills it and answers when it is gone, or with what is left after ten seconds: a machine under load takes its time,
    /// and whoever cannot wait limits the waiting, not the killing. Dropping the future changes nothing.
    pub(crate) async fn kill_until_gone(&self) -> Result<usize, TreeError> {
        let (answer, killed) = oneshot::channel();
        let tree = self.clone();
        let started = spawn(move || {
            // Nobody waits any more if the command's future was dropped meanwhile.
            let _nobody_waits = answer.send(tree.kill(STUBBORN));
        });
        if !started {
            return self.kill(PROMPT);
        }
        match killed.await {
            Ok(result) => result,
            Err(_panicked) => Err(TreeError::Scan(std::io::Error::other("the killing thread has failed"))),
        }
    }

    /// Kills what ran until `deadline`, and answers within 170 ms of that: whoever kills goes on without us if something is left.
    pub(crate) async fn kill_overdue(&self, deadline: tokio::time::Instant) -> Result<usize, TreeError> {
        let killed = tokio::time::timeout_at(deadline + GRACE, self.kill_until_gone()).await;
        killed.unwrap_or(Err(TreeError::Unfinished))
    }

    fn kill_stubbornly(&self) {
        if let Err(error) = self.kill(STUBBORN) {
            tracing::warn!(%error, "a command could not be killed");
        }
    }
}

/// Kills a selection by its marks first, which is fast, and then by everything that can be read.
pub(crate) fn kill_everything(select: impl Fn(Depth) -> Selector, within: Duration) -> Result<usize> {
    let deadline = Instant::now() + within;
    let mut killed = 0;
    for depth in [Depth::Relations, Depth::Thorough] {
        let left = deadline.saturating_duration_since(Instant::now());
        killed += kill_tree(&select(depth), left).map_err(|error| failure("end all processes", error))?;
    }
    Ok(killed)
}

/// Runs `work` on a thread of its own: the runtime's own pool may be full of other people's work.
/// Dropping the future does not stop it.
pub(crate) async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (answer, result) = oneshot::channel();
    let work = move || {
        // Fails only when nobody waits any more.
        let _nobody_waits = answer.send(work());
    };
    if !spawn(work) {
        return Err(Error::new(ErrorKind::Exhausted, "no thread can be started")
            .hint("raise the limit of processes and threads"));
    }
    result.await.map_err(|_| Error::unexpected("a thread of the guest has failed"))
}

type Work = Box<dyn FnOnce() + Send>;

/// Who does it when no thread can be started.
static STAND_BY: OnceLock<mpsc::Sender<Work>> = OnceLock::new();

/// Starts a thread that does, one after the other, what no thread can be started for: commands may use up all that there may be, and
/// are to be ended all the same.
#[cfg(feature = "helper")]
pub(crate) fn stand_by() {
    STAND_BY.get_or_init(|| {
        let (sender, work) = mpsc::channel::<Work>();
        thread(move || work.into_iter().for_each(|work| work()));
        sender
    });
}

/// Whether there is a thread for `work`; otherwise it was dropped.
pub(crate) fn spawn(work: impl FnOnce() + Send + 'static) -> bool {
    // A thread that cannot be started drops what it was to do.
    let kept = Arc::new(Mutex::new(Some(Box::new(work) as Work)));
    let take = |kept: &Mutex<Option<Work>>| kept.lock().unwrap_or_else(PoisonError::into_inner).take();
    let own = Arc::clone(&kept);
    if thread(move || {
        if let Some(work) = take(&own) {
            work();
        }
    }) {
        return true;
    }
    let (Some(stand_by), Some(work)) = (STAND_BY.get(), take(&kept)) else { return false };
    stand_by.send(work).is_ok()
}

fn thread(work: impl FnOnce() + Send + 'static) -> bool {
    thread::Builder::new().name("grainchain-end".into()).stack_size(256 * 1024).spawn(work).is_ok()
}

/// Says what could not be done and to whom.
pub(crate) fn failure(what: &str, error: TreeError) -> Error {
    let kind = match &error {
        TreeError::Scan(_) | TreeError::Unseen { .. } => ErrorKind::Unexpected,
        TreeError::Survivors { reason: Some(reason), .. }
            if reason.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            ErrorKind::Denied
        }
        TreeError::Survivors { .. } | TreeError::Unfinished => ErrorKind::Timeout,
    };
    Error::new(kind, format!("cannot {what}: {error}")).caused_by(error)
}
