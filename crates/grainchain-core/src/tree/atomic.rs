//! Replacing a file so that a reader sees the old or the new content, never half of it

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::beneath::{Root, not_regular, set_mode};
use super::error::{At, Fault, TreeError, TreeErrorKind};
use super::stat::Stat;
use crate::types::file::FileKind;

/// How [`Root::write_atomic`] makes the new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AtomicOptions {
    /// Permission bits of the new file, exactly. Without, a replaced file's permissions are kept (setuid and
    /// setgid are not), and a new file gets 0666 less the umask.
    pub mode: Option<u32>,
    /// Makes missing parent directories.
    pub parents: bool,
    /// Waits until the content is on the disk before the rename. Off by default: a sandbox is not a database.
    pub sync: bool,
}

impl AtomicOptions {
    /// Sets the permission bits of the new file.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Sets whether missing parent directories are made.
    pub fn parents(mut self, parents: bool) -> Self {
        self.parents = parents;
        self
    }

    /// Sets whether the content is forced to the disk.
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }
}

/// A file being written that appears under its name all at once.
///
/// Write into it, then [`commit`](Self::commit). Dropped without, it leaves nothing behind; only a killed
/// process leaves the temporary file, whose name begins with `.grainchain-`.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    directory: OwnedFd,
    temporary: Option<CString>,
    name: CString,
    path: PathBuf,
    options: AtomicOptions,
    replaced: Option<Stat>,
}

impl Root {
    /// Starts replacing or making the file `path` by a temporary file in the same directory.
    ///
    /// If `path` is a symbolic link, what it points to is replaced (or made) and the link stays, as an editor
    /// would do; a link that leaves the root is refused. As the new content is a new file, other hard links
    /// to the old one keep the old content. The owner of a replaced file is kept where we may set it.
    ///
    /// # Errors
    ///
    /// [`TreeErrorKind::IsADirectory`], [`TreeErrorKind::NotAFile`] for pipes, sockets and devices,
    /// [`TreeErrorKind::NotFound`] for a missing parent, [`TreeErrorKind::Outside`], [`TreeErrorKind::Denied`].
    pub fn write_atomic(
        &self,
        path: impl AsRef<Path>,
        options: AtomicOptions,
    ) -> Result<AtomicFile, TreeError> {
        let path = path.as_ref();
        self.start(path, options).at("write", path)
    }

    fn start(&self, path: &Path, options: AtomicOptions) -> Result<AtomicFile, Fault> {
        let (directory, name) = match self.target(path) {
            Err(fault) if options.parents && fault.kind == TreeErrorKind::NotFound => {
                self.make_parents(path)?;
                self.target(path)?
            }
            target => target?,
        };
        let directory = directory.into_owned()?;
        let replaced = match rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(Stat::of(&stat)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno.into()),
        };
        match replaced.map(|stat| stat.kind) {
            None | Some(FileKind::File) => {}
            Some(FileKind::Directory) => return Err(Errno::ISDIR.into()),
            Some(other) => return Err(not_regular(other)),
        }
        // The content of a private file must not be readable in between.
        let initial = if options.mode.is_some() || replaced.is_some() { 0o600 } else { 0o666 };
        loop {
            let temporary = temporary_name()?;
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&directory, &temporary, flags, Mode::from_raw_mode(initial)) {
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(errno.into()),
                Ok(file) => {
                    let file = File::from(file);
                    let path = path.to_path_buf();
                    let temporary = Some(temporary);
                    return Ok(AtomicFile { file, directory, temporary, name, path, options, replaced });
                }
            }
        }
    }
}

impl AtomicFile {
    /// The temporary file, for work that wants a real one, such as a copy within the kernel.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name, replacing what has it.
    ///
    /// # Errors
    ///
    /// [`TreeErrorKind::Full`], [`TreeErrorKind::Denied`], [`TreeErrorKind::IsADirectory`] and the like. The
    /// old file is untouched then, and the temporary one is gone.
    pub fn commit(mut self) -> Result<(), TreeError> {
        let done = self.finish();
        done.at("write", &self.path)
    }

    fn finish(&mut self) -> Result<(), Fault> {
        let file = self.file.try_clone()?.into();
        if let Some(old) = self.replaced {
            let new = Stat::of_file(&self.file)?;
            if (new.uid, new.gid) != (old.uid, old.gid) {
                match rustix::fs::fchown(
                    &self.file,
                    Some(Uid::from_raw(old.uid)),
                    Some(Gid::from_raw(old.gid)),
                ) {
                    // Only a privileged process can give files away; for others the writer owns the file.
                    Ok(()) | Err(Errno::PERM) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        let mode = self.options.mode.or(self.replaced.map(|old| old.mode & 0o777));
        if let Some(mode) = mode {
            set_mode(&file, Mode::from_raw_mode(mode as _))?;
        }
        if self.options.sync {
            self.file.sync_all()?;
        }
        let Some(temporary) = &self.temporary else { return Ok(()) };
        rustix::fs::renameat(&self.directory, temporary, &self.directory, &self.name)?;
        self.temporary = None;
        if self.options.sync {
            let directory = rustix::fs::openat(
                &self.directory,
                c".",
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            rustix::fs::fsync(directory)?;
        }
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            // Nobody is left to hear about a failure here, and the next write does not depend on it.
            let _ = rustix::fs::unlinkat(&self.directory, temporary, AtFlags::empty());
        }
    }
}

fn temporary_name() -> Result<CString, Fault> {
    let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    CString::new(format!(".grainchain-{random:016x}"))
        .map_err(|_| Fault::invalid("the path contains a NUL byte"))
}
