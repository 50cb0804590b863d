//! Bytes in and out: files and whole directories.

mod progress;

use std::fs::{File, Permissions};
use std::future::IntoFuture;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use progress::TransferProgress;

use crate::blocking;
use crate::capabilities::Capability;
use crate::error::{Error, ErrorKind, Result, io_kind, one_line};
use crate::operation::Operation;
use crate::sandbox::Sandbox;
use crate::tree::{PackOptions, Root, TreeError, TreeErrorKind, UnpackOptions, pack, unpack};
use crate::types::content::Content;
use crate::types::file::{FileInfo, Pack, ReadFile, Unpack, UnpackSummary, WriteFile};
use crate::types::size::ByteSize;

/// What `download_file` holds in memory at most; larger files are read as a stream or straight into a file.
const MEMORY_LIMIT: ByteSize = ByteSize::gib(1);

impl Sandbox {
    /// Writes a file: the old one stays until the new one is complete, then it is swapped. Missing parents are made.
    ///
    /// ```no_run
    /// # async fn example(sandbox: grainchain_core::Sandbox) -> grainchain_core::Result<()> {
    /// use grainchain_core::{Content, WriteFile};
    /// sandbox.upload_file("notes/today.txt", "milk, bread").await?;
    /// sandbox.upload_file(WriteFile::new("bin/tool").mode(0o755), Content::open("target/tool").await?).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// `BadRequest` when the path leaves the workspace or the content is larger than
    /// [`Details::max_upload`](crate::Details::max_upload), `Exhausted` when the disk is full. After an error the old file is there.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the old file.
    pub async fn upload_file(
        &self,
        request: impl Into<WriteFile>,
        content: impl Into<Content>,
    ) -> Result<FileInfo> {
        let operation = Operation::WriteFile;
        let files = self.need(operation, Capability::Files, |parts| parts.files.as_ref())?;
        let content = content.into();
        if let (Some(length), Some(limit)) = (content.len(), self.parts().details.max_upload)
            && length > limit.as_u64()
        {
            let message = format!("{length} bytes are more than the {limit} that a file may have here");
            let error = Error::bad_request(message).hint("write it in parts");
            return Err(self.complete(error, operation));
        }
        let (content, progress) = progress::observe(content);
        let idle = self.client().current_deadlines().idle;
        let work = progress.enforce(idle, files.write(request.into(), content));
        self.run_within(operation, None, work).await
    }

    /// A file's content in memory, up to 1 GiB; larger ones with [`read_file`](Self::read_file) or
    /// [`download_to`](Self::download_to).
    ///
    /// # Errors
    ///
    /// `NotFound`, `BadRequest` when it is no regular file or the path leaves the workspace.
    pub async fn download_file(&self, request: impl Into<ReadFile>) -> Result<Bytes> {
        let content = self.read_file(request).await?;
        content.into_bytes(MEMORY_LIMIT).await.map_err(|error| self.complete(error, Operation::ReadFile))
    }

    /// A file's content, or a part of it, as it comes.
    ///
    /// # Errors
    ///
    /// `NotFound`, `BadRequest` when it is no regular file or the path leaves the workspace.
    pub async fn read_file(&self, request: impl Into<ReadFile>) -> Result<Content> {
        let operation = Operation::ReadFile;
        let files = self.need(operation, Capability::Files, |parts| parts.files.as_ref())?;
        let deadlines = self.client().current_deadlines();
        let content = self.run_within(operation, Some(deadlines.control), files.read(request.into())).await?;
        Ok(self.bounded(content, operation))
    }

    /// Copies a file of the sandbox to `host`, a path of this machine. A file that is there is replaced when the new one is complete,
    /// which gets its permissions.
    ///
    /// # Errors
    ///
    /// As for [`read_file`](Self::read_file), those of writing here, and `BadRequest` when a directory, a pipe or a device is there.
    /// After an error the old file is there.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the old file, or the new one where nothing was left to do but to swap them.
    pub async fn download_to(&self, request: impl Into<ReadFile>, host: impl AsRef<Path>) -> Result<u64> {
        let content = self.read_file(request).await?;
        let copied = save(content, host.as_ref().to_owned()).await;
        copied.map_err(|error| self.complete(error, Operation::ReadFile))
    }

    /// Copies a directory of this machine with everything in it into the sandbox's directory `path`: modes, times, links, sparse
    /// files and extended attributes included. Files that are there and not in the source stay.
    pub fn upload_dir(&self, host: impl AsRef<Path>, path: impl Into<String>) -> DirTransfer {
        DirTransfer::new(self, Direction::Up, host.as_ref(), path.into())
    }

    /// Copies a directory of the sandbox with everything in it into `host`, a directory of this machine, made when missing. Nothing
    /// that comes from the sandbox can write outside of it.
    pub fn download_dir(&self, path: impl Into<String>, host: impl AsRef<Path>) -> DirTransfer {
        DirTransfer::new(self, Direction::Down, host.as_ref(), path.into())
    }

    /// A directory of the sandbox as a tar stream.
    ///
    /// # Errors
    ///
    /// `NotFound`, or `Unsupported` where trees cannot be moved as one.
    pub async fn read_archive(&self, request: impl Into<Pack>) -> Result<Content> {
        let operation = Operation::Pack;
        let archive = self.need(operation, Capability::Archive, |parts| parts.archive.as_ref())?;
        let content = self.run(operation, archive.pack(request.into())).await?;
        Ok(self.bounded(content, operation))
    }

    /// Unfolds a tar stream in a directory of the sandbox.
    ///
    /// # Errors
    ///
    /// `BadRequest` for an archive that is broken or wants to write outside.
    pub async fn write_archive(
        &self,
        request: impl Into<Unpack>,
        archive: impl Into<Content>,
    ) -> Result<UnpackSummary> {
        let operation = Operation::Unpack;
        let facet = self.need(operation, Capability::Archive, |parts| parts.archive.as_ref())?;
        let (content, progress) = progress::observe(archive.into());
        let idle = self.client().current_deadlines().idle;
        let work = progress.enforce(idle, facet.unpack(request.into(), content));
        self.run_within(operation, None, work).await
    }

    fn complete(&self, error: Error, operation: Operation) -> Error {
        self.client().complete(error, operation, Some(self.id()))
    }

    /// Lets a stream from the sandbox stand still only so long, and completes its errors.
    fn bounded(&self, content: Content, operation: Operation) -> Content {
        let sandbox = self.clone();
        let idle = self.client().current_deadlines().idle;
        let length = content.len();
        content.map_stream(|stream| {
            progress::bounded(stream, length, idle, move |error| sandbox.complete(error, operation))
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// A directory about to be copied; `.await` copies it.
#[derive(Debug)]
#[must_use = "nothing is copied until it is awaited"]
pub struct DirTransfer {
    sandbox: Sandbox,
    direction: Direction,
    host: PathBuf,
    path: String,
    progress: Option<Arc<TransferProgress>>,
}

impl DirTransfer {
    fn new(sandbox: &Sandbox, direction: Direction, host: &Path, path: String) -> Self {
        Self { sandbox: sandbox.clone(), direction, host: host.to_owned(), path, progress: None }
    }

    /// Counts the bytes in `progress` while they move, for a display.
    pub fn progress(mut self, progress: &Arc<TransferProgress>) -> Self {
        self.progress = Some(Arc::clone(progress));
        self
    }

    async fn upload(self) -> Result<UnpackSummary> {
        let host = self.host;
        let root = blocking::run(move || Root::open(&host).map_err(Error::from)).await;
        let root = root.map_err(|error| self.sandbox.complete(error, Operation::Unpack))?;
        let content = blocking::produce(move |writer| {
            pack(&root, ".", writer, &mut PackOptions::default()).map_err(Error::from).map(drop)
        });
        let content = progress::count(content, self.progress);
        self.sandbox.write_archive(Unpack::new(self.path), content).await
    }

    async fn download(self) -> Result<UnpackSummary> {
        let content = self.sandbox.read_archive(Pack::new(self.path)).await?;
        let content = progress::count(content, self.progress);
        let host = self.host;
        let unpacked = blocking::consume(content.into_stream(), move |reader| {
            std::fs::create_dir_all(&host)
                .map_err(|error| Error::io(format_args!("make the directory {}", host.display()), error))?;
            let root = Root::open(&host)?;
            Ok(UnpackSummary::from(unpack(&root, ".", reader, &UnpackOptions::default())?))
        });
        unpacked.await.map_err(|error| self.sandbox.complete(error, Operation::Pack))
    }
}

impl IntoFuture for DirTransfer {
    type Output = Result<UnpackSummary>;
    type IntoFuture = BoxFuture<'static, Result<UnpackSummary>>;

    fn into_future(self) -> Self::IntoFuture {
        match self.direction {
            Direction::Up => Box::pin(self.upload()),
            Direction::Down => Box::pin(self.download()),
        }
    }
}

/// Writes `content` to a temporary file beside `host` and swaps it in.
async fn save(content: Content, host: PathBuf) -> Result<u64> {
    let fail = |host: &Path, error| Error::io(format_args!("write {}", host.display()), error);
    match content.into_file() {
        // Between two files of this machine the kernel copies.
        Ok((file, length)) => {
            blocking::run(move || {
                save_with(&host, |target| {
                    std::io::copy(&mut file.take(length), target).map_err(|error| fail(&host, error))
                })
            })
            .await
        }
        Err(content) => {
            blocking::consume(content.into_stream(), move |reader| {
                save_with(&host, |target| {
                    let mut total = 0;
                    while let Some(chunk) = reader.next_chunk().map_err(|error| fail(&host, error))? {
                        target.write_all(&chunk).map_err(|error| fail(&host, error))?;
                        total += chunk.len() as u64;
                    }
                    Ok(total)
                })
            })
            .await
        }
    }
}

fn save_with(host: &Path, fill: impl FnOnce(&mut File) -> Result<u64>) -> Result<u64> {
    let fail = |error| Error::io(format_args!("write {}", host.display()), error);
    let name =
        host.file_name().ok_or_else(|| Error::bad_request(format!("{} names no file", host.display())))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", crate::types::id::random_id("part")));
    let part = host.with_file_name(hidden);
    let replaced = match std::fs::metadata(host) {
        Ok(found) if found.is_file() => Some(Permissions::from_mode(found.mode() & 0o777)),
        Ok(_) => {
            return Err(Error::bad_request(format!("{} is there and not a regular file", host.display()))
                .hint("name a file to replace, or a path where nothing is"));
        }
        // Whatever is wrong with the path shows when the file is made.
        Err(_) => None,
    };
    let mut options = File::options();
    if replaced.is_some() {
        // What goes into a private file must not be readable in between.
        options.mode(0o600);
    }
    let mut target = options.write(true).create_new(true).open(&part).map_err(fail)?;
    let result = fill(&mut target).and_then(|total| {
        if let Some(permissions) = replaced {
            target.set_permissions(permissions).map_err(fail)?;
        }
        std::fs::rename(&part, host).map_err(fail).map(|()| total)
    });
    if result.is_err() {
        // What failed already has an error to tell; that of the cleaning would hide it.
        std::fs::remove_file(&part).ok();
    }
    result
}

impl From<TreeError> for Error {
    fn from(error: TreeError) -> Self {
        let kind = match error.kind() {
            TreeErrorKind::NotFound => ErrorKind::NotFound,
            TreeErrorKind::AlreadyExists | TreeErrorKind::NotEmpty | TreeErrorKind::Busy => {
                ErrorKind::Conflict
            }
            TreeErrorKind::Denied | TreeErrorKind::ReadOnly => ErrorKind::Denied,
            TreeErrorKind::Outside
            | TreeErrorKind::InvalidPath
            | TreeErrorKind::NotADirectory
            | TreeErrorKind::IsADirectory
            | TreeErrorKind::NotAFile
            | TreeErrorKind::Corrupt => ErrorKind::BadRequest,
            TreeErrorKind::Full | TreeErrorKind::TooLarge => ErrorKind::Exhausted,
            TreeErrorKind::Other => io_kind(error.system()),
        };
        let hint = match error.kind() {
            TreeErrorKind::NotFound => Some("list the directory above it to see what there is"),
            TreeErrorKind::AlreadyExists => Some("remove it first, or choose another name"),
            TreeErrorKind::NotEmpty => Some("remove it recursively"),
            TreeErrorKind::Denied => Some("change its mode, or that of the directories above it"),
            TreeErrorKind::ReadOnly => Some("choose a place on a file system that can be written to"),
            TreeErrorKind::Busy => Some("unmount it, or end what uses it, first"),
            TreeErrorKind::Outside => Some("use a path within the sandbox's workspace"),
            TreeErrorKind::InvalidPath => {
                Some("check the path: its names, their lengths, and the links on the way")
            }
            TreeErrorKind::NotADirectory => Some("name a directory"),
            TreeErrorKind::IsADirectory | TreeErrorKind::NotAFile => Some("name a regular file"),
            TreeErrorKind::Full => Some("free space on the disk that holds it"),
            TreeErrorKind::TooLarge => Some("move it in parts"),
            TreeErrorKind::Corrupt => Some("make the archive again"),
            TreeErrorKind::Other => None,
        };
        let mapped = Self::new(kind, error.to_string());
        let mapped = match hint {
            Some(hint) => mapped.hint(hint),
            None => mapped,
        };
        mapped.caused_by(error)
    }
}

impl From<crate::tree::UnpackReport> for UnpackSummary {
    fn from(report: crate::tree::UnpackReport) -> Self {
        let skipped = report.skipped.iter().take(100);
        let skipped =
            skipped.map(|skipped| one_line(format_args!("{}: {}", skipped.path.display(), skipped.reason)));
        Self::new(report.entries, report.bytes, skipped.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{MkdirOptions, Replace};

    #[tokio::test]
    async fn a_downloaded_file_is_as_private_as_the_one_that_it_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let host = folder.path().join("token");
        std::fs::write(&host, "old").unwrap();
        std::fs::set_permissions(&host, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(save(Content::from("new"), host.clone()).await.unwrap(), 3);
        assert_eq!(std::fs::read_to_string(&host).unwrap(), "new");
        assert_eq!(std::fs::metadata(&host).unwrap().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_download_never_replaces_what_is_not_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        let link = folder.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        for host in [pipe, link, folder.path().to_owned()] {
            let before = std::fs::symlink_metadata(&host).unwrap().ino();
            let error = save(Content::from("new"), host.clone()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");
            assert_eq!(std::fs::symlink_metadata(&host).unwrap().ino(), before);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_was_left_out_is_told_in_one_line_each() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("a\n\u{1b}[31mb");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        let mut archive = Vec::new();
        let root = Root::open(folder.path()).unwrap();
        pack(&root, ".", &mut archive, &mut PackOptions::default()).unwrap();
        let other = tempfile::tempdir().unwrap();
        let other = Root::open(other.path()).unwrap();
        let report = unpack(&other, ".", archive.as_slice(), &UnpackOptions::default()).unwrap();
        assert_eq!(UnpackSummary::from(report).skipped, [r"a\n\u{1b}[31mb: named pipe"]);
    }

    #[test]
    fn what_is_no_file_and_what_the_system_lacks_are_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        let root = Root::open(folder.path()).unwrap();
        let packed = pack(&root, "pipe", std::io::sink(), &mut PackOptions::default());
        for refused in [packed.map(drop), root.open_read("pipe").map(drop)] {
            assert_eq!(Error::from(refused.unwrap_err()).kind(), ErrorKind::BadRequest);
        }
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error()))
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        std::fs::remove_file(&pipe).unwrap();
        let failed = pack(&root, ".", Full, &mut PackOptions::default()).unwrap_err();
        assert_eq!(Error::from(failed).kind(), ErrorKind::Exhausted);
    }

    #[test]
    fn what_a_tree_refuses_comes_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("d")).unwrap();
        std::fs::write(folder.path().join("f"), "x").unwrap();
        std::os::unix::fs::symlink("loop", folder.path().join("loop")).unwrap();
        let root = Root::open(folder.path()).unwrap();
        let refusals = [
            root.open_read("none").map(drop),
            root.open_read("f/x").map(drop),
            root.open_read("loop").map(drop),
            root.open_read("../x").map(drop),
            root.open_read("n".repeat(300)).map(drop),
            root.mkdir("f", &MkdirOptions::default()),
            root.rename("f", "d", Replace::Allow),
            root.rename("d", "d/x", Replace::Allow),
            root.remove_dir("f"),
        ];
        for refusal in refusals {
            let error = Error::from(refusal.unwrap_err());
            assert!(error.remedy().is_some(), "{error}");
        }
    }
}
