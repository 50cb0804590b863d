//! Makes, finds, lists and removes sandboxes.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use grainchain_core::facet::{SnapshotCatalog, Templates, Volumes};
use grainchain_core::types::id::random_id;
use grainchain_core::{
    Capabilities, Capability, ConfigOption, CreateRequest, DryRun, Error, Health, Language, ListFilter,
    Parts, Provider, ProviderInfo, Result, SandboxConfig, SandboxId, SandboxInfo, blocking,
};
use grainchain_guest::kill_processes_of;

use crate::NAME;
use crate::config::LocalConfig;
use crate::lease::{self, Lease};
use crate::sandbox::{LocalSandbox, details, discard, remove_tree};
use crate::state::{Folder, Layout, State, broken_info, missing};

/// The provider `local`: sandboxes in directories of this machine.
#[derive(Clone, Debug)]
pub struct Local {
    shared: Arc<Shared>,
}

/// What all sandboxes of one provider share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: LocalConfig,
    pub(crate) layout: Layout,
    /// The sandboxes that this program created or connected to, so that all its handles share processes and lease.
    held: Mutex<HashMap<SandboxId, Arc<LocalSandbox>>>,
}

impl Local {
    /// A provider with these settings. Nothing is made on disk yet.
    ///
    /// # Errors
    ///
    /// `Config` when there is nowhere to keep sandboxes.
    pub fn new(config: LocalConfig) -> Result<Self> {
        let layout = Layout::new(config.resolve_root()?);
        Ok(Self { shared: Arc::new(Shared { config, layout, held: Mutex::default() }) })
    }
}

impl Shared {
    /// Forgets a sandbox that has ended.
    pub(crate) fn forget(&self, id: &SandboxId) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn held(&self, id: &SandboxId) -> Option<Arc<LocalSandbox>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Opens the sandbox in `folder` for all handles of this program.
    pub(crate) fn hold(
        self: &Arc<Self>,
        folder: Folder,
        lease: Lease,
        state: &State,
    ) -> Result<Arc<LocalSandbox>> {
        let sandbox = LocalSandbox::open(self, folder, lease, state)?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let sandbox = Arc::clone(held.entry(state.id.clone()).or_insert(sandbox));
        drop(held);
        sandbox.end_at(state.expires_at());
        Ok(sandbox)
    }

    /// Makes a sandbox's folder, filled by `fill` before anybody can see it.
    pub(crate) fn make(
        &self,
        state: &State,
        fill: impl FnOnce(&Folder) -> Result<()>,
    ) -> Result<(Folder, Lease)> {
        let sandboxes = self.layout.sandboxes();
        let draft = Folder(self.layout.limbo().join(random_id("new")));
        let made = (|| {
            for path in [&sandboxes, &draft.workspace(), &draft.temporary()] {
                fs::create_dir_all(path).map_err(|error| {
                    Error::io(format_args!("make the directory {}", path.display()), error)
                })?;
            }
            // Held from before it can be seen, so that no gc takes it for left behind.
            let lease = Lease::take(&draft.lease())?;
            fill(&draft)?;
            draft.write(state)?;
            let folder = self.layout.folder(&state.id)?;
            fs::rename(&draft.0, &folder.0).map_err(|error| {
                Error::io(format_args!("put the sandbox in {}", folder.0.display()), error)
            })?;
            Ok((folder, lease))
        })();
        if made.is_err() && draft.0.exists() {
            // The error that matters is the one above; what stays in limbo is no sandbox and goes with the next gc.
            remove_tree(&draft.0).ok();
        }
        made.map_err(|error: Error| match error.kind() {
            grainchain_core::ErrorKind::Denied => error.hint(format!(
                "make {} writable, or set `root` in [providers.local]",
                self.layout.root().display()
            )),
            _ => error,
        })
    }

    /// Every folder that claims to be a sandbox, with its state or what is wrong with it.
    fn states(&self) -> Result<Vec<(SandboxId, Folder, Result<State>)>> {
        let sandboxes = self.layout.sandboxes();
        let entries = match fs::read_dir(&sandboxes) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io(format_args!("list {}", sandboxes.display()), error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry =
                entry.map_err(|error| Error::io(format_args!("list {}", sandboxes.display()), error))?;
            let id = SandboxId::new(entry.file_name().to_string_lossy());
            let folder = Folder(entry.path());
            let state = folder.read(&id);
            // One that ended between the listing and the reading is none.
            if !matches!(&state, Err(error) if error.kind() == grainchain_core::ErrorKind::NotFound) {
                found.push((id, folder, state));
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Provider for Local {
    fn info(&self) -> ProviderInfo {
        let options = vec![
            ConfigOption::EnvironmentVars,
            ConfigOption::WorkingDirectory,
            ConfigOption::Lifetime,
            ConfigOption::KeepAlive,
            ConfigOption::Metadata,
            ConfigOption::NetworkOpen,
        ];
        let capabilities = [
            Capability::Exec,
            Capability::Processes,
            Capability::Files,
            Capability::Archive,
            Capability::Watch,
            Capability::Code,
            Capability::Snapshots,
            Capability::Fork,
            Capability::Ports,
            Capability::Metrics,
        ];
        ProviderInfo::new(NAME, options, Capabilities::new(capabilities, details()))
    }

    async fn check(&self) -> Result<Health> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move || {
            let root = shared.layout.root();
            fs::create_dir_all(root).map_err(|error| {
                Error::io(format_args!("make the root {}", root.display()), error)
                    .hint("set `root` in [providers.local] to a directory that you may write to")
                    .option("root")
            })?;
            let path = shared.config.base_environment(root, root).remove("PATH").unwrap_or_default();
            let interpreters =
                [(Language::Python, "python3"), (Language::JavaScript, "node"), (Language::Bash, "bash")];
            let mut notes = vec!["commands are not isolated from this machine".to_owned()];
            for (language, program) in interpreters {
                if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
                    notes.push(format!(
                        "no {program} in PATH: {language} code cannot be run until it is installed"
                    ));
                }
            }
            Ok(Health::new(Some(env!("CARGO_PKG_VERSION").to_owned()), notes))
        })
        .await
    }

    async fn create(&self, request: CreateRequest) -> Result<Parts> {
        let working_directory = working_directory(&request.config)?;
        let shared = Arc::clone(&self.shared);
        let sandbox = blocking::run(move || {
            let mut state = new_state(request.owner, request.key)?;
            state.live_for(request.config.lifetime);
            state.keep = request.config.keep_alive || !request.config.auto_cleanup;
            state.working_directory = working_directory;
            state.environment = request.config.environment_vars;
            state.metadata = request.config.metadata;
            let (folder, lease) = shared.make(&state, |draft| {
                let start = draft.workspace().join(&state.working_directory);
                fs::create_dir_all(&start)
                    .map_err(|error| Error::io(format_args!("make the directory {}", start.display()), error))
            })?;
            Ok((shared, folder, lease, state))
        })
        .await?;
        let (shared, folder, lease, state) = sandbox;
        Ok(shared.hold(folder, lease, &state)?.parts())
    }

    async fn connect(&self, id: &SandboxId) -> Result<Parts> {
        if let Some(sandbox) = self.shared.held(id)
            && sandbox.state().await.is_ok()
        {
            return Ok(sandbox.parts());
        }
        let folder = self.shared.layout.folder(id)?;
        let (reader, wanted) = (folder.clone(), id.clone());
        let state = blocking::run(move || reader.read(&wanted)).await?;
        if state.is_over() {
            return Err(missing(id).hint("its lifetime is over; gc removes what it left"));
        }
        let lease = Lease::take(&folder.lease())?;
        let sandbox = self.shared.hold(folder, lease, &state)?;
        sandbox.recover().await?;
        Ok(sandbox.parts())
    }

    async fn list(&self, filter: ListFilter) -> Result<Vec<SandboxInfo>> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move || {
            let mut infos: Vec<_> = shared
                .states()?
                .into_iter()
                .map(|(id, folder, state)| match state {
                    Ok(state) => state.info(&folder),
                    Err(error) => broken_info(id, &error),
                })
                .filter(|info| filter.matches(info))
                .collect();
            infos.sort_by(|a, b| a.created_at.cmp(&b.created_at).then_with(|| a.id.cmp(&b.id)));
            Ok(infos)
        })
        .await
    }

    async fn remove(&self, id: &SandboxId) -> Result<()> {
        if let Some(sandbox) = self.shared.held(id) {
            sandbox.end_at(None);
            return sandbox.end().await;
        }
        let folder = self.shared.layout.folder(id)?;
        let (limbo, id) = (self.shared.layout.limbo(), id.clone());
        blocking::run(move || {
            match folder.read(&id) {
                Ok(state) => {
                    kill_processes_of(state.tag)?;
                }
                Err(error) if error.kind() == grainchain_core::ErrorKind::NotFound => return Err(error),
                // Its processes cannot be told from others any more; its folder can.
                Err(error) => {
                    tracing::warn!(%error, "a broken sandbox is removed without looking for its processes")
                }
            }
            discard(&folder, Some(limbo))
        })
        .await
    }

    async fn sweep(&self, dry_run: DryRun) -> Result<Vec<String>> {
        let limbo = self.shared.layout.limbo();
        blocking::run(move || sweep(&limbo, dry_run)).await
    }

    fn templates(&self) -> Option<Arc<dyn Templates>> {
        None
    }

    fn snapshot_catalog(&self) -> Option<Arc<dyn SnapshotCatalog>> {
        None
    }

    fn volumes(&self) -> Option<Arc<dyn Volumes>> {
        None
    }
}

/// Removes the half sandboxes that killed programs left.
fn sweep(limbo: &Path, dry_run: DryRun) -> Result<Vec<String>> {
    let fail = |error| Error::io(format_args!("list {}", limbo.display()), error);
    let entries = match fs::read_dir(limbo) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut swept = Vec::new();
    for entry in entries {
        let draft = Folder(entry.map_err(fail)?.path());
        // One that is being made is held; one that is being removed may be removed by two at once.
        if lease::is_held(&draft.lease()) != Some(false) {
            continue;
        }
        if dry_run == DryRun::No {
            remove_tree(&draft.0)?;
        }
        swept.push(draft.0.display().to_string());
    }
    Ok(swept)
}

/// The state of a sandbox that is about to be made.
pub(crate) fn new_state(owner: String, key: String) -> Result<State> {
    // The system's randomness backs the id too; the tag needs no more than to differ from others on this machine.
    let id = random_id("sb");
    let tag =
        blake3::hash(id.as_bytes()).as_bytes()[..4].iter().fold(0, |tag, byte| tag << 8 | u32::from(*byte));
    Ok(State::new(SandboxId::new(id), tag, owner, key))
}

/// Where commands start, relative to the workspace.
fn working_directory(config: &SandboxConfig) -> Result<PathBuf> {
    let Some(wanted) = config.working_directory.as_deref() else { return Ok(PathBuf::new()) };
    // `~` is the workspace, because HOME is.
    let relative = match wanted.strip_prefix('~') {
        Some("") => "",
        Some(rest) => rest.strip_prefix('/').unwrap_or(wanted),
        None => wanted,
    };
    let stays_inside =
        Path::new(relative).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !stays_inside || relative.starts_with('~') {
        return Err(Error::bad_request(format!("`{wanted}` is not below the workspace"))
            .hint("local keeps every sandbox in a directory of its own: use a relative path without `..`")
            .option("working_directory"));
    }
    Ok(PathBuf::from(relative))
}
