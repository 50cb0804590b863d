//! One sandbox as all its handles in this program share it.

use std::sync::Arc;

use crate::engine::{Container, Engine, gone};
use crate::labels::{Identity, container_name, info_of, is_possible};
use crate::stills::{Still, Stills};
use grainchain_core::{Capability, Details, Error, ErrorKind, Parts, Removal, RemoveIf, Result, SandboxId};

/// One sandbox: its container, by a name that stays when a restore replaces what stands behind it.
#[derive(Debug)]
pub(crate) struct DockerSandbox {
    pub(crate) engine: Engine,
    pub(crate) identity: Identity,
    pub(crate) container: String,
    /// Held while commands are started, and alone while the container stands still or is replaced.
    pub(crate) still: Still,
    pub(crate) stills: Arc<Stills>,
}

impl DockerSandbox {
    pub(crate) fn new(engine: Engine, identity: Identity, stills: Arc<Stills>) -> Arc<Self> {
        let (container, still) = (container_name(&identity.id), stills.of(&identity.id));
        Arc::new(Self { engine, identity, container, still, stills })
    }

    /// Its facets.
    pub(crate) fn parts(self: &Arc<Self>) -> Parts {
        let this = || Arc::clone(self);
        let parts = Parts::new(self.identity.id.clone(), this(), this()).power(this()).details(details());
        // A snapshot or a copy that lacks what the commands wrote would be none.
        if self.identity.config.is_kept_by_images() { parts.snapshots(this()).fork(this()) } else { parts }
    }

    /// Its container as it is now.
    ///
    /// # Errors
    ///
    /// `NotFound` when it has ended.
    pub(crate) async fn look(&self) -> Result<Container> {
        self.engine.inspect(&self.container).await?.ok_or_else(gone)
    }
}

/// Ends the sandbox `id` if `condition` holds: its container, its snapshots.
///
/// # Errors
///
/// `NotFound` when there is none.
pub(crate) async fn end(engine: &Engine, id: &SandboxId, condition: RemoveIf) -> Result<Removal> {
    if !is_possible(id) {
        return Err(missing(id));
    }
    let name = container_name(id);
    let container = engine.inspect(&name).await?.ok_or_else(|| missing(id))?;
    // Another one's container may be called like ours.
    let info = info_of(&container).ok_or_else(|| missing(id))?;
    // The engine has no lock for this: between the look and the removal lies one request.
    if !condition.allows(&info, std::time::SystemTime::now()) {
        return Ok(Removal::Kept);
    }
    let existed = engine.remove(&name).await?;
    crate::snapshots::remove_all(engine, id).await?;
    if let Some(base) = container.labels.get(crate::fork::FORK).filter(|base| !base.is_empty()) {
        crate::fork::release(engine, base).await?;
    }
    if existed || condition == RemoveIf::Always { Ok(Removal::Removed) } else { Err(missing(id)) }
}

/// The error for a sandbox that is not there.
pub(crate) fn missing(id: &SandboxId) -> Error {
    let shown: String = id.as_str().chars().take(80).collect();
    Error::new(ErrorKind::NotFound, format!("there is no sandbox `{}`", shown.escape_debug()))
        .hint("`list` shows those that there are; one whose lifetime is over is gone")
}

/// What a sandbox can do, beyond the presence of its facets, with the engine's own exec.
pub(crate) fn details() -> Details {
    Details::default().users().with(Capability::SeparateOutput).with(Capability::Pause)
}
