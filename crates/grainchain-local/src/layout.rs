//! Where things are on disk, and how to get there when commands may have put links in the way.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use grainchain_core::{Error, ErrorKind, Result, SandboxId};
use rustix::fs::{CWD, Mode, OFlags};

/// For this user alone: a sandbox's state holds the variables of its commands.
const PRIVATE: u32 = 0o700;
/// No file system here takes longer names.
const LONGEST_NAME: usize = 255;

/// Where things are below the root of all sandboxes.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.root.join("sandboxes")
    }

    /// Where a sandbox is built up or torn down, so that `sandboxes` never holds half of one.
    pub(crate) fn limbo(&self) -> PathBuf {
        self.root.join("limbo")
    }

    /// The folder of one sandbox.
    ///
    /// # Errors
    ///
    /// `NotFound` for an id that no sandbox can have; a path in disguise never gets further than this.
    pub(crate) fn folder(&self, id: &SandboxId) -> Result<Folder> {
        let name = id.as_str();
        let mut components = Path::new(name).components();
        match (components.next(), components.next()) {
            (Some(Component::Normal(only)), None)
                if only == name && !name.contains('\0') && name.len() <= LONGEST_NAME =>
            {
                Ok(Folder(self.sandboxes().join(name)))
            }
            _ => Err(missing(id)),
        }
    }

    /// Makes the directories that all sandboxes share.
    pub(crate) fn prepare(&self) -> Result<()> {
        make_dir(&self.root)?;
        for path in [self.sandboxes(), self.limbo()] {
            make_dir(&path)?;
            own_directory(&path)?;
        }
        Ok(())
    }
}

/// Makes a directory for this user alone, with its parents, unless it is there.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(PRIVATE)
        .create(path)
        .map_err(|error| Error::io(format_args!("make the directory {}", path.display()), error))
}

/// Whether the directory `path` of ours is there. A link in its place would lead everything we remove or write astray.
pub(crate) fn own_directory(path: &Path) -> Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(true),
        Ok(_) => Err(Error::new(ErrorKind::Conflict, format!("{} is not a directory", path.display()))
            .hint("move away what stands there; grainchain makes the directory itself")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(format_args!("look at {}", path.display()), error)),
    }
}

/// The error for a sandbox that is not there.
pub(crate) fn missing(id: &SandboxId) -> Error {
    Error::not_found(format!("there is no sandbox `{}`", id.as_str().escape_debug()))
        .hint("list the sandboxes to see which there are")
}

/// The folder of one sandbox.
#[derive(Clone, Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn workspace(&self) -> PathBuf {
        self.0.join("workspace")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.0.join("tmp")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.0.join("snapshots")
    }

    /// Opens the folder itself, never what a link in its place points to.
    pub(crate) fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::PATH | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(CWD, &self.0, flags, Mode::empty())?)
    }

    /// Opens a file of ours in the folder. Commands may have replaced it: links are not followed, pipes not waited for.
    pub(crate) fn open_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.open()?, name, flags, Mode::RUSR | Mode::WUSR);
        let file = File::from(file.map_err(|errno| match errno {
            rustix::io::Errno::LOOP => io::Error::other("it is a symbolic link"),
            errno => errno.into(),
        })?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(file)
    }

    /// Refuses to go on where commands have put something else in the place of what we made.
    pub(crate) fn ensure_whole(&self) -> Result<()> {
        for path in [self.workspace(), self.temporary()] {
            if !std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                let message =
                    format!("the sandbox is damaged: {} is not a directory any more", path.display());
                return Err(Error::unexpected(message).hint("remove the sandbox"));
            }
        }
        Ok(())
    }

    pub(crate) fn is_gone(&self) -> bool {
        let gone = [io::ErrorKind::NotFound, io::ErrorKind::InvalidFilename];
        std::fs::symlink_metadata(&self.0).is_err_and(|error| gone.contains(&error.kind()))
    }
}
