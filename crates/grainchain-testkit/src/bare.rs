//! A provider of which only the least is left, so that the cases for what is not declared have something to run on.

use std::sync::Arc;

use async_trait::async_trait;
use grainchain_core::facet::{SnapshotCatalog, Templates, Volumes};
use grainchain_core::{
    Capabilities, Capability, ConfigOption, CreateRequest, Details, DryRun, Health, ListFilter, Parts,
    Provider, ProviderInfo, Removal, RemoveIf, Result, SandboxId, SandboxInfo,
};

/// A good provider that declares, and hands over, nothing but commands that run to their end.
#[derive(Clone, Debug)]
pub struct Bare(Arc<dyn Provider>);

impl Bare {
    /// What is left of `provider`.
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        Self(provider)
    }

    fn details() -> Details {
        Details::default()
            .with(Capability::SeparateOutput)
            .with(Capability::TreeKill)
            .with(Capability::ExitSignals)
    }

    fn strip(parts: Parts) -> Parts {
        Parts::new(parts.id, parts.lifecycle, parts.exec).details(Self::details())
    }
}

#[async_trait]
impl Provider for Bare {
    fn info(&self) -> ProviderInfo {
        let capabilities = Capabilities::new([Capability::Exec], Self::details());
        ProviderInfo::new(self.0.info().name, vec![ConfigOption::EnvironmentVars], capabilities)
    }

    async fn check(&self) -> Result<Health> {
        self.0.check().await
    }

    async fn create(&self, request: CreateRequest) -> Result<Parts> {
        self.0.create(request).await.map(Self::strip)
    }

    async fn connect(&self, id: &SandboxId) -> Result<Parts> {
        self.0.connect(id).await.map(Self::strip)
    }

    async fn list(&self, filter: ListFilter) -> Result<Vec<SandboxInfo>> {
        self.0.list(filter).await
    }

    async fn remove(&self, id: &SandboxId, condition: RemoveIf) -> Result<Removal> {
        self.0.remove(id, condition).await
    }

    async fn sweep(&self, dry_run: DryRun) -> Result<Vec<String>> {
        self.0.sweep(dry_run).await
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
