//! One sandbox's inside: its root, its surroundings and everything that runs in it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, RwLockReadGuard};
use std::time::Duration;

use grainchain_core::tree::Root;
use grainchain_core::{Error, Result};

use crate::code::Contexts;
use crate::contained::Kills;
use crate::ending::{self, Leaders};
use crate::processes::Table;
use crate::stage::{Gate, Stage};
use crate::sys::scan::{Depth, Selector};
use crate::sys::tag::{CommandNumber, Mark, SandboxTag};
use crate::sys::tree::{self, TreeError};
use crate::users::Account;

/// How long everything of a sandbox may take to stop, to go on or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a guest is told about its sandbox.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GuestConfig {
    /// The directory that no file operation leaves, absolute. `/` where the sandbox has a kernel's whole view to itself.
    pub root: PathBuf,
    /// Where commands start and relative paths begin, relative to `root`; the root itself by default.
    pub working_directory: PathBuf,
    /// The complete environment of every command, before the command's own variables. Nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// What marks the processes of this sandbox on this kernel. The same number finds them again from another program.
    pub tag: u32,
    /// Whom commands run as; whoever runs the guest by default, and then commands cannot ask for anybody else.
    pub user: Option<Account>,
    /// Whether the sandbox has control groups of its own, whose limits metrics then tell, and a network of its own, whose traffic they
    /// tell. No by default.
    pub contained: bool,
    /// How much sooner than others commands are chosen when memory runs out: `oom_score_adj`, 0 to 1000. What this program has by default.
    pub oom_score_adj: Option<i16>,
}

impl GuestConfig {
    /// A guest below `root` whose processes carry `tag`.
    pub fn new(root: impl Into<PathBuf>, tag: u32) -> Self {
        Self {
            root: root.into(),
            working_directory: PathBuf::new(),
            environment: BTreeMap::new(),
            tag,
            user: None,
            contained: false,
            oom_score_adj: None,
        }
    }

    /// Sets where commands start, relative to the root.
    #[must_use]
    pub fn working_directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.working_directory = path.into();
        self
    }

    /// Sets the environment of every command.
    #[must_use]
    pub fn environment(mut self, variables: BTreeMap<String, String>) -> Self {
        self.environment = variables;
        self
    }

    /// Sets whom commands run as. Takes the right to become any user, and no user of theirs may be the guest's own.
    #[must_use]
    pub fn user(mut self, user: Account) -> Self {
        self.user = Some(user);
        self
    }

    /// Says that the sandbox has control groups and a network of its own.
    #[must_use]
    pub fn contained(mut self) -> Self {
        self.contained = true;
        self
    }

    /// Sets how much sooner than others commands are chosen when memory runs out.
    #[must_use]
    pub fn oom_score_adj(mut self, score: i16) -> Self {
        self.oom_score_adj = Some(score);
        self
    }
}

/// One sandbox's inside. Implements the facets; clones share everything.
///
/// A handle: dropping it leaves everything running. [`kill_all`](Self::kill_all) ends it.
#[derive(Clone, Debug)]
pub struct Guest {
    pub(crate) shared: Arc<Shared>,
}

/// What all facets of one guest share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: GuestConfig,
    pub(crate) root: Root,
    pub(crate) tag: SandboxTag,
    /// The configured environment as starting a program wants it.
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) leaders: Arc<Leaders>,
    pub(crate) contexts: Contexts,
    pub(crate) processes: Arc<Table>,
    /// Set once a command could be marked by its environment only.
    pub(crate) weakly_marked: AtomicBool,
    pub(crate) kills: Kills,
    next_command: AtomicU32,
    pub(crate) gate: Gate,
}

impl Guest {
    /// Opens the root. Nothing is started.
    ///
    /// # Errors
    ///
    /// `NotFound` or `Denied` when the root cannot be opened, `Unexpected` without randomness.
    pub fn new(config: GuestConfig) -> Result<Self> {
        let root = Root::open(&config.root)?;
        let tag = SandboxTag(config.tag);
        let environment =
            config.environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        // Another program may have started commands in this sandbox and be about to end one of them by its number;
        // numbers that begin at the same place would make that one of ours.
        let first = getrandom::u32()
            .map_err(|error| Error::unexpected("the system gives no random bytes").caused_by(error))?;
        let kills = Kills::new(config.contained);
        let shared = Shared {
            config,
            root,
            tag,
            environment,
            leaders: Arc::default(),
            contexts: Contexts::default(),
            processes: Arc::default(),
            weakly_marked: AtomicBool::new(false),
            kills,
            next_command: AtomicU32::new(first),
            gate: Gate::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Stops every process of the sandbox where it is, and refuses to start new ones until [`thaw`](Self::thaw).
    /// Returns how many were stopped.
    ///
    /// Timeouts go on: a command whose time runs out while it is frozen is killed.
    ///
    /// # Errors
    ///
    /// `Denied` when a process belongs to another user, `Timeout` when one cannot be stopped; everything runs on then. If that fails
    /// too, which [`stage`](Self::stage) tells, call [`thaw`](Self::thaw). `Conflict` and `NotFound` when nothing runs any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not undo it; call [`thaw`](Self::thaw).
    pub async fn freeze(&self) -> Result<usize> {
        self.shared.gate.turn(Stage::Frozen)?;
        self.stop_all("pause the sandbox").await
    }

    /// As [`freeze`](Self::freeze), but for a moment: what wants to start waits until [`thaw`](Self::thaw) instead of being refused.
    ///
    /// # Errors
    ///
    /// As those of [`freeze`](Self::freeze).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not undo it; call [`thaw`](Self::thaw).
    pub async fn hold_still(&self) -> Result<usize> {
        self.hold_starts().await?;
        self.stop_all("hold the sandbox still").await
    }

    /// Lets what wants to start wait until [`thaw`](Self::thaw) or [`set_stage`](Self::set_stage), once the starts under way are
    /// done. What runs goes on.
    ///
    /// # Errors
    ///
    /// `Conflict` and `NotFound` when the sandbox is stopped or closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready changes nothing.
    pub async fn hold_starts(&self) -> Result<()> {
        self.shared.gate.hold_starts().await
    }

    async fn stop_all(&self, what: &'static str) -> Result<usize> {
        let guest = self.clone();
        let stopped = ending::on_thread(move || {
            let stopped = tree::signal_tree(&guest.everything(Depth::Relations), libc::SIGSTOP, PATIENCE);
            stopped.map_err(|error| {
                // Half a freeze is worse than none: what has been stopped goes on.
                if let Err(error) = guest.resume() {
                    tracing::warn!(%error, "a sandbox stands half still");
                }
                ending::failure(what, error)
            })
        });
        stopped.await?
    }

    /// Lets every process of the sandbox go on and allows new ones. Returns how many there are.
    ///
    /// Also one that had stopped itself before the freeze goes on.
    ///
    /// # Errors
    ///
    /// `Denied` when a process that stands still belongs to another user, `Unexpected` when the processes cannot be found. The sandbox
    /// is then [frozen](Stage::Frozen), because something may stand still; call it again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not undo it.
    pub async fn thaw(&self) -> Result<usize> {
        let guest = self.clone();
        ending::on_thread(move || guest.resume()).await?
    }

    fn resume(&self) -> Result<usize> {
        let resumed = tree::signal_tree(&self.everything(Depth::Relations), libc::SIGCONT, PATIENCE);
        let resumed = match resumed {
            // Who may not be told to go on could not be stopped either.
            Err(TreeError::Survivors { entries, .. })
                if !entries.iter().any(|entry| matches!(entry.state, 'T' | 't')) =>
            {
                self.pids().map(|pids| pids.len())
            }
            resumed => resumed.map_err(|error| {
                ending::failure("resume the sandbox", error)
                    .hint("nothing is started until it goes on; try again")
            }),
        };
        let stage = if resumed.is_ok() { Stage::Running } else { Stage::Frozen };
        // In what is stopped or closed nothing goes on.
        let _has_ended = self.shared.gate.turn(stage);
        resumed
    }

    /// What it lets happen now.
    pub fn stage(&self) -> Stage {
        self.shared.gate.stage()
    }

    /// Says what it shall let happen from now on. Signals nothing: [`freeze`](Self::freeze), [`thaw`](Self::thaw) and
    /// [`kill_all`](Self::kill_all) do.
    pub fn set_stage(&self, stage: Stage) {
        self.shared.gate.set(stage);
    }

    /// Kills every process of the sandbox, also those started by another program with the same tag. Returns how many.
    ///
    /// New ones are not refused: whoever closes a sandbox stops using it first.
    ///
    /// # Errors
    ///
    /// `Timeout` when something survives, naming it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the killing.
    pub async fn kill_all(&self) -> Result<usize> {
        let guest = self.clone();
        let killed =
            ending::on_thread(move || ending::kill_everything(|depth| guest.everything(depth), PATIENCE))
                .await?;
        self.shared.contexts.reap();
        killed
    }

    pub(crate) fn everything(&self, depth: Depth) -> Selector {
        let depth = depth.max(self.shared.depth());
        Selector { leaders: self.shared.leaders.all(), depth, ..Selector::sandbox(self.shared.tag) }
    }

    /// The numbers of the sandbox's living processes.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub fn pids(&self) -> Result<Vec<u32>> {
        let entries = tree::find(&self.everything(Depth::Relations))
            .map_err(|error| Error::io("look for the sandbox's processes", error))?;
        let alive = entries.iter().filter(|entry| entry.is_alive());
        Ok(alive.filter_map(|entry| u32::try_from(entry.pid).ok()).collect())
    }

    /// Refuses everything once the sandbox has ended.
    pub(crate) fn ensure_open(&self) -> Result<()> {
        self.shared.gate.ensure_open()
    }

    /// Keeps the sandbox from being frozen or stopped while it is held; refuses when it already is.
    pub(crate) fn running(&self) -> Result<RwLockReadGuard<'_, Stage>> {
        self.shared.gate.running()
    }

    /// A guest path as one below the root: relative ones begin at the working directory.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        // `join` replaces everything when `path` is absolute; the root then decides whether that leads outside.
        self.shared.config.working_directory.join(path)
    }
}

impl Shared {
    /// The mark of the next command.
    pub(crate) fn next_mark(&self) -> Mark {
        loop {
            let number = self.next_command.fetch_add(1, Ordering::Relaxed) & (CommandNumber::LIMIT - 1);
            // Zero would make an odd process id.
            if let Some(command) = CommandNumber::new(number).filter(|_| number != 0) {
                return Mark { sandbox: self.tag, command };
            }
        }
    }

    /// How hard to look for the processes of this guest.
    pub(crate) fn depth(&self) -> Depth {
        if self.weakly_marked.load(Ordering::Relaxed) { Depth::Thorough } else { Depth::Relations }
    }
}

/// Kills every process that carries the sandbox's `tag`, whoever started it, and returns how many. Blocks the thread.
///
/// # Errors
///
/// `Timeout` when something survives, naming it.
pub fn kill_processes_of(tag: u32) -> Result<usize> {
    let select = |depth| Selector { depth, ..Selector::sandbox(SandboxTag(tag)) };
    ending::kill_everything(select, PATIENCE)
}
