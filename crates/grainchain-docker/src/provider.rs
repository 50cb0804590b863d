//! Makes, finds, lists and removes sandboxes.

use std::sync::Arc;

use async_trait::async_trait;
use grainchain_core::facet::{SnapshotCatalog, Templates, Volumes};
use grainchain_core::{
    Capabilities, Capability, CreateRequest, DryRun, Error, ErrorKind, Health, ListFilter, Parts, Provider,
    ProviderInfo, Removal, RemoveIf, Result, SandboxConfig, SandboxId, SandboxInfo,
};
use tokio::sync::oneshot;

use crate::NAME;
use crate::config::{DEFAULT_IMAGE, DockerConfig, GuestKind};
use crate::create::{make, unmake};
use crate::engine::{ContainerState, Engine, reference};
use crate::image::Pulls;
use crate::labels::{Identity, SANDBOX, Shown, container_name, info_of, is_possible};
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
    stills: Arc<Stills>,
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

    fn build(config: DockerConfig, watcher: Watcher) -> Result<Self> {
        config.validate()?;
        if config.guest == GuestKind::Helper {
            return Err(Error::unsupported(
                "`guest = \"helper\"` in this version",
                "set guest = \"engine\" in [providers.docker]",
            )
            .option("guest"));
        }
        let engine = Engine::new(&config.surroundings())?;
        let shared = Shared { config, engine, pulls: Pulls::default(), watcher, stills: Arc::default() };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Shared {
    /// Whether snapshots of sandboxes without wishes hold their files.
    fn keeps_files(&self) -> bool {
        Plan::new(&self.config, &SandboxConfig::default()).is_ok_and(|plan| {
            Shown {
                working_directory: plan.working_directory.clone(),
                outside: plan.outside(),
                ..Shown::default()
            }
            .is_kept_by_images()
        })
    }

    fn sandbox(&self, identity: Identity) -> Arc<DockerSandbox> {
        DockerSandbox::new(self.engine.clone(), identity, Arc::clone(&self.stills))
    }
}

/// Somebody who waits for a sandbox. Who leaves between its being made and being taken leaves none behind.
struct Waiting {
    shared: Arc<Shared>,
    made: oneshot::Receiver<Result<Identity>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.made.close();
        let Ok(Ok(unwanted)) = self.made.try_recv() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let shared = Arc::clone(&self.shared);
            runtime.spawn(async move { unmake(&shared, &unwanted).await });
        }
    }
}

#[async_trait]
impl Provider for Docker {
    fn info(&self) -> ProviderInfo {
        let mut capabilities = vec![Capability::Exec, Capability::Templates, Capability::Volumes];
        if self.shared.keeps_files() {
            capabilities.extend([Capability::Snapshots, Capability::Fork]);
        }
        ProviderInfo::new(NAME, HONOURED.to_vec(), Capabilities::new(capabilities, details()))
    }

    async fn check(&self) -> Result<Health> {
        let engine = &self.shared.engine;
        let interface = engine.interface().await?;
        let (version, info) = engine.describe().await?;
        let mut notes = vec![format!("the engine is {}", engine.place())];
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
        if !engine.has_buildkit().await? {
            notes.push("images are built by the classic builder: RUN --mount does not work".to_owned());
        }
        let image = reference(self.shared.config.image.as_deref().unwrap_or(DEFAULT_IMAGE))?;
        if engine.image(&image).await?.is_none() {
            notes.push(format!("the image `{image}` is not there yet: the first sandbox pulls it"));
        }
        let version = version.version.unwrap_or_else(|| "unknown".to_owned());
        Ok(Health::new(Some(format!("{version}, {interface}")), notes))
    }

    async fn create(&self, request: CreateRequest) -> Result<Parts> {
        let shared = Arc::clone(&self.shared);
        let (sender, receiver) = oneshot::channel();
        let mut waiting = Waiting { shared: Arc::clone(&self.shared), made: receiver };
        // Begun, it goes on to its end, so that nothing half made is left; and what nobody waits for any more is removed again.
        tokio::spawn(async move {
            let made = make(&shared, request, || sender.is_closed()).await;
            if let Err(Ok(unwanted)) = sender.send(made) {
                unmake(&shared, &unwanted).await;
            }
        });
        let made =
            (&mut waiting.made).await.map_err(|_| Error::unexpected("the runtime is shutting down"))??;
        Ok(self.shared.sandbox(made).parts())
    }

    async fn connect(&self, id: &SandboxId) -> Result<Parts> {
        if !is_possible(id) {
            return Err(missing(id));
        }
        let found = self.shared.engine.inspect(&container_name(id)).await?.ok_or_else(|| missing(id))?;
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
        let identity = Identity::of(&found.labels).ok_or_else(|| {
            Error::new(
                ErrorKind::Conflict,
                format!("the sandbox `{id}` is broken: its labels are not as Grainchain writes them"),
            )
            .hint("remove it")
        })?;
        Ok(self.shared.sandbox(identity).parts())
    }

    async fn list(&self, filter: ListFilter) -> Result<Vec<SandboxInfo>> {
        let found = self.shared.engine.containers(&[SANDBOX.to_owned()]).await?;
        let mut infos: Vec<_> = found
            .iter()
            // It has ended, and is gone in a moment.
            .filter(|container| container.state != ContainerState::Removing)
            .filter_map(info_of)
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
