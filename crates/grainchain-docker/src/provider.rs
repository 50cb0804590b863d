//! Makes, finds, lists and removes sandboxes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use grainchain_core::facet::{SnapshotCatalog, Templates, Volumes};
use grainchain_core::{
    Capabilities, Capability, CreateRequest, DryRun, Error, ErrorKind, Health, ListFilter, NetworkPolicy,
    Parts, Provider, ProviderInfo, Removal, RemoveIf, Result, SandboxConfig, SandboxId, SandboxInfo,
};
use tokio::sync::{OnceCell, oneshot};

use crate::NAME;
use crate::asleep::{self, Place};
use crate::config::{DEFAULT_IMAGE, DockerConfig, GuestKind};
use crate::create::{Made, make, unmake};
use crate::detached::detached;
use crate::engine::{ContainerState, Engine, reference};
use crate::guest::{HelperVolume, helper};
use crate::image::Pulls;
use crate::labels::{Identity, SANDBOX, Shown, container_name, info_of, is_possible};
use crate::network;
use crate::options::{HONOURED, Plan};
use crate::progress::{Progress, Watcher};
use crate::sandbox::{DockerSandbox, details, end, missing};
use crate::stills::Stills;
use crate::templates::DockerTemplates;
use crate::volumes::DockerVolumes;

/// The provider `docker`: sandboxes in containers of any image.
#[derive(Clone, Debug)]
pub struct Docker {
    shared: Arc<Shared>,
}

/// What all sandboxes of one provider share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: DockerConfig,
    pub(crate) engine: Engine,
    pub(crate) pulls: Pulls,
    pub(crate) watcher: Watcher,
    /// What runs in sandboxes, unless the engine's own exec serves them.
    pub(crate) helper: Option<HelperVolume>,
    /// What the engine calls its machine.
    pub(crate) architecture: OnceCell<String>,
    pub(crate) stills: Arc<Stills>,
}

impl Docker {
    /// A provider with these settings. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// `Config` when the engine's place cannot be worked out or a setting is wrong, `Unsupported` for transports and guests that this
    /// version does not have.
    pub fn new(config: DockerConfig) -> Result<Self> {
        Self::build(config, Watcher::default())
    }

    /// The same, with `callback` told of every step of pulls and builds. It must not block.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn with_progress(
        config: DockerConfig,
        callback: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::build(config, Watcher::new(callback))
    }

    /// Closes (`Off`) or opens (`Open`) the network of the sandbox `id` while it runs or is paused. Nothing happens when it is so
    /// already.
    ///
    /// Closed, it has none but the loopback: connections break, published ports are shut. Opened, it is in the network that it was
    /// made with, and one that was made without is in `network` of `[providers.docker]`, else the engine's bridge. It may have another
    /// address then. Snapshots that are restored and copies keep what is set here.
    ///
    /// # Errors
    ///
    /// `NotFound` for sandboxes and networks that are not there, `Conflict` for a sandbox that is stopped, `Unsupported` for other
    /// policies.
    ///
    /// # Cancel safety
    ///
    /// Once begun, it goes on to its end.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use grainchain_core::{Client, NetworkPolicy, SandboxConfig};
    /// # use grainchain_docker::{Docker, DockerConfig};
    /// # async fn example() -> grainchain_core::Result<()> {
    /// let docker = Docker::new(DockerConfig::default())?;
    /// let sandbox = Client::new(docker.clone()).create(SandboxConfig::default().network(NetworkPolicy::Open)).await?;
    /// sandbox.execute("pip install requests").await?;
    /// docker.set_network(sandbox.id(), NetworkPolicy::Off).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_network(&self, id: &SandboxId, policy: NetworkPolicy) -> Result<()> {
        // Refuses what is no sandbox of ours, or has ended.
        self.connect(id).await?;
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        detached(async move {
            let still = shared.stills.of(&id);
            let _alone = still.write().await;
            let name = container_name(&id);
            asleep::awake(&shared.engine, &name).await?;
            network::set(&shared.engine, &name, policy, shared.config.container.network.as_deref()).await
        })
        .await
    }

    fn build(config: DockerConfig, watcher: Watcher) -> Result<Self> {
        config.validate()?;
        let helper = match config.guest {
            GuestKind::Helper => Some(HelperVolume::new(helper()?)),
            GuestKind::Engine => None,
        };
        let engine = Engine::new(&config.surroundings())?.stacking(config.max_layers);
        if config.shortcut == Some(false) {
            engine.look_elsewhere();
        }
        let shared = Shared {
            config,
            engine,
            pulls: Pulls::default(),
            watcher,
            helper,
            architecture: OnceCell::new(),
            stills: Arc::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Shared {
    /// Whether snapshots of sandboxes without wishes hold their files.
    fn keeps_files(&self) -> bool {
        Plan::new(&self.config, &SandboxConfig::default()).is_ok_and(|plan| {
            Shown {
                working_directory: plan.working_directory.clone(),
                outside: plan.outside(self.config.guest),
                is_hidden: plan.is_hidden(),
                ..Shown::default()
            }
            .is_kept_by_images()
        })
    }

    fn sandbox(&self, (identity, inside): Made) -> Result<Arc<DockerSandbox>> {
        DockerSandbox::new(self.engine.clone(), identity, Arc::clone(&self.stills), inside)
    }
}

/// Somebody who waits for a sandbox. Who leaves between its being made and being taken leaves none behind.
struct Waiting {
    shared: Arc<Shared>,
    made: oneshot::Receiver<Result<Made>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.made.close();
        let Ok(Ok((unwanted, _))) = self.made.try_recv() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let shared = Arc::clone(&self.shared);
            runtime.spawn(async move { unmake(&shared, &unwanted).await });
        }
    }
}

fn unreadable(id: &SandboxId) -> Error {
    let message = format!("the sandbox `{id}` is broken: its labels are not as Grainchain writes them");
    Error::new(ErrorKind::Conflict, message).hint("remove it")
}

#[async_trait]
impl Provider for Docker {
    fn info(&self) -> ProviderInfo {
        let mut capabilities = vec![Capability::Exec, Capability::Templates, Capability::Volumes];
        if self.shared.keeps_files() {
            capabilities.extend([Capability::Snapshots, Capability::Fork]);
        }
        if self.shared.helper.is_some() {
            capabilities.extend([
                Capability::Processes,
                Capability::Files,
                Capability::Archive,
                Capability::Watch,
                Capability::Code,
                Capability::Metrics,
                Capability::Ports,
            ]);
        }
        let details = details(self.shared.config.guest, self.shared.keeps_files());
        ProviderInfo::new(NAME, HONOURED.to_vec(), Capabilities::new(capabilities, details))
    }

    async fn check(&self) -> Result<Health> {
        let engine = &self.shared.engine;
        let interface = engine.interface().await?;
        let (version, info) = engine.describe().await?;
        let mut notes = Vec::new();
        if info.os_type.as_deref().is_some_and(|os| os != "linux") {
            return Err(Error::unsupported(
                "an engine that runs no Linux containers",
                "switch it to Linux containers",
            ));
        }
        if self.shared.config.guest == GuestKind::Engine {
            notes.push(
                "guest = \"engine\": commands alone, some fifty times slower than with the helper".to_owned(),
            );
        }
        let limits = [
            (info.memory_limit, "memory_limit"),
            (info.pids_limit, "pids"),
            (info.cpu_cfs_quota, "cpu_limit"),
        ];
        for (_, option) in limits.into_iter().filter(|(works, _)| *works == Some(false)) {
            notes.push(format!("the engine's kernel cannot enforce `{option}`"));
        }
        let mut runtimes: Vec<_> = info.runtimes.into_iter().flatten().map(|(name, _)| name).collect();
        runtimes.sort();
        if !engine.has_buildkit().await? {
            notes.push("images are built by the classic builder: RUN --mount does not work".to_owned());
        }
        let image = reference(self.shared.config.image.as_deref().unwrap_or(DEFAULT_IMAGE))?;
        if engine.image(&image).await?.is_none() {
            notes.push(format!("the image `{image}` is not there yet: the first sandbox pulls it"));
        }
        let version = version.version.unwrap_or_else(|| "unknown".to_owned());
        Ok(Health::new(Some(format!("{version}, {interface}")), notes).place(format!(
            "the engine is {}, with the runtimes {}",
            engine.place(),
            runtimes.join(", ")
        )))
    }

    async fn create(&self, request: CreateRequest) -> Result<Parts> {
        let shared = Arc::clone(&self.shared);
        let (sender, receiver) = oneshot::channel();
        let mut waiting = Waiting { shared: Arc::clone(&self.shared), made: receiver };
        // Begun, it goes on to its end, so that nothing half made is left; and what nobody waits for any more is removed again.
        tokio::spawn(async move {
            let made = make(&shared, request, || sender.is_closed()).await;
            if let Err(Ok((unwanted, _))) = sender.send(made) {
                unmake(&shared, &unwanted).await;
            }
        });
        let made =
            (&mut waiting.made).await.map_err(|_| Error::unexpected("the runtime is shutting down"))??;
        Ok(self.shared.sandbox(made)?.parts())
    }

    async fn connect(&self, id: &SandboxId) -> Result<Parts> {
        if !is_possible(id) {
            return Err(missing(id));
        }
        let found = match asleep::place(&self.shared.engine, &container_name(id)).await? {
            Place::Container(found) => found,
            Place::Asleep(image) => {
                let identity = Identity::of(&image.labels).ok_or_else(|| unreadable(id))?;
                return Ok(self.shared.sandbox((identity, None))?.parts());
            }
            Place::Gone => return Err(missing(id)),
        };
        let info = info_of(&found).ok_or_else(|| missing(id))?;
        match found.state {
            ContainerState::Running | ContainerState::Paused => {}
            ContainerState::Exited | ContainerState::Removing => return Err(missing(id)),
            _ => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("the sandbox `{id}` is {}", info.status),
                )
                .hint("wait until it runs, or remove it"));
            }
        }
        if found.state == ContainerState::Paused {
            *self.shared.stills.of(id).write().await = true;
        }
        let identity = Identity::of(&found.labels).ok_or_else(|| unreadable(id))?;
        Ok(self.shared.sandbox((identity, None))?.parts())
    }

    async fn list(&self, filter: ListFilter) -> Result<Vec<SandboxInfo>> {
        let found = self.shared.engine.containers(&[SANDBOX.to_owned()]).await?;
        let asleep = asleep::all(&self.shared.engine).await?;
        let up: HashSet<_> =
            found.iter().filter(|found| asleep::is_up(found)).map(|found| &found.name).collect();
        let asleep: HashMap<_, _> = asleep
            .iter()
            .filter_map(asleep::info_of)
            .map(|info| (container_name(&info.id), info))
            .filter(|(name, _)| !up.contains(name))
            .collect();
        let mut infos: Vec<_> = found
            .iter()
            .filter(|container| !asleep.contains_key(&container.name))
            // It has ended, and is gone in a moment.
            .filter(|container| container.state != ContainerState::Removing)
            .filter_map(info_of)
            .chain(asleep.values().cloned())
            .filter(|info| filter.matches(info))
            .collect();
        infos.sort_by(|a, b| a.created_at.cmp(&b.created_at).then_with(|| a.id.cmp(&b.id)));
        Ok(infos)
    }

    async fn remove(&self, id: &SandboxId, condition: RemoveIf) -> Result<Removal> {
        end(&self.shared.engine, id, condition).await
    }

    async fn sweep(&self, dry_run: DryRun) -> Result<Vec<String>> {
        crate::sweep::sweep(&self.shared.engine, dry_run).await
    }

    fn templates(&self) -> Option<Arc<dyn Templates>> {
        let (engine, watcher) = (self.shared.engine.clone(), self.shared.watcher.clone());
        Some(Arc::new(DockerTemplates { engine, watcher }))
    }

    fn snapshot_catalog(&self) -> Option<Arc<dyn SnapshotCatalog>> {
        None
    }

    fn volumes(&self) -> Option<Arc<dyn Volumes>> {
        Some(Arc::new(DockerVolumes { engine: self.shared.engine.clone() }))
    }
}
