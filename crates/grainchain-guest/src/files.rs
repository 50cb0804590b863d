//! Single files and directories below the root, which nothing here leaves.

pub(crate) mod dirs;
mod info;
mod list;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::error::Error as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use grainchain_core::tree::{Links, MkdirOptions, Replace, Root, TreeError, TreeErrorKind};
use grainchain_core::{
    Content, Error, FileInfo, ListFiles, MakeDir, ReadFile, Remove, Rename, Result, Stat, WriteFile,
    blocking, facet,
};

use crate::guest::Guest;

#[async_trait]
impl facet::Files for Guest {
    /// Small files come as bytes, larger ones as the open file. Only regular files can be read: whatever else has the name is
    /// refused without waiting for it.
    async fn read(&self, request: ReadFile) -> Result<Content> {
        let path = self.file_path(&request.path)?;
        let guest = self.clone();
        blocking::run(move || read::read(&guest.shared.root, &path, request.offset, request.length)).await
    }

    /// Writes into a temporary file beside the target and renames it, so that a reader sees the old or the new content. What is
    /// at the end of a symbolic link is replaced, not the link. Nothing is forced to the disk: the swap survives the death of
    /// any program, not the loss of power.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the old file, and no temporary one. Bytes that have been handed over completely may still
    /// be written.
    async fn write(&self, request: WriteFile, content: Content) -> Result<FileInfo> {
        let path = self.file_path(&request.path)?;
        if request.path.ends_with('/') {
            return Err(Error::bad_request(format!("{:?} ends in a slash and names no file", request.path)));
        }
        write::write(self.clone(), path, request, content).await
    }

    async fn stat(&self, request: Stat) -> Result<FileInfo> {
        let path = self.file_path(&request.path)?;
        let guest = self.clone();
        let links = if request.follow { Links::Follow } else { Links::Keep };
        blocking::run(move || info::look(&guest.shared.root, &path, links, request.path)).await
    }

    /// A directory that cannot be read is an error when it is the one asked about, and stands there without its entries when it
    /// is below. What vanishes meanwhile is left out.
    async fn list(&self, request: ListFiles) -> Result<Vec<FileInfo>> {
        let path = self.file_path(&request.path)?;
        let guest = self.clone();
        blocking::run(move || list::list(&guest.shared.root, &path, request.depth)).await
    }

    async fn make_dir(&self, request: MakeDir) -> Result<()> {
        let path = self.file_path(&request.path)?;
        let guest = self.clone();
        let mode = request.mode.unwrap_or(0o755);
        check_mode(mode)?;
        let options = MkdirOptions::default().parents(request.parents).mode(mode);
        blocking::run(move || guest.shared.root.mkdir(&path, &options).map_err(refusal)).await
    }

    /// # Cancel safety
    ///
    /// Dropping the future does not stop a removal that has begun.
    async fn remove(&self, request: Remove) -> Result<()> {
        let path = self.file_path(&request.path)?;
        self.refuse_root(&path, "removed", "remove what is in it, or close the sandbox")?;
        let guest = self.clone();
        blocking::run(move || {
            let root = &guest.shared.root;
            let removed = if request.recursive { root.remove_all(&path) } else { remove_one(root, &path) };
            match removed {
                Err(error) if request.missing_ok && error.kind() == TreeErrorKind::NotFound => Ok(()),
                removed => removed.map_err(refusal),
            }
        })
        .await
    }

    async fn rename(&self, request: Rename) -> Result<()> {
        let (from, to) = (self.file_path(&request.from)?, self.file_path(&request.to)?);
        for path in [&from, &to] {
            self.refuse_root(path, "renamed or replaced", "rename what is in it")?;
        }
        let guest = self.clone();
        let replace = if request.replace { Replace::Allow } else { Replace::Refuse };
        blocking::run(move || {
            guest.shared.root.rename(&from, &to, replace).map_err(|error| match error.kind() {
                TreeErrorKind::NotEmpty => {
                    Error::new(grainchain_core::ErrorKind::Conflict, error.to_string())
                        .hint(format!("remove {:?} first", request.to))
                        .caused_by(error)
                }
                _ => refusal(error),
            })
        })
        .await
    }
}

impl Guest {
    /// The path of an operation on files, or why there cannot be one.
    pub(crate) fn file_path(&self, path: &str) -> Result<PathBuf> {
        self.ensure_open()?;
        if path.is_empty() {
            // Joined to the working directory, nothing would mean all of it.
            return Err(Error::bad_request("the path is empty").hint("use `.` for the working directory"));
        }
        Ok(self.path(path))
    }

    fn refuse_root(&self, path: &Path, what: &str, instead: &str) -> Result<()> {
        let root = self.shared.root.host_path();
        let below = path.strip_prefix(root).unwrap_or(path);
        if below
            .components()
            .all(|part| matches!(part, std::path::Component::CurDir | std::path::Component::RootDir))
        {
            return Err(Error::bad_request(format!("the workspace itself cannot be {what}")).hint(instead));
        }
        Ok(())
    }
}

/// Removes anything that is not a directory with something in it.
fn remove_one(root: &Root, path: &Path) -> std::result::Result<(), TreeError> {
    match root.remove_file(path) {
        Err(error) if error.kind() == TreeErrorKind::IsADirectory => root.remove_dir(path),
        removed => removed,
    }
}

fn check_mode(mode: u32) -> Result<()> {
    if mode & !0o7777 != 0 {
        return Err(Error::bad_request(format!("{mode:#o} are not permission bits"))
            .option("mode")
            .hint("use at most 0o7777"));
    }
    Ok(())
}

/// Maps the errors of the tree.
pub(crate) fn refusal(error: TreeError) -> Error {
    Error::from(error)
}

/// Like [`refusal`], for operations on one regular file: whoever names something else has asked for the wrong thing.
fn not_a_file(path: &Path, error: TreeError) -> Error {
    if error.kind() != TreeErrorKind::Other {
        return refusal(error);
    }
    let system = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    match system.and_then(std::io::Error::raw_os_error) {
        // The tree's own words: it has seen what kind it is. Looking again might find something else.
        None => Error::bad_request(error.to_string()).caused_by(error),
        // What a socket says, and a device without a driver.
        Some(code) if code == rustix::io::Errno::NXIO.raw_os_error() => {
            let message = format!("{path:?} is a socket or a device and not a regular file");
            Error::bad_request(message).caused_by(error)
        }
        Some(_) => refusal(error),
    }
}
