//! One sandbox as all its handles in this program share it.

use std::os::linux::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use grainchain_core::layer::{Layer, fold};
use grainchain_core::{
    Capability, Details, Error, ErrorKind, Language, Parts, Removal, RemoveIf, Result, SandboxId,
    SandboxStatus, blocking,
};
use grainchain_guest::{Guest, GuestConfig, Stage};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::NAME;
use crate::abreast::Abreast;
use crate::layout::{Folder, Layout};
use crate::lease::Lease;
use crate::provider::Shared;
use crate::state::{STATE_FILE, State, tag_of};
use crate::timer::{self, Until};

/// One sandbox: its folder, what runs in it, and the share of its lease that this program holds.
#[derive(Debug)]
pub(crate) struct LocalSandbox {
    pub(crate) id: SandboxId,
    pub(crate) folder: Folder,
    pub(crate) layout: Layout,
    pub(crate) guest: Guest,
    pub(crate) provider: Weak<Shared>,
    me: Weak<Self>,
    lease: Mutex<Option<Lease>>,
    until: Until,
    /// The state file as it was when we last read or wrote it.
    seen: Mutex<Option<Version>>,
    /// One change of the sandbox as a whole at a time: snapshot, restore, pause, fork, close.
    changing: Arc<tokio::sync::Mutex<()>>,
}

/// What tells one writing of the state file from the next: each makes a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    inode: u64,
    changed: (i64, i64),
}

impl LocalSandbox {
    /// Opens the sandbox in `folder`, of whose lease the caller took a share. Blocks the thread.
    pub(crate) fn open(
        provider: &Arc<Shared>,
        folder: Folder,
        lease: Lease,
        state: &State,
    ) -> Result<Arc<Self>> {
        folder.ensure_whole()?;
        let workspace = folder.workspace();
        let mut environment = provider.config.base_environment(&workspace, &folder.temporary());
        environment.extend(state.environment.clone());
        let config = GuestConfig::new(&workspace, tag_of(&state.id))
            .working_directory(state.working_directory.clone())
            .environment(environment);
        let guest = Guest::new(config)?;
        guest.set_stage(stage(state.status));
        Ok(Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            id: state.id.clone(),
            layout: provider.layout.clone(),
            folder,
            guest,
            provider: Arc::downgrade(provider),
            lease: Mutex::new(Some(lease)),
            until: watch::Sender::new(state.expires_at()),
            // Unknown, so that a change since `state` was read is noticed.
            seen: Mutex::default(),
            changing: Arc::default(),
        }))
    }

    /// Begins to watch its lifetime.
    pub(crate) fn keep_time(&self) {
        tokio::spawn(timer::keep(Weak::clone(&self.me), self.until.subscribe()));
    }

    /// Its facets.
    pub(crate) fn parts(self: &Arc<Self>) -> Parts {
        let guest = Arc::new(self.guest.clone());
        let this = || Arc::clone(self);
        let parts = Parts::new(self.id.clone(), this(), Arc::<Guest>::clone(&guest))
            .processes(Arc::<Guest>::clone(&guest))
            .files(Arc::<Guest>::clone(&guest))
            .archive(Arc::<Guest>::clone(&guest))
            .watch(Arc::<Guest>::clone(&guest))
            .code(Arc::<Guest>::clone(&guest))
            .metrics(guest)
            .snapshots(this())
            .power(this())
            .fork(this())
            .ports(this())
            .details(details());
        let abreast: Arc<dyn Layer> = Arc::new(Abreast(this()));
        fold(NAME, &[abreast], parts)
    }

    /// Reads its state from disk, where other programs may have changed it.
    pub(crate) async fn state(&self) -> Result<State> {
        self.ensure_open()?;
        let (folder, id) = (self.folder.clone(), self.id.clone());
        let state = blocking::run(move || folder.read(&id)).await;
        self.notice(state)
    }

    /// Does `work` on the sandbox as a whole while nobody else does, neither in this program nor in another. Begun, it goes on to
    /// its end even when the future is dropped or the runtime shuts down: nothing is left frozen half way.
    pub(crate) async fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Self>, State) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = self.me.upgrade().ok_or_else(closed)?;
        let turn = Arc::clone(&self.changing).lock_owned().await;
        self.ensure_open()?;
        blocking::run(move || {
            let _turn = turn;
            let _lock = this.notice(this.folder.lock(&this.id))?;
            this.recover_stillness()?;
            let state = this.notice(this.folder.read(&this.id))?;
            work(&this, state)
        })
        .await
    }

    /// Changes its state on disk. Only for `work` that is [`alone`](Self::alone).
    pub(crate) fn save(&self, state: &State) -> Result<()> {
        self.folder.write(state)?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = self.version();
        Ok(())
    }

    /// Waits for the guest. Only on a thread that may block.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        Handle::current().block_on(work)
    }

    /// Follows what other programs have done with the sandbox since the last call.
    pub(crate) async fn catch_up(&self) {
        // One look at an inode: handing it to another thread would cost ten times as much.
        let now = self.version();
        let is_known = now.is_some() && now == *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if is_known || self.ensure_open().is_err() {
            return;
        }
        // Whoever changes it in this program knows best how it is.
        let Ok(_turn) = self.changing.try_lock() else { return };
        let version = self.version();
        if let Ok(state) = self.state().await {
            self.guest.set_stage(stage(state.status));
            self.end_at(state.expires_at());
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = version;
        }
    }

    /// Waits while everything stands still for a snapshot or a restore, or is about to go on. One that is paused is not waited for.
    pub(crate) async fn stand_by(&self) {
        if matches!(self.guest.stage(), Stage::Still | Stage::Frozen) {
            drop(self.changing.lock().await);
        }
    }

    fn version(&self) -> Option<Version> {
        let found = std::fs::symlink_metadata(self.folder.0.join(STATE_FILE)).ok()?;
        Some(Version { inode: found.st_ino(), changed: (found.st_ctime(), found.st_ctime_nsec()) })
    }

    /// Lets go of the sandbox when `result` says that it is there no more.
    fn notice<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && error.kind() == ErrorKind::NotFound
        {
            self.let_go();
        }
        result
    }

    fn let_go(&self) {
        self.guest.set_stage(Stage::Closed);
        self.end_at(None);
        if let Some(provider) = self.provider.upgrade() {
            provider.forget(&self.id);
        }
        drop(self.lease.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Refuses everything once it has ended.
    pub(crate) fn ensure_open(&self) -> Result<()> {
        if self.guest.stage() == Stage::Closed { Err(closed()) } else { Ok(()) }
    }

    /// Refuses what only works on a sandbox in `status`.
    pub(crate) fn expect(state: &State, status: SandboxStatus, remedy: &str) -> Result<()> {
        if state.status == status {
            return Ok(());
        }
        let message = format!("the sandbox is {}, not {status}", state.status);
        Err(Error::new(ErrorKind::Conflict, message).hint(remedy))
    }

    /// Ends it when `expires_at` comes.
    pub(crate) fn end_at(&self, expires_at: Option<SystemTime>) {
        self.until.send_if_modified(|until| std::mem::replace(until, expires_at) != expires_at);
    }

    /// Ends it if its lifetime is over also on disk, where another program may have prolonged it. Returns when to look again.
    pub(crate) async fn end_if_over(&self) -> Result<Option<SystemTime>> {
        let state = match self.state().await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            state => state?,
        };
        if !state.is_over() {
            return Ok(state.expires_at());
        }
        match self.end(RemoveIf::Expired).await? {
            Removal::Removed => Ok(None),
            Removal::Kept => Ok(self.state().await?.expires_at()),
        }
    }

    /// Kills what runs and removes what it holds, if `condition` holds; what is gone already is no error.
    pub(crate) async fn end(&self, condition: RemoveIf) -> Result<Removal> {
        let this = self.me.upgrade().ok_or_else(closed)?;
        let turn = Arc::clone(&self.changing).lock_owned().await;
        blocking::run(move || {
            let _turn = turn;
            let kill = || this.wait(this.guest.kill_all());
            if condition == RemoveIf::Always {
                // Also while the lock is waited for.
                this.guest.set_stage(Stage::Closed);
            }
            let ended = this.layout.seize(&this.id, condition, kill).and_then(|seized| {
                let Some(seized) = seized else { return Ok(Removal::Kept) };
                this.guest.set_stage(Stage::Closed);
                seized.end(kill).map(|()| Removal::Removed)
            });
            match ended {
                Ok(Removal::Kept) => return Ok(Removal::Kept),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                ended => drop(ended?),
            }
            this.let_go();
            Ok(Removal::Removed)
        })
        .await
    }
}

fn closed() -> Error {
    Error::not_found("the sandbox is closed").hint("create a new one")
}

/// What a guest may do in a sandbox of this status.
pub(crate) fn stage(status: SandboxStatus) -> Stage {
    match status {
        SandboxStatus::Paused => Stage::Frozen,
        SandboxStatus::Stopped => Stage::Stopped,
        _ => Stage::Running,
    }
}

/// What `local` can do beyond the presence of its facets.
pub(crate) fn details() -> Details {
    [
        Capability::SeparateOutput,
        Capability::TreeKill,
        Capability::ExitSignals,
        Capability::Pty,
        Capability::Attach,
        Capability::Pause,
        Capability::Terminate,
        Capability::SetLifetime,
    ]
    .into_iter()
    .fold(Details::default().languages(Language::ALL), Details::with)
}
