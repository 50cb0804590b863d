//! Single files and directories.

use async_trait::async_trait;
use futures_util::stream;
use grainchain_core::facet::Files;
use grainchain_core::{
    Content, FileInfo, ListFiles, MakeDir, ReadFile, Remove, Rename, Result, Stat, WriteFile,
};

use super::Remote;
use super::call::{Call, Reply};
use crate::message::{Request, WireFile, malformed};

#[async_trait]
impl Files for Remote {
    async fn read(&self, request: ReadFile) -> Result<Content> {
        let ReadFile { path, offset, length, .. } = request;
        content(self.call(&Request::Read { path, offset, length }).await?.finish()).await
    }

    async fn write(&self, request: WriteFile, content: Content) -> Result<FileInfo> {
        let WriteFile { path, mode, parents, .. } = request;
        let call = self.call(&Request::Write { path, mode, parents, length: content.len() }).await?;
        call.answer_to::<WireFile>(content).await.map(Into::into)
    }

    async fn stat(&self, request: Stat) -> Result<FileInfo> {
        let Stat { path, follow, .. } = request;
        let info: WireFile = self.call(&Request::Stat { path, follow }).await?.finish().answer().await?;
        Ok(info.into())
    }

    async fn list(&self, request: ListFiles) -> Result<Vec<FileInfo>> {
        let ListFiles { path, depth, .. } = request;
        let list: Vec<WireFile> = self.call(&Request::List { path, depth }).await?.finish().answer().await?;
        Ok(list.into_iter().map(Into::into).collect())
    }

    async fn make_dir(&self, request: MakeDir) -> Result<()> {
        let MakeDir { path, parents, mode, .. } = request;
        self.call(&Request::MakeDir { path, parents, mode }).await?.finish().answer().await
    }

    async fn remove(&self, request: Remove) -> Result<()> {
        let Remove { path, recursive, missing_ok, .. } = request;
        self.call(&Request::Remove { path, recursive, missing_ok }).await?.finish().answer().await
    }

    async fn rename(&self, request: Rename) -> Result<()> {
        let Rename { from, to, replace, .. } = request;
        self.call(&Request::Rename { from, to, replace }).await?.finish().answer().await
    }
}

/// The content that a call tells: its length first, then its bytes.
pub(super) async fn content(mut call: Call) -> Result<Content> {
    let length: Option<u64> = call.event().await?;
    let chunks = stream::try_unfold(call, |mut call| async move {
        match call.next().await? {
            Reply::Data(bytes) => Ok(Some((bytes, call))),
            Reply::Answer(_) => Ok(None),
            _ => Err(malformed("something else than data")),
        }
    });
    Ok(Content::from_stream(chunks, length))
}
