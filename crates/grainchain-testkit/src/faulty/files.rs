//! Mistakes with files.

use std::time::Duration;

use async_trait::async_trait;
use grainchain_core::facet::Files;
use grainchain_core::{
    ByteSize, Content, FileInfo, FileKind, ListFiles, MakeDir, ReadFile, Remove, Rename, Result, Stat,
    WriteFile,
};

use super::{Fault, Spoiled};

#[async_trait]
impl Files for Spoiled<dyn Files> {
    async fn read(&self, mut request: ReadFile) -> Result<Content> {
        if self.fault == Fault::ShiftsRanges && request.offset > 0 {
            request.offset += 1;
        }
        if self.fault == Fault::ReadsTheHost && request.path.starts_with('/') {
            return Content::open(&request.path).await;
        }
        self.inner.read(request).await
    }

    async fn write(&self, mut request: WriteFile, content: Content) -> Result<FileInfo> {
        if self.fault == Fault::IgnoresModes {
            request.mode = None;
        }
        if self.fault == Fault::WritesInPlace {
            let all = content.into_bytes(ByteSize::gib(1)).await?;
            self.inner.write(request.clone(), all.slice(..all.len() / 2).into()).await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
            return self.inner.write(request, all.into()).await;
        }
        self.inner.write(request, content).await
    }

    async fn stat(&self, mut request: Stat) -> Result<FileInfo> {
        request.follow |= self.fault == Fault::FollowsLinksInStat;
        self.inner.stat(request).await
    }

    async fn list(&self, request: ListFiles) -> Result<Vec<FileInfo>> {
        let mut files = self.inner.list(request).await?;
        if self.fault == Fault::ListsUnsorted {
            files.reverse();
        }
        Ok(files)
    }

    async fn make_dir(&self, mut request: MakeDir) -> Result<()> {
        if self.fault == Fault::TrimsNames {
            request.path = request.path.trim().to_owned();
        }
        self.inner.make_dir(request).await
    }

    async fn remove(&self, request: Remove) -> Result<()> {
        if self.fault == Fault::RemovesThroughLinks {
            let found = self.inner.stat(Stat::new(&request.path)).await?;
            if let (FileKind::Symlink, Some(target)) = (found.kind, found.link_target) {
                self.inner.remove(Remove::new(target).recursive()).await?;
            }
        }
        self.inner.remove(request).await
    }

    async fn rename(&self, mut request: Rename) -> Result<()> {
        request.replace |= self.fault == Fault::AlwaysReplaces;
        self.inner.rename(request).await
    }
}
