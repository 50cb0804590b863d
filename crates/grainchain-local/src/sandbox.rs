//! One sandbox as all its handles in this program share it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use grainchain_core::{
    Capability, Details, Error, Language, Parts, Result, SandboxId, SandboxStatus, blocking,
};
use grainchain_guest::{Guest, GuestConfig, Stage};
use tokio::task::AbortHandle;

use crate::lease::Lease;
use crate::ports::LocalPorts;
use crate::provider::Shared;
use crate::state::{Folder, State};

/// One sandbox: its folder, what runs in it, and the share of its lease that this program holds.
#[derive(Debug)]
pub(crate) struct LocalSandbox {
    pub(crate) id: SandboxId,
    pub(crate) folder: Folder,
    pub(crate) guest: Guest,
    pub(crate) provider: Weak<Shared>,
    me: Weak<Self>,
    lease: Mutex<Option<Lease>>,
    timer: Mutex<Option<AbortHandle>>,
    /// One change of the state as a whole at a time: snapshot, restore, pause, fork, close.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

impl LocalSandbox {
    /// Opens the sandbox in `folder`, of whose lease the caller took a share.
    pub(crate) fn open(
        provider: &Arc<Shared>,
        folder: Folder,
        lease: Lease,
        state: &State,
    ) -> Result<Arc<Self>> {
        let workspace = folder.workspace();
        let mut environment = provider.config.base_environment(&workspace, &folder.temporary());
        environment.extend(state.environment.clone());
        let config = GuestConfig::new(&workspace, state.tag)
            .working_directory(state.working_directory.clone())
            .environment(environment);
        let guest = Guest::new(config)?;
        guest.set_stage(stage(state.status));
        Ok(Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            id: state.id.clone(),
            folder,
            guest,
            provider: Arc::downgrade(provider),
            lease: Mutex::new(Some(lease)),
            timer: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        }))
    }

    /// Its facets.
    pub(crate) fn parts(self: &Arc<Self>) -> Parts {
        let guest = Arc::new(self.guest.clone());
        let this = || Arc::clone(self);
        Parts::new(self.id.clone(), this(), Arc::<Guest>::clone(&guest))
            .processes(Arc::<Guest>::clone(&guest))
            .files(Arc::<Guest>::clone(&guest))
            .archive(Arc::<Guest>::clone(&guest))
            //.watch(Arc::<Guest>::clone(&guest))
            .code(Arc::<Guest>::clone(&guest))
            //.metrics(guest)
            .snapshots(this())
            .power(this())
            .fork(this())
            .ports(Arc::new(LocalPorts))
            .details(details())
    }

    /// Reads its state from disk, where other programs may have changed it.
    pub(crate) async fn state(&self) -> Result<State> {
        let (folder, id) = (self.folder.clone(), self.id.clone());
        blocking::run(move || folder.read(&id)).await
    }

    /// Changes its state on disk. The caller holds `changing`.
    pub(crate) async fn update(&self, change: impl FnOnce(&mut State) + Send + 'static) -> Result<State> {
        let (folder, id) = (self.folder.clone(), self.id.clone());
        blocking::run(move || {
            let mut state = folder.read(&id)?;
            change(&mut state);
            folder.write(&state)?;
            Ok(state)
        })
        .await
    }

    /// Refuses what only works on a sandbox in `status`.
    pub(crate) fn expect(state: &State, status: SandboxStatus, remedy: &str) -> Result<()> {
        if state.status == status {
            return Ok(());
        }
        let message = format!("the sandbox is {}, not {status}", state.status);
        Err(Error::new(grainchain_core::ErrorKind::Conflict, message).hint(remedy))
    }

    /// Ends it when `expires_at` comes while this program lives; `gc` does afterwards.
    pub(crate) fn end_at(&self, expires_at: Option<SystemTime>) {
        let timer = expires_at.map(|at| {
            let (sandbox, provider) = (Weak::clone(&self.me), Weak::clone(&self.provider));
            tokio::spawn(async move {
                let left = at.duration_since(SystemTime::now()).unwrap_or_default();
                tokio::time::sleep(left).await;
                if let (Some(sandbox), Some(_)) = (sandbox.upgrade(), provider.upgrade())
                    && let Err(error) = sandbox.end().await
                {
                    tracing::warn!(%error, sandbox = %sandbox.id, "a sandbox could not be ended when its lifetime was over");
                }
            })
            .abort_handle()
        });
        let before =
            std::mem::replace(&mut *self.timer.lock().unwrap_or_else(PoisonError::into_inner), timer);
        if let Some(before) = before {
            before.abort();
        }
    }

    /// Kills what runs and removes what it holds.
    pub(crate) async fn end(&self) -> Result<()> {
        let _changing = self.changing.lock().await;
        self.guest.set_stage(Stage::Closed);
        self.guest.kill_all().await?;
        let folder = self.folder.clone();
        let limbo = self.provider.upgrade().map(|provider| provider.layout.limbo());
        blocking::run(move || discard(&folder, limbo)).await?;
        if let Some(provider) = self.provider.upgrade() {
            provider.forget(&self.id);
        }
        drop(self.lease.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(())
    }
}

/// Removes a sandbox's folder, so that a crash in between leaves no half of one in the list.
pub(crate) fn discard(folder: &Folder, limbo: Option<PathBuf>) -> Result<()> {
    let fail = |error| Error::io(format_args!("remove {}", folder.0.display()), error);
    let target = match limbo {
        Some(limbo) => {
            std::fs::create_dir_all(&limbo).map_err(fail)?;
            let target = limbo.join(grainchain_core::types::id::random_id("gone"));
            match std::fs::rename(&folder.0, &target) {
                Ok(()) => target,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(fail(error)),
            }
        }
        None => folder.0.clone(),
    };
    remove_tree(&target)
}

/// Removes a tree that hostile commands may have made deep, read-only or full of links.
pub(crate) fn remove_tree(path: &std::path::Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::unexpected(format!("{} cannot be removed", path.display())));
    };
    let root = grainchain_core::tree::Root::open(parent)?;
    root.remove_all(name)?;
    Ok(())
}

/// What a guest may do in a sandbox of this status.
fn stage(status: SandboxStatus) -> Stage {
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
        Capability::Pty,
        Capability::Attach,
        Capability::Pause,
        Capability::Terminate,
        Capability::SetLifetime,
    ]
    .into_iter()
    .fold(Details::default().languages(Language::ALL), Details::with)
}
