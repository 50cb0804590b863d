//! Copies of a living sandbox: its files as they are now, none of its processes.

use std::sync::Arc;

use async_trait::async_trait;
use grainchain_core::facet::Fork;
use grainchain_core::{Error, Parts, Result, blocking};

use crate::provider::new_state;
use crate::sandbox::LocalSandbox;
use crate::snapshot::{CreateOptions, Store};
use crate::state::State;

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
        let _changing = self.changing.lock().await;
        let provider = self.provider.upgrade().ok_or_else(|| Error::unexpected("the provider is gone"))?;
        let state = self.state().await?;
        let origin = state.clone();
        let base = self
            .while_still(&state, |store, workspace, writers| {
                Ok(store.create(&workspace, CreateOptions::default().name("fork").writers(writers))?)
            })
            .await?;
        let (folder, makers) = (self.folder.clone(), Arc::clone(&provider));
        let made = blocking::run(move || {
            let store = Store::open(folder.snapshots())?;
            let mut made = Vec::new();
            let copied = (0..count).try_for_each(|_| {
                let state = copy_of(&origin)?;
                let (folder, lease) = makers.make(&state, |draft| {
                    let report = store.export(&base.id, &draft.workspace())?;
                    for (path, reason) in &report.not_restored {
                        tracing::warn!(path = %path.display(), reason, "not copied as it was");
                    }
                    Ok(())
                })?;
                made.push((folder, lease, state));
                Ok::<_, Error>(())
            });
            store.delete(&base.id)?;
            if let Err(error) = copied {
                for (folder, ..) in made {
                    crate::sandbox::discard(&folder, Some(makers.layout.limbo()))?;
                }
                return Err(error);
            }
            Ok(made)
        })
        .await?;
        made.into_iter()
            .map(|(folder, lease, state)| Ok(provider.hold(folder, lease, &state)?.parts()))
            .collect()
    }
}

/// The state of a copy: everything but its identity, its key and its past.
fn copy_of(origin: &State) -> Result<State> {
    let mut state = new_state(origin.owner.clone(), String::new())?;
    state.key = format!("{}/{}", origin.key, state.id);
    state.expires_ms = origin.expires_ms;
    state.keep = origin.keep;
    state.working_directory.clone_from(&origin.working_directory);
    state.environment.clone_from(&origin.environment);
    state.metadata.clone_from(&origin.metadata);
    Ok(state)
}
