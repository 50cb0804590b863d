//! Copies of a living sandbox: its files as they are now, none of its processes.

use std::sync::Arc;

use async_trait::async_trait;
use grainchain_core::facet::Fork;
use grainchain_core::{Error, Parts, RemoveIf, Result};

use crate::provider::Shared;
use crate::sandbox::LocalSandbox;
use crate::snapshot::{CreateOptions, SnapshotId, SnapshotRecord, Store};
use crate::state::{State, tag_of};

/// More copies than this are a mistake rather than a wish.
const MOST: u32 = 1000;

/// The label of the snapshot that the copies are made of.
pub(crate) const FOR_FORK: &str = "grainchain.fork";

/// Whether a snapshot is there for the sake of a fork alone.
pub(crate) fn is_for_fork(record: &SnapshotRecord) -> bool {
    record.metadata.contains_key(FOR_FORK)
}

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
                sandbox.clear_forks()?;
                let options = for_fork();
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

/// How the snapshot is taken that the copies are made of, and which is nobody's but ours.
fn for_fork() -> CreateOptions {
    let metadata = [(FOR_FORK.to_owned(), String::new())].into();
    CreateOptions { metadata, ..CreateOptions::default() }
}

impl LocalSandbox {
    /// Removes what a killed program has left of a fork. Only [`alone`](Self::alone).
    pub(crate) fn clear_forks(&self) -> Result<()> {
        let store = Store::open(self.folder.snapshots())?;
        for record in store.list()?.0.iter().filter(|record| is_for_fork(record)) {
            store.delete(&record.id)?;
        }
        Ok(())
    }

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

#[cfg(test)]
mod tests {
    use grainchain_core::{Client, SandboxConfig};

    use super::*;
    use crate::layout::Folder;
    use crate::{Local, LocalConfig};

    #[tokio::test]
    async fn what_a_killed_program_has_left_of_a_fork_is_not_shown_and_goes_with_the_next_connection() {
        let root = tempfile::tempdir().unwrap();
        let program = || Client::new(Local::new(LocalConfig::at(root.path())).unwrap());
        let sandbox = program().create(SandboxConfig::default()).await.unwrap();
        let kept = sandbox.create_snapshot("kept").await.unwrap();
        let folder = Folder(root.path().join("sandboxes").join(sandbox.id().as_str()));
        let store = Store::open(folder.snapshots()).unwrap();
        store.create(&folder.workspace(), for_fork()).unwrap();
        let shown = sandbox.list_snapshots().await.unwrap();
        assert_eq!(shown.iter().map(|info| &info.id).collect::<Vec<_>>(), [&kept.id]);
        assert_eq!(store.list().unwrap().0.len(), 2);
        program().connect(sandbox.id().clone()).await.unwrap();
        let left = store.list().unwrap().0;
        assert_eq!(left.iter().map(|record| record.id.as_str()).collect::<Vec<_>>(), [kept.id.as_str()]);
        sandbox.close().await.unwrap();
    }
}
