//! Sandboxes that exist in memory: commands succeed with no output, files are kept in a table.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use grainchain_core::facet::{Exec, Files, Lifecycle, SnapshotCatalog, Templates, Volumes};
use grainchain_core::{
    ByteSize, Capabilities, Capability, Capture, Command, Content, CreateRequest, Details, DryRun, Error,
    ExitStatus, FileInfo, FileKind, Health, Lease, ListFiles, ListFilter, MakeDir, Operation, Output, Parts,
    Provider, ProviderInfo, ReadFile, Removal, Remove, RemoveIf, Rename, Result, SandboxId, SandboxInfo,
    SandboxStatus, Stat, WriteFile,
};

use super::Script;

/// A provider in memory that follows a [`Script`].
#[derive(Clone, Debug)]
pub struct Scripted {
    script: Script,
    world: Arc<Mutex<World>>,
}

#[derive(Debug, Default)]
struct World {
    made: u64,
    sandboxes: BTreeMap<SandboxId, Held>,
}

#[derive(Debug)]
struct Held {
    info: SandboxInfo,
    files: BTreeMap<String, Bytes>,
}

impl Held {
    fn hold(&mut self, held: bool) {
        if let Some(lease) = &mut self.info.lease {
            lease.held = Some(held);
        }
    }
}

#[derive(Debug)]
struct Inside {
    id: SandboxId,
    provider: Scripted,
}

impl Scripted {
    pub(super) fn new(script: Script) -> Self {
        Self { script, world: Arc::default() }
    }

    /// The ids of the sandboxes that exist.
    pub fn sandboxes(&self) -> Vec<SandboxId> {
        self.lock().sandboxes.keys().cloned().collect()
    }

    /// As if every client that held the sandbox were gone, until somebody connects to it.
    pub fn abandon(&self, id: &SandboxId) {
        if let Some(held) = self.lock().sandboxes.get_mut(id) {
            held.hold(false);
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parts(&self, id: &SandboxId) -> Parts {
        let inside = Arc::new(Inside { id: id.clone(), provider: self.clone() });
        Parts::new(id.clone(), Arc::clone(&inside) as _, Arc::clone(&inside) as _).files(inside)
    }

    fn missing(id: &SandboxId) -> Error {
        Error::not_found(format!("there is no sandbox {id}"))
    }
}

#[async_trait]
impl Provider for Scripted {
    fn info(&self) -> ProviderInfo {
        let capabilities = Capabilities::new([Capability::Exec, Capability::Files], Details::default());
        ProviderInfo::new("scripted", Vec::new(), capabilities)
    }

    async fn check(&self) -> Result<Health> {
        self.script.play(Operation::Check, || Ok(Health::default())).await
    }

    async fn create(&self, request: CreateRequest) -> Result<Parts> {
        let make = || {
            let mut world = self.lock();
            world.made += 1;
            let id = SandboxId::new(format!("scripted-{}", world.made));
            let mut info = SandboxInfo::new(id.clone(), "scripted", SandboxStatus::Running);
            info.key = Some(request.key.clone());
            info.lease = Some(Lease::new(request.owner.clone(), Some(true)));
            world.sandboxes.insert(id.clone(), Held { info, files: BTreeMap::new() });
            drop(world);
            Ok(self.parts(&id))
        };
        self.script.play(Operation::Create, make).await
    }

    async fn connect(&self, id: &SandboxId) -> Result<Parts> {
        let find = || {
            let mut world = self.lock();
            let held = world.sandboxes.get_mut(id).ok_or_else(|| Self::missing(id))?;
            held.hold(true);
            drop(world);
            Ok(self.parts(id))
        };
        self.script.play(Operation::Connect, find).await
    }

    async fn list(&self, filter: ListFilter) -> Result<Vec<SandboxInfo>> {
        let look = || {
            let world = self.lock();
            let infos = world.sandboxes.values().map(|held| held.info.clone());
            Ok(infos.filter(|info| filter.matches(info)).collect())
        };
        self.script.play(Operation::List, look).await
    }

    async fn remove(&self, id: &SandboxId, condition: RemoveIf) -> Result<Removal> {
        let remove = || {
            let mut world = self.lock();
            let held = world.sandboxes.get(id).ok_or_else(|| Self::missing(id))?;
            if !condition.allows(&held.info, SystemTime::now()) {
                return Ok(Removal::Kept);
            }
            world.sandboxes.remove(id);
            Ok(Removal::Removed)
        };
        self.script.play(Operation::RemoveSandbox, remove).await
    }

    async fn sweep(&self, _dry_run: DryRun) -> Result<Vec<String>> {
        Ok(Vec::new())
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

impl Inside {
    fn with<T>(&self, work: impl FnOnce(&mut Held) -> Result<T>) -> Result<T> {
        let mut world = self.provider.lock();
        work(world.sandboxes.get_mut(&self.id).ok_or_else(|| Scripted::missing(&self.id))?)
    }

    async fn play<T>(&self, operation: Operation, work: impl FnOnce(&mut Held) -> Result<T>) -> Result<T> {
        self.provider.script.play(operation, || self.with(work)).await
    }
}

fn absent(path: &str) -> Error {
    Error::not_found(format!("there is no file {path}"))
}

fn described(path: &str, bytes: &Bytes) -> FileInfo {
    FileInfo::new(path, FileKind::File, bytes.len() as u64)
}

#[async_trait]
impl Lifecycle for Inside {
    async fn info(&self) -> Result<SandboxInfo> {
        self.play(Operation::Info, |held| Ok(held.info.clone())).await
    }

    async fn set_lifetime(&self, _lifetime: Option<Duration>) -> Result<()> {
        Err(Capability::SetLifetime.unsupported())
    }

    async fn close(&self) -> Result<()> {
        let close = || {
            self.provider.lock().sandboxes.remove(&self.id);
            Ok(())
        };
        self.provider.script.play(Operation::Close, close).await
    }
}

#[async_trait]
impl Exec for Inside {
    async fn execute(&self, _command: Command) -> Result<Output> {
        let none = Capture::default;
        let done =
            Output::new(Some(ExitStatus::Code(0)), none(), none(), SystemTime::UNIX_EPOCH, Duration::ZERO);
        self.play(Operation::Execute, |_| Ok(done)).await
    }
}

#[async_trait]
impl Files for Inside {
    async fn read(&self, request: ReadFile) -> Result<Content> {
        let read =
            |held: &mut Held| held.files.get(&request.path).cloned().ok_or_else(|| absent(&request.path));
        Ok(self.play(Operation::ReadFile, read).await?.into())
    }

    async fn write(&self, request: WriteFile, content: Content) -> Result<FileInfo> {
        let bytes = content.into_bytes(ByteSize::mib(64)).await?;
        let write = |held: &mut Held| {
            let info = described(&request.path, &bytes);
            held.files.insert(request.path.clone(), bytes);
            Ok(info)
        };
        self.play(Operation::WriteFile, write).await
    }

    async fn stat(&self, request: Stat) -> Result<FileInfo> {
        let path = &request.path;
        let stat = |held: &mut Held| {
            held.files.get(path).map(|bytes| described(path, bytes)).ok_or_else(|| absent(path))
        };
        self.play(Operation::Stat, stat).await
    }

    async fn list(&self, _request: ListFiles) -> Result<Vec<FileInfo>> {
        let list =
            |held: &mut Held| Ok(held.files.iter().map(|(path, bytes)| described(path, bytes)).collect());
        self.play(Operation::ListFiles, list).await
    }

    async fn make_dir(&self, _request: MakeDir) -> Result<()> {
        self.play(Operation::MakeDir, |_| Ok(())).await
    }

    async fn remove(&self, request: Remove) -> Result<()> {
        let remove =
            |held: &mut Held| held.files.remove(&request.path).map(drop).ok_or_else(|| absent(&request.path));
        self.play(Operation::Remove, remove).await
    }

    async fn rename(&self, request: Rename) -> Result<()> {
        let rename = |held: &mut Held| {
            let bytes = held.files.remove(&request.from).ok_or_else(|| absent(&request.from))?;
            held.files.insert(request.to.clone(), bytes);
            Ok(())
        };
        self.play(Operation::Rename, rename).await
    }
}
