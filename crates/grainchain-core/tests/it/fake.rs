//! A provider whose calls never answer, except those that a test wants to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use grainchain_core::facet::{Exec, Files, Lifecycle, Processes, SnapshotCatalog, Templates, Volumes, Watch};
use grainchain_core::types::process::ProcessControl;
use grainchain_core::{
    BuildTemplate, ByteSize, Capabilities, Capability, Capture, Command, Content, CreateRequest, Details,
    DryRun, Error, ExitStatus, FileInfo, Health, ListFiles, ListFilter, MakeDir, Output, Parts, Process,
    ProcessId, ProcessInfo, Provider, ProviderInfo, PtySize, ReadFile, Removal, Remove, RemoveIf, Rename,
    Result, SandboxId, SandboxInfo, Signal, Stat, TemplateId, TemplateInfo, WatchEvent, WatchKind, WatchPath,
    WatchStream, WriteFile,
};

/// What a create does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Create {
    #[default]
    Answers,
    Panics,
    Hangs,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Fake {
    pub(crate) create: Create,
    pub(crate) executed: Arc<AtomicUsize>,
    pub(crate) closed: Arc<AtomicUsize>,
    pub(crate) max_upload: Option<ByteSize>,
}

async fn never<T>() -> T {
    std::future::pending().await
}

#[async_trait]
impl Provider for Fake {
    fn info(&self) -> ProviderInfo {
        let supported = [Capability::Exec, Capability::Processes, Capability::Watch, Capability::Files];
        ProviderInfo::new("fake", Vec::new(), Capabilities::new(supported, Details::default()))
    }

    async fn check(&self) -> Result<Health> {
        never().await
    }

    async fn create(&self, _: CreateRequest) -> Result<Parts> {
        match self.create {
            Create::Answers => {
                let all = Arc::new(self.clone());
                let parts = Parts::new("sb".into(), Arc::clone(&all) as _, Arc::clone(&all) as _);
                let parts = match self.max_upload {
                    Some(limit) => parts.details(Details::default().max_upload(limit)),
                    None => parts,
                };
                Ok(parts.processes(Arc::clone(&all) as _).watch(Arc::clone(&all) as _).files(all))
            }
            Create::Panics => panic!("the provider has a fault"),
            Create::Hangs => never().await,
        }
    }

    async fn connect(&self, _: &SandboxId) -> Result<Parts> {
        never().await
    }

    async fn list(&self, _: ListFilter) -> Result<Vec<SandboxInfo>> {
        never().await
    }

    async fn remove(&self, _: &SandboxId, _: RemoveIf) -> Result<Removal> {
        never().await
    }

    async fn sweep(&self, _: DryRun) -> Result<Vec<String>> {
        never().await
    }

    fn templates(&self) -> Option<Arc<dyn Templates>> {
        Some(Arc::new(self.clone()))
    }

    fn snapshot_catalog(&self) -> Option<Arc<dyn SnapshotCatalog>> {
        None
    }

    fn volumes(&self) -> Option<Arc<dyn Volumes>> {
        None
    }
}

#[async_trait]
impl Templates for Fake {
    async fn list(&self) -> Result<Vec<TemplateInfo>> {
        never().await
    }

    async fn build(&self, _: BuildTemplate) -> Result<TemplateInfo> {
        never().await
    }

    async fn delete(&self, _: &TemplateId) -> Result<()> {
        never().await
    }
}

#[async_trait]
impl Lifecycle for Fake {
    async fn info(&self) -> Result<SandboxInfo> {
        never().await
    }

    async fn set_lifetime(&self, _: Option<std::time::Duration>) -> Result<()> {
        never().await
    }

    async fn close(&self) -> Result<()> {
        self.closed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[async_trait]
impl Exec for Fake {
    async fn execute(&self, _: Command) -> Result<Output> {
        self.executed.fetch_add(1, Ordering::SeqCst);
        let status = Some(ExitStatus::Code(0));
        let nothing = Capture::default();
        Ok(Output::new(status, nothing.clone(), nothing, SystemTime::UNIX_EPOCH, std::time::Duration::ZERO))
    }
}

#[async_trait]
impl Processes for Fake {
    async fn spawn(&self, _: Command) -> Result<Process> {
        Ok(Process::new("p".into(), Box::pin(stream::pending()), Arc::new(self.clone())))
    }

    async fn attach(&self, _: &ProcessId) -> Result<Process> {
        never().await
    }

    async fn list(&self) -> Result<Vec<ProcessInfo>> {
        never().await
    }
}

#[async_trait]
impl ProcessControl for Fake {
    async fn write(&self, _: Bytes) -> Result<()> {
        Err(Error::unexpected("nobody reads"))
    }

    async fn close_stdin(&self) -> Result<()> {
        never().await
    }

    async fn signal(&self, _: Signal) -> Result<()> {
        never().await
    }

    async fn kill(&self) -> Result<()> {
        never().await
    }

    async fn resize(&self, _: PtySize) -> Result<()> {
        never().await
    }
}

#[async_trait]
impl Watch for Fake {
    async fn watch(&self, _: WatchPath) -> Result<WatchStream> {
        let events = [Ok(WatchEvent::new("f", WatchKind::Created)), Err(Error::unexpected("no more"))];
        Ok(Box::pin(stream::iter(events)))
    }
}

#[async_trait]
impl Files for Fake {
    /// Says that there are ten bytes, and gives four.
    async fn read(&self, _: ReadFile) -> Result<Content> {
        Ok(Content::from_stream(stream::iter([Ok(Bytes::from_static(b"four"))]), Some(10)))
    }

    /// Takes all of it and then never answers.
    async fn write(&self, _: WriteFile, content: Content) -> Result<FileInfo> {
        content.into_stream().for_each(|_| std::future::ready(())).await;
        never().await
    }

    async fn stat(&self, _: Stat) -> Result<FileInfo> {
        never().await
    }

    async fn list(&self, _: ListFiles) -> Result<Vec<FileInfo>> {
        never().await
    }

    async fn make_dir(&self, _: MakeDir) -> Result<()> {
        never().await
    }

    async fn remove(&self, _: Remove) -> Result<()> {
        never().await
    }

    async fn rename(&self, _: Rename) -> Result<()> {
        never().await
    }
}
