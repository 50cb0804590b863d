//! Makes, finds, lists and removes sandboxes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use grainchain_core::facet::{SnapshotCatalog, Templates, Volumes};
use grainchain_core::{
    Capabilities, Capability, ConfigOption, CreateRequest, DryRun, Error, ErrorKind, Health, Language,
    ListFilter, Parts, Provider, ProviderInfo, Removal, RemoveIf, Result, SandboxConfig, SandboxId,
    SandboxInfo, blocking,
};
use grainchain_guest::kill_processes_of;
use rustix::fs::Access;

use crate::NAME;
use crate::config::LocalConfig;
use crate::layout::{Folder, Layout, make_dir, missing, own_directory};
use crate::lease::Lease;
use crate::sandbox::{LocalSandbox, details};
use crate::state::{State, broken_info, tag_of};

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

    /// Keeps `sandbox` for all handles of this program, unless it is kept already. Only within a runtime.
    pub(crate) fn hold(&self, sandbox: Arc<LocalSandbox>) -> Arc<LocalSandbox> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.entry(sandbox.id.clone()) {
            Entry::Occupied(kept) => Arc::clone(kept.get()),
            Entry::Vacant(place) => {
                sandbox.keep_time();
                Arc::clone(place.insert(sandbox))
            }
        }
    }

    /// Every folder that claims to be a sandbox, with its state or what is wrong with it.
    fn states(&self) -> Result<Vec<(SandboxId, Folder, Result<State>)>> {
        let sandboxes = self.layout.sandboxes();
        if !own_directory(&sandboxes)? {
            return Ok(Vec::new());
        }
        let fail = |error| Error::io(format_args!("list {}", sandboxes.display()), error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&sandboxes).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let id = SandboxId::new(entry.file_name().to_string_lossy());
            let folder = Folder(entry.path());
            let state = folder.read(&id);
            // One that ended between the listing and the reading is none.
            if !matches!(&state, Err(error) if error.kind() == ErrorKind::NotFound) {
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
            let usable = shared.layout.prepare().and_then(|()| {
                let access = Access::WRITE_OK | Access::EXEC_OK;
                [shared.layout.sandboxes(), shared.layout.limbo()].iter().try_for_each(|path| {
                    rustix::fs::access(path, access)
                        .map_err(|errno| Error::io(format_args!("write to {}", path.display()), errno.into()))
                })
            });
            usable.map_err(|error| {
                error
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
        let made = blocking::run(move || {
            let mut state = State::new(request.owner, request.key);
            state.live_for(request.config.lifetime);
            state.keep = request.config.keep_alive || !request.config.auto_cleanup;
            state.working_directory = working_directory;
            state.environment = request.config.environment_vars;
            state.metadata = request.config.metadata;
            let (folder, lease) = shared.layout.make(&state, |draft| {
                make_dir(&draft.workspace().join(&state.working_directory)).map_err(|error| {
                    match error.kind() {
                        ErrorKind::Exhausted | ErrorKind::Denied => error,
                        _ => error.hint("choose another working directory").option("working_directory"),
                    }
                })
            })?;
            LocalSandbox::open(&shared, folder, lease, &state)
        });
        // Held only now: if nobody waits for the answer any more, what was made loses its lease at once.
        Ok(self.shared.hold(made.await?).parts())
    }

    async fn connect(&self, id: &SandboxId) -> Result<Parts> {
        if let Some(sandbox) = self.shared.held(id) {
            if sandbox.ensure_open().is_err() {
                return Err(Error::new(ErrorKind::Conflict, format!("the sandbox `{id}` is being closed"))
                    .hint("remove it if that has failed"));
            }
            let state = sandbox.state().await?;
            return if state.is_over() { Err(over(id)) } else { Ok(sandbox.parts()) };
        }
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        let sandbox = blocking::run(move || {
            let folder = shared.layout.folder(&id)?;
            own_directory(&shared.layout.sandboxes())?;
            if folder.read(&id)?.is_over() {
                return Err(over(&id));
            }
            let lease = match Lease::take(&folder) {
                Err(_) if folder.is_gone() => return Err(missing(&id)),
                lease => lease?,
            };
            // Again: before the lease was held it could be removed or changed.
            let state = folder.read(&id)?;
            let sandbox = LocalSandbox::open(&shared, folder, lease, &state)?;
            sandbox.recover()?;
            Ok(sandbox)
        });
        Ok(self.shared.hold(sandbox.await?).parts())
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

    async fn remove(&self, id: &SandboxId, condition: RemoveIf) -> Result<Removal> {
        if let Some(sandbox) = self.shared.held(id) {
            return sandbox.end(condition).await;
        }
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        blocking::run(move || shared.layout.end(&id, condition, || kill_processes_of(tag_of(&id)))).await
    }

    async fn sweep(&self, dry_run: DryRun) -> Result<Vec<String>> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move || shared.layout.sweep(dry_run)).await
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

/// The error for a sandbox that is there but must not be used any more.
fn over(id: &SandboxId) -> Error {
    Error::not_found(format!("the lifetime of the sandbox `{id}` is over"))
        .hint("create a new one; gc removes what this one left")
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
