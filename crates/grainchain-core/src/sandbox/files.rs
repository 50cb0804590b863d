//! Single files and directories.

use futures_util::TryStreamExt;

use crate::capabilities::Capability;
use crate::error::Result;
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::types::file::{FileInfo, ListFiles, MakeDir, Remove, Rename, Stat};
use crate::types::watch::{WatchPath, WatchStream};

impl Sandbox {
    /// What is at a path; a symbolic link itself unless [`Stat::follow`] is set.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is nothing, `BadRequest` when the path leaves the workspace.
    pub async fn stat(&self, request: impl Into<Stat>) -> Result<FileInfo> {
        let files = self.need(Operation::Stat, Capability::Files, |parts| parts.files.as_ref())?;
        self.run(Operation::Stat, files.stat(request.into())).await
    }

    /// Whether there is anything at `path`, a broken link included.
    ///
    /// # Errors
    ///
    /// Those of [`stat`](Self::stat) other than `NotFound`.
    pub async fn exists(&self, path: &str) -> Result<bool> {
        match self.stat(path).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == crate::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The entries of a directory, sorted by path.
    ///
    /// # Errors
    ///
    /// `NotFound`, or `BadRequest` when it is no directory.
    pub async fn list_files(&self, request: impl Into<ListFiles>) -> Result<Vec<FileInfo>> {
        let files = self.need(Operation::ListFiles, Capability::Files, |parts| parts.files.as_ref())?;
        self.run(Operation::ListFiles, files.list(request.into())).await
    }

    /// Makes a directory, with its parents unless told otherwise.
    ///
    /// # Errors
    ///
    /// `Conflict` when a file is in the way.
    pub async fn make_dir(&self, request: impl Into<MakeDir>) -> Result<()> {
        let files = self.need(Operation::MakeDir, Capability::Files, |parts| parts.files.as_ref())?;
        self.run(Operation::MakeDir, files.make_dir(request.into())).await
    }

    /// Removes a file or an empty directory; a whole tree with [`Remove::recursive`].
    ///
    /// # Errors
    ///
    /// `NotFound`, or `Conflict` when a directory is not empty.
    pub async fn remove(&self, request: impl Into<Remove>) -> Result<()> {
        let files = self.need(Operation::Remove, Capability::Files, |parts| parts.files.as_ref())?;
        self.run(Operation::Remove, files.remove(request.into())).await
    }

    /// Gives a file or directory another name.
    ///
    /// # Errors
    ///
    /// `NotFound`, or `Conflict` when the new name is taken and [`Rename::replace`] is off.
    pub async fn rename(&self, request: Rename) -> Result<()> {
        let files = self.need(Operation::Rename, Capability::Files, |parts| parts.files.as_ref())?;
        self.run(Operation::Rename, files.rename(request)).await
    }

    /// The changes below a path from now on, until the stream is dropped.
    ///
    /// # Errors
    ///
    /// `NotFound`, or `Unsupported` where nothing tells of changes.
    pub async fn watch(&self, request: impl Into<WatchPath>) -> Result<WatchStream> {
        let watch = self.need(Operation::Watch, Capability::Watch, |parts| parts.watch.as_ref())?;
        let changes = self.run(Operation::Watch, watch.watch(request.into())).await?;
        let sandbox = self.clone();
        let complete = move |error| sandbox.client().complete(error, Operation::Watch, Some(sandbox.id()));
        Ok(Box::pin(changes.map_err(complete)))
    }
}
