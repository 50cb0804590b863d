//! Mistakes in making, finding and ending sandboxes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use grainchain_core::facet::{Lifecycle, SnapshotCatalog, Templates, Volumes};
use grainchain_core::{
    CreateRequest, DryRun, Error, ErrorKind, Health, ListFilter, Parts, Provider, ProviderInfo, Removal,
    RemoveIf, Result, SandboxId, SandboxInfo,
};

use super::{Fault, Spoiled};

#[derive(Debug)]
pub(super) struct FaultyProvider {
    pub(super) fault: Fault,
    pub(super) inner: Arc<dyn Provider>,
}

impl FaultyProvider {
    fn spoil(&self, mut parts: Parts) -> Parts {
        let fault = self.fault;
        if fault == Fault::LiesAboutCapabilities {
            parts.snapshots = None;
        }
        if let (Some(snapshots), Some(files)) = (&parts.snapshots, &parts.files) {
            let inner = Arc::clone(snapshots);
            parts.snapshots =
                Some(Arc::new(super::snapshots::Spoiled { fault, inner, files: Arc::clone(files) }));
        }
        parts.lifecycle = Arc::new(Spoiled { fault, inner: parts.lifecycle });
        parts.exec = Arc::new(Spoiled { fault, inner: parts.exec });
        parts.processes = parts.processes.map(|inner| Arc::new(Spoiled { fault, inner }) as _);
        parts.files = parts.files.map(|inner| Arc::new(Spoiled { fault, inner }) as _);
        parts.code = parts.code.map(|inner| Arc::new(Spoiled { fault, inner }) as _);
        parts
    }
}

#[async_trait]
impl Provider for FaultyProvider {
    fn info(&self) -> ProviderInfo {
        self.inner.info()
    }

    async fn check(&self) -> Result<Health> {
        self.inner.check().await
    }

    async fn create(&self, mut request: CreateRequest) -> Result<Parts> {
        if self.fault == Fault::DropsOptions {
            request.config.template = None;
        }
        match self.inner.create(request).await {
            Ok(parts) => Ok(self.spoil(parts)),
            Err(error) if self.fault == Fault::NamesNoAlternative => Err(bare(&error)),
            Err(error) => Err(error),
        }
    }

    async fn connect(&self, id: &SandboxId) -> Result<Parts> {
        if self.fault == Fault::NeverConnects {
            return Err(Error::not_found(format!("there is no sandbox {id}")));
        }
        Ok(self.spoil(self.inner.connect(id).await?))
    }

    async fn list(&self, filter: ListFilter) -> Result<Vec<SandboxInfo>> {
        if self.fault == Fault::ListsNothing { Ok(Vec::new()) } else { self.inner.list(filter).await }
    }

    async fn remove(&self, id: &SandboxId, condition: RemoveIf) -> Result<Removal> {
        let looks = self.fault != Fault::RemovesWithoutLooking;
        self.inner.remove(id, if looks { condition } else { RemoveIf::Always }).await
    }

    async fn sweep(&self, dry_run: DryRun) -> Result<Vec<String>> {
        self.inner.sweep(dry_run).await
    }

    fn templates(&self) -> Option<Arc<dyn Templates>> {
        self.inner.templates()
    }

    fn snapshot_catalog(&self) -> Option<Arc<dyn SnapshotCatalog>> {
        self.inner.snapshot_catalog()
    }

    fn volumes(&self) -> Option<Arc<dyn Volumes>> {
        self.inner.volumes()
    }
}

/// The same error without remedy and output.
pub(super) fn bare(error: &Error) -> Error {
    let kind: ErrorKind = error.kind();
    let bare = Error::new(kind, error.message());
    match error.failed_option() {
        Some(option) => bare.option(option),
        None => bare,
    }
}

#[async_trait]
impl Lifecycle for Spoiled<dyn Lifecycle> {
    async fn info(&self) -> Result<SandboxInfo> {
        self.inner.info().await
    }

    async fn set_lifetime(&self, lifetime: Option<Duration>) -> Result<()> {
        self.inner.set_lifetime(lifetime).await
    }

    async fn close(&self) -> Result<()> {
        if self.fault == Fault::LeaksOnClose { Ok(()) } else { self.inner.close().await }
    }
}
