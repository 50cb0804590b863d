//! Single files and directories.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::types::content::Content;
use crate::types::file::{FileInfo, ListFiles, MakeDir, ReadFile, Remove, Rename, Stat, WriteFile};

/// Single files and directories.
#[async_trait]
pub trait Files: Debug + Send + Sync + 'static {
    /// A file's content, or the part asked for.
    async fn read(&self, request: ReadFile) -> Result<Content>;

    /// Writes a file: the old one stays until the new one is complete.
    async fn write(&self, request: WriteFile, content: Content) -> Result<FileInfo>;

    /// What is at a path.
    async fn stat(&self, request: Stat) -> Result<FileInfo>;

    /// A directory's entries, sorted by path.
    async fn list(&self, request: ListFiles) -> Result<Vec<FileInfo>>;

    /// Makes a directory.
    async fn make_dir(&self, request: MakeDir) -> Result<()>;

    /// Removes a file or a tree.
    async fn remove(&self, request: Remove) -> Result<()>;

    /// Gives a file or directory another name.
    async fn rename(&self, request: Rename) -> Result<()>;
}
