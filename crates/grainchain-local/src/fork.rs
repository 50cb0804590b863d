//! Copies of a living sandbox: its files as they are now, none of its processes.

use std::sync::Arc;

use async_trait::async_trait;
use grainchain_core::facet::Fork;
use grainchain_core::{Error, Parts, RemoveIf, Result};

use crate::provider::Shared;
use crate::sandbox::LocalSandbox;
use crate::snapshot::{CreateOptions, SnapshotId, Store};
use crate::state::{State, tag_of};

/// More copies than this are a mistake rather than a wish.
const MOST: u32 = 1000;

#[async_trait]
impl Fork for LocalSandbox {
    async fn fork(&self, count: u32) -> Result<Vec<Parts>> {
        if !(1..=MOST).contains(&count) {
            return Err(Error::bad_request(format!("cannot make {count} copies"))
                .hint(format!("ask for 1 to {MOST}"))
                .option("count"));
        }
        let provider = self.provider.upgrade().ok_or_else(|| {
            Error::unexpected("the client of the sandbox is gone")
                .hint("connect to the sandbox with a new one")
        })?;
        let maker = Arc::clone(&provider);
        let copies = self
            .alone(move |sandbox, origin| {
                let options = CreateOptions::default().name("fork");
                let base = sandbox.while_still(&origin, |store, workspace, writers| {
                    Ok(store.create(&workspace, options.writers(writers))?)
                })?;
                let mut copies = Vec::new();
                let copied = (0..count).try_for_each(|_| {
                    copies.push(sandbox.copy(&maker, &origin, &base.id)?);
                    Ok(())
                });
                let deleted =
                    Store::open(sandbox.folder.snapshots()).and_then(|store| store.delete(&base.id));
                let done: Result<()> = copied.and_then(|()| deleted.map(drop).map_err(Error::from));
                if done.is_err() {
                    undo(&maker, &copies);
                }
                done.map(|()| copies)
            })
            .await?;
        Ok(copies.into_iter().map(|copy| provider.hold(copy).parts()).collect())
    }
}

impl LocalSandbox {
    fn copy(&self, maker: &Arc<Shared>, origin: &State, base: &SnapshotId) -> Result<Arc<Self>> {
        let state = copy_of(origin);
        let (folder, lease) = maker.layout.make(&state, |draft| {
            let report = Store::open(self.folder.snapshots())?.export(base, &draft.workspace())?;
            for (path, reason) in &report.not_restored {
                tracing::warn!(path = %path.display(), reason, "not copied as it was");
            }
            Ok(())
        })?;
        Self::open(maker, folder, lease, &state)
    }
}

/// All or none. What cannot be removed has no lease and goes with the next gc.
fn undo(maker: &Shared, copies: &[Arc<LocalSandbox>]) {
    for copy in copies {
        let kill = || grainchain_guest::kill_processes_of(tag_of(&copy.id));
        if let Err(error) = maker.layout.end(&copy.id, RemoveIf::Always, kill) {
            tracing::warn!(%error, sandbox = %copy.id, "a copy could not be removed after its fork failed");
        }
    }
}

/// The state of a copy: everything but its identity, its key and its past.
fn copy_of(origin: &State) -> State {
    let mut state = State::new(origin.owner.clone(), String::new());
    state.key = format!("{}/{}", origin.key, state.id);
    state.expires_ms = origin.expires_ms;
    state.keep = origin.keep;
    state.working_directory.clone_from(&origin.working_directory);
    state.environment.clone_from(&origin.environment);
    state.metadata.clone_from(&origin.metadata);
    state
}
