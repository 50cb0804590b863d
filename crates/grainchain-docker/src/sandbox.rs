//! One sandbox as all its handles in this program share it.

use std::sync::Arc;

use crate::asleep::{self, Place};
use crate::config::GuestKind;
use crate::engine::{Container, ContainerState, Engine, gone};
use crate::guest::{Inside, Ways};
use crate::labels::{Identity, container_name, info_of, is_possible};
use crate::stills::{Still, Stills};
use grainchain_core::{
    Capability, Details, Error, ErrorKind, Language, Parts, Removal, RemoveIf, Result, SandboxId, SandboxInfo,
};
use grainchain_guest::SandboxState;

/// One sandbox: its container, by a name that stays when a restore replaces what stands behind it.
#[derive(Debug)]
pub(crate) struct DockerSandbox {
    pub(crate) engine: Engine,
    pub(crate) identity: Identity,
    pub(crate) container: String,
    /// Held while commands are started, and alone while the container stands still or is replaced.
    pub(crate) still: Still,
    pub(crate) stills: Arc<Stills>,
    /// Where it has a helper.
    pub(crate) inside: Option<Arc<Inside>>,
}

impl DockerSandbox {
    /// The sandbox of `identity`, with what was made to speak to its helper already.
    ///
    /// # Errors
    ///
    /// `Config` when its token is none.
    pub(crate) fn new(
        engine: Engine,
        identity: Identity,
        stills: Arc<Stills>,
        inside: Option<Arc<Inside>>,
    ) -> Result<Arc<Self>> {
        let (container, still) = (container_name(&identity.id), stills.of(&identity.id));
        let inside = match (inside, &identity.token) {
            (None, Some(token)) => {
                Some(Inside::new(engine.clone(), container.clone(), token, Arc::clone(&still))?)
            }
            (inside, _) => inside,
        };
        Ok(Arc::new(Self { engine, identity, container, still, stills, inside }))
    }

    /// Its facets.
    pub(crate) fn parts(self: &Arc<Self>) -> Parts {
        let this = || Arc::clone(self);
        let id = self.identity.id.clone();
        let is_kept = self.identity.config.is_kept_by_images();
        let parts = match &self.inside {
            None => Parts::new(id, this(), this()).details(details(GuestKind::Engine, is_kept)),
            Some(inside) => {
                let inside = || Arc::clone(inside);
                Parts::new(id, this(), inside())
                    .processes(inside())
                    .files(inside())
                    .archive(inside())
                    .watch(inside())
                    .code(inside())
                    .metrics(inside())
                    .ports(Arc::new(Ways::new(inside())))
                    .details(details(GuestKind::Helper, is_kept))
            }
        };
        let parts = parts.power(this());
        // A snapshot or a copy that lacks what the commands wrote would be none.
        if is_kept { parts.snapshots(this()).fork(this()) } else { parts }
    }

    /// What it is, with the end that its helper knows.
    pub(crate) async fn identity_now(&self) -> Identity {
        let mut identity = self.identity.clone();
        if let Some(inside) = &self.inside
            && let Ok(remote) = inside.remote().await
            && let Ok(state) = remote.state().await
        {
            identity.expires_at = state.expires_at();
        }
        identity
    }

    /// Its container as it is now.
    ///
    /// # Errors
    ///
    /// `NotFound` when it has ended, `Conflict` when it is asleep.
    pub(crate) async fn look(&self) -> Result<Container> {
        asleep::awake(&self.engine, &self.container).await
    }

    /// Refuses a sandbox that has ended; one that is asleep is there.
    pub(crate) async fn there(&self) -> Result<()> {
        match asleep::place(&self.engine, &self.container).await? {
            Place::Gone => Err(gone()),
            Place::Container(_) | Place::Asleep(_) => Ok(()),
        }
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
    let place = asleep::place(engine, &name).await?;
    // Another one's container may be called like ours.
    let info = match &place {
        Place::Container(container) => info_of(container),
        Place::Asleep(image) => asleep::info_of(image),
        Place::Gone => None,
    };
    let mut info = info.ok_or_else(|| missing(id))?;
    let allowed = match &place {
        Place::Container(container) if condition != RemoveIf::Always => {
            asked_allows(engine, container, &mut info, condition).await?
        }
        _ => condition.allows(&info, std::time::SystemTime::now()),
    };
    if !allowed {
        return Ok(Removal::Kept);
    }
    // One that never ran may stand before an image.
    let existed = engine.remove(&name).await? || matches!(place, Place::Asleep(_));
    crate::snapshots::remove_all(engine, id).await?;
    let labels = match &place {
        Place::Container(container) => Some(&container.labels),
        Place::Asleep(image) => Some(&image.labels),
        Place::Gone => None,
    };
    if let Some(base) =
        labels.and_then(|labels| labels.get(crate::fork::FORK)).filter(|base| !base.is_empty())
    {
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

/// Whether `condition` holds for the sandbox that `info` is about, as far as its helper knows, which alone can tell how long it lives and
/// who is there. The engine has no lock for this: between the look and the removal lies one request.
async fn asked_allows(
    engine: &Engine,
    container: &Container,
    info: &mut SandboxInfo,
    condition: RemoveIf,
) -> Result<bool> {
    let now = std::time::SystemTime::now();
    let token = Identity::of(&container.labels).and_then(|identity| identity.token);
    // One that stands still can only be asked awake. If its time is over, it ends by itself then.
    let is_paused = container.state == ContainerState::Paused;
    let (Some(token), true) = (token, is_paused || container.state == ContainerState::Running) else {
        return Ok(condition.allows(info, now));
    };
    if is_paused {
        if !condition.allows(info, now) {
            return Ok(false);
        }
        engine.unpause(&container.name).await?;
    }
    let asked = async {
        let inside = Inside::new(engine.clone(), container.name.clone(), &token, Still::default())?;
        inside.remote().await?.state().await
    };
    match asked.await {
        // One of the clients is the one who asks.
        Ok(state) => tell(info, &state, state.clients() > 1),
        Err(error) => tracing::debug!(%error, "a sandbox's helper does not say how it is"),
    }
    let allowed = condition.allows(info, now);
    if is_paused && !allowed {
        engine.pause(&container.name).await?;
    }
    Ok(allowed)
}

/// Takes over what the helper says.
pub(crate) fn tell(info: &mut SandboxInfo, state: &SandboxState, is_held: bool) {
    info.expires_at = state.expires_at();
    if let Some(lease) = &mut info.lease {
        lease.held = Some(is_held);
    }
}

/// What a sandbox can do beyond the presence of its facets.
/// `is_kept` says whether images hold its files.
pub(crate) fn details(guest: GuestKind, is_kept: bool) -> Details {
    let details = Details::default().users().with(Capability::SeparateOutput).with(Capability::Pause);
    let details = if is_kept { details.with(Capability::Terminate) } else { details };
    match guest {
        GuestKind::Engine => details,
        GuestKind::Helper => [
            Capability::TreeKill,
            Capability::ExitSignals,
            Capability::Pty,
            Capability::Attach,
            Capability::SetLifetime,
        ]
        .into_iter()
        .fold(details.languages(Language::ALL), Details::with),
    }
}
