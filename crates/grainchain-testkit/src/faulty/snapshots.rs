//! Mistakes with snapshots.

use std::sync::Arc;

use async_trait::async_trait;
use grainchain_core::facet::{Files, Snapshots};
use grainchain_core::{
    CreateSnapshot, FileKind, ListFiles, Parts, Result, SnapshotId, SnapshotInfo, Stat, WriteFile,
};

use super::Fault;

#[derive(Debug)]
pub(super) struct Spoiled {
    pub(super) fault: Fault,
    pub(super) inner: Arc<dyn Snapshots>,
    pub(super) files: Arc<dyn Files>,
}

#[async_trait]
impl Snapshots for Spoiled {
    async fn create(&self, request: CreateSnapshot) -> Result<SnapshotInfo> {
        self.inner.create(request).await
    }

    async fn restore(&self, id: &SnapshotId) -> Result<Option<Parts>> {
        if self.fault == Fault::RestoresNothing {
            return Ok(None);
        }
        let before = match self.fault {
            Fault::KeepsNewFiles => self.files.list(ListFiles::new(".").recursive()).await?,
            _ => Vec::new(),
        };
        let parts = self.inner.restore(id).await?;
        for file in before.into_iter().filter(|file| file.kind == FileKind::File) {
            if self.files.stat(Stat::new(&file.path)).await.is_err() {
                self.files.write(WriteFile::new(&file.path), "".into()).await?;
            }
        }
        Ok(parts)
    }

    async fn list(&self) -> Result<Vec<SnapshotInfo>> {
        let mut list = self.inner.list().await?;
        if self.fault == Fault::ForgetsSnapshots {
            list = list.pop().into_iter().collect();
        }
        Ok(list)
    }

    async fn delete(&self, id: &SnapshotId) -> Result<()> {
        self.inner.delete(id).await
    }
}
