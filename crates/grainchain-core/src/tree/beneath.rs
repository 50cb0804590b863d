//! A directory below which paths are resolved and never left

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::error::{At, Fault, TreeError, TreeErrorKind};
use super::list::ReadDir;
use super::options::{MkdirOptions, OpenOptions};
use super::stat::{Links, Replace, Stat};
use super::trail::LOOKUP;
use super::walk::walk;
use crate::types::file::FileKind;

/// An open directory below which paths are resolved and never left.
///
/// A path is relative to the root, or absolute when it begins with the root's own host path. Symbolic links
/// are followed as long as they stay below the root; an absolute link counts as below when its target begins
/// with the root's host path. Everything else fails with [`TreeErrorKind::Outside`], and no race between
/// this process and whoever changes the tree can lead an operation elsewhere.
///
/// A root that is `/` allows everything, with the same code: `..` at the top stays at the top.
#[derive(Debug)]
pub struct Root {
    pub(super) directory: OwnedFd,
    /// The canonical host path, then the one it was opened by if that differs.
    pub(super) names: Vec<PathBuf>,
    pub(super) everything: bool,
    /// Set once the kernel or a seccomp filter has refused `openat2`.
    pub(super) walk_only: AtomicBool,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Times to set on a file; an absent one stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Last access.
    pub accessed: Option<SystemTime>,
    /// Last modification.
    pub modified: Option<SystemTime>,
}

impl Root {
    /// Opens the directory `path` of this host as a root. Links in `path` itself are followed.
    ///
    /// # Errors
    ///
    /// [`TreeErrorKind::NotFound`], [`TreeErrorKind::NotADirectory`] or [`TreeErrorKind::Denied`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TreeError> {
        let path = path.as_ref();
        let canonical = std::fs::canonicalize(path).at("open", path)?;
        let directory =
            rustix::fs::openat(rustix::fs::CWD, &canonical, LOOKUP, Mode::empty()).at("open", path)?;
        let mut names = vec![canonical];
        let given = std::path::absolute(path).at("open", path)?;
        if given != names[0] && !given.components().any(|part| part == std::path::Component::ParentDir) {
            names.push(given);
        }
        let everything = names[0] == Path::new("/");
        Ok(Self { directory, names, everything, walk_only: AtomicBool::new(!cfg!(target_os = "linux")) })
    }

    /// The canonical path of the root on this host.
    pub fn host_path(&self) -> &Path {
        &self.names[0]
    }

    /// Opens the directory `path` as a root of its own: links inside may no longer lead to its siblings.
    ///
    /// # Errors
    ///
    /// As [`stat`](Self::stat), and [`TreeErrorKind::NotADirectory`].
    pub fn subtree(&self, path: impl AsRef<Path>) -> Result<Self, TreeError> {
        let path = path.as_ref();
        let relative = self.relative(path).at("open", path)?;
        let directory = self.open_fd(relative, LOOKUP, Mode::empty()).at("open", path)?;
        let names = self.names.iter().map(|name| name.join(relative_path(relative))).collect();
        let everything = self.everything && relative_path(relative).components().next().is_none();
        let walk_only = AtomicBool::new(self.walk_only.load(Ordering::Relaxed));
        Ok(Self { directory, names, everything, walk_only })
    }

    /// Opens a regular file for reading.
    ///
    /// Never blocks: a named pipe planted by somebody else is refused like any other special file.
    ///
    /// # Errors
    ///
    /// [`TreeErrorKind::NotFound`], [`TreeErrorKind::IsADirectory`], [`TreeErrorKind::Outside`],
    /// [`TreeErrorKind::Denied`], and [`TreeErrorKind::NotAFile`] for pipes, sockets and devices.
    pub fn open_read(&self, path: impl AsRef<Path>) -> Result<File, TreeError> {
        let path = path.as_ref();
        self.try_open(path, OFlags::RDONLY, Mode::empty()).at("open", path)
    }

    /// Opens a regular file for writing in place, as `options` say.
    ///
    /// For replacing a whole file [`write_atomic`](Self::write_atomic) is the better choice.
    ///
    /// # Errors
    ///
    /// As [`open_read`](Self::open_read), and [`TreeErrorKind::AlreadyExists`], [`TreeErrorKind::Full`],
    /// [`TreeErrorKind::ReadOnly`].
    pub fn open_write(&self, path: impl AsRef<Path>, options: &OpenOptions) -> Result<File, TreeError> {
        let path = path.as_ref();
        let mode = Mode::from_raw_mode(options.mode.unwrap_or(0o666) as _);
        let opened = self.try_open(path, options.flags(), mode);
        let file = match opened {
            Err(fault) if options.parents && fault.kind == TreeErrorKind::NotFound => {
                self.make_parents(path).at("open", path)?;
                self.try_open(path, options.flags(), mode)
            }
            opened => opened,
        };
        file.at("open", path)
    }

    fn try_open(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<File, Fault> {
        let relative = self.relative(path)?;
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = self.open_fd(relative, flags, mode).map_err(|fault| {
            // What a socket says, a pipe that nobody reads, and a device without a driver.
            let special = fault.source.raw_os_error() == Some(Errno::NXIO.raw_os_error());
            if special { Fault::new(TreeErrorKind::NotAFile, "is not a regular file") } else { fault }
        })?;
        match Stat::of_file(&file)?.kind {
            FileKind::File => Ok(File::from(file)),
            FileKind::Directory => Err(Errno::ISDIR.into()),
            other => Err(not_regular(other)),
        }
    }

    /// The attributes of a file.
    ///
    /// # Errors
    ///
    /// [`TreeErrorKind::NotFound`], [`TreeErrorKind::NotADirectory`], [`TreeErrorKind::Outside`],
    /// [`TreeErrorKind::Denied`].
    pub fn stat(&self, path: impl AsRef<Path>, links: Links) -> Result<Stat, TreeError> {
        let path = path.as_ref();
        self.try_stat(path, links).at("stat", path)
    }

    fn try_stat(&self, path: &Path, links: Links) -> Result<Stat, Fault> {
        let relative = self.relative(path)?;
        // One name in the root itself, by far the most frequent case, needs no resolution at all.
        if let Some(name) = single_name(relative) {
            let stat = Stat::of(&rustix::fs::statat(self.fd(), name, AtFlags::SYMLINK_NOFOLLOW)?);
            if stat.kind != FileKind::Symlink || links == Links::Keep {
                return Ok(stat);
            }
        }
        #[cfg(target_os = "linux")]
        {
            let mut flags = OFlags::PATH | OFlags::CLOEXEC;
            if links == Links::Keep {
                flags |= OFlags::NOFOLLOW;
            }
            if let Some(opened) = self.fast(relative, flags, Mode::empty()) {
                return Ok(Stat::of_file(opened?)?);
            }
        }
        let spot = walk(self, relative, links, None)?;
        Ok(Stat::of(&match &spot.name {
            Some(name) => rustix::fs::statat(&spot.directory, name, AtFlags::SYMLINK_NOFOLLOW)?,
            None => rustix::fs::fstat(&spot.directory)?,
        }))
    }

    /// The target of a symbolic link, as it is written.
    ///
    /// # Errors
    ///
    /// As [`stat`](Self::stat), and [`TreeErrorKind::Other`] when it is not a link.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf, TreeError> {
        let path = path.as_ref();
        self.entry(path)
            .and_then(|(directory, name)| Ok(rustix::fs::readlinkat(directory, name, Vec::new())?))
            .map(|target| PathBuf::from(OsString::from_vec(target.into_bytes())))
            .at("read link", path)
    }

    /// Makes a symbolic link at `path`. The target is not looked at; following it stays subject to the root.
    ///
    /// # Errors
    ///
    /// As [`mkdir`](Self::mkdir).
    pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.entry(path)
            .and_then(|(directory, name)| Ok(rustix::fs::symlinkat(target.as_ref(), directory, name)?))
            .at("symlink", path)
    }

    /// Makes a directory.
    ///
    /// With parents, missing ones are made too and an existing directory is not an error.
    ///
    /// # Errors
    ///
    /// [`TreeErrorKind::AlreadyExists`], [`TreeErrorKind::NotFound`] when a parent is missing,
    /// [`TreeErrorKind::NotADirectory`], [`TreeErrorKind::Outside`], [`TreeErrorKind::Denied`].
    pub fn mkdir(&self, path: impl AsRef<Path>, options: &MkdirOptions) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.try_mkdir(path, options).at("mkdir", path)
    }

    fn try_mkdir(&self, path: &Path, options: &MkdirOptions) -> Result<(), Fault> {
        let mode = Mode::from_raw_mode(options.mode.unwrap_or(0o777) as _);
        if options.parents {
            // Parents get the usual mode: a private directory does not make its parents private.
            if self.relative(path)?.split(|byte| *byte == b'/').any(|part| !matches!(part, b"" | b".")) {
                self.make_parents(path)?;
            }
            match self.try_stat(path, Links::Follow) {
                Ok(stat) if stat.kind == FileKind::Directory => return Ok(()),
                Ok(_) => return Err(Errno::EXIST.into()),
                Err(fault) if fault.kind == TreeErrorKind::NotFound => {}
                Err(fault) => return Err(fault),
            }
        }
        let (directory, name) = self.entry(path)?;
        match rustix::fs::mkdirat(&directory, &name, mode) {
            Err(Errno::EXIST) if options.parents => match self.try_stat(path, Links::Follow)?.kind {
                FileKind::Directory => return Ok(()),
                _ => return Err(Errno::EXIST.into()),
            },
            made => made?,
        }
        if options.mode.is_some() {
            // `mkdir` applies the umask; who names a mode means it.
            let made = rustix::fs::openat(&directory, &name, LOOKUP, Mode::empty())?;
            set_mode(&made, mode)?;
        }
        Ok(())
    }

    /// Renames `from` to `to`; both must lie below the root, and links are not followed at the last name.
    ///
    /// # Errors
    ///
    /// [`TreeErrorKind::AlreadyExists`] with [`Replace::Refuse`], [`TreeErrorKind::NotEmpty`],
    /// [`TreeErrorKind::NotFound`], [`TreeErrorKind::Outside`] and the like. The path in the error is `from`.
    pub fn rename(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        replace: Replace,
    ) -> Result<(), TreeError> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let (source, source_name) = self.entry(from).at("rename", from)?;
        let (target, target_name) = self.entry(to).at("rename to", to)?;
        let flags = match replace {
            Replace::Allow => RenameFlags::empty(),
            Replace::Refuse => RenameFlags::NOREPLACE,
        };
        let renamed = if flags.is_empty() {
            rustix::fs::renameat(source, source_name, target, target_name)
        } else {
            rustix::fs::renameat_with(source, source_name, target, target_name, flags)
        };
        let renamed = renamed.map_err(|errno| match errno {
            Errno::INVAL => Fault::invalid("a directory cannot be moved into itself"),
            errno => errno.into(),
        });
        renamed.at("rename", from)
    }

    /// The entries of a directory, in the order of the file system.
    ///
    /// # Errors
    ///
    /// As [`stat`](Self::stat), and [`TreeErrorKind::NotADirectory`].
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<ReadDir, TreeError> {
        let path = path.as_ref();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        self.relative(path)
            .and_then(|relative| self.open_fd(relative, flags, Mode::empty()))
            .and_then(|directory| Ok(ReadDir::new(directory, path)?))
            .at("list", path)
    }

    /// Sets the permission bits of a file or directory, following links.
    ///
    /// # Errors
    ///
    /// As [`stat`](Self::stat).
    pub fn chmod(&self, path: impl AsRef<Path>, mode: u32) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.lookup(path).and_then(|file| set_mode(&file, Mode::from_raw_mode(mode as _))).at("chmod", path)
    }

    /// Sets the times of a file or directory.
    ///
    /// # Errors
    ///
    /// As [`stat`](Self::stat).
    pub fn set_times(&self, path: impl AsRef<Path>, times: Times, links: Links) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.try_set_times(path, times, links).at("set times", path)
    }

    fn try_set_times(&self, path: &Path, times: Times, links: Links) -> Result<(), Fault> {
        let times =
            Timestamps { last_access: timespec(times.accessed), last_modification: timespec(times.modified) };
        let spot = walk(self, self.relative(path)?, links, None)?;
        // The walker has followed the links, so that not following again cannot change a stranger's file.
        match &spot.name {
            Some(name) => rustix::fs::utimensat(&spot.directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)?,
            None => rustix::fs::utimensat(&spot.directory, c".", &times, AtFlags::empty())?,
        }
        Ok(())
    }
}

pub(super) fn not_regular(kind: FileKind) -> Fault {
    Fault::new(TreeErrorKind::NotAFile, format!("is a {} and not a regular file", kind.describe()))
}

fn relative_path(bytes: &[u8]) -> &Path {
    let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
    path.strip_prefix(".").unwrap_or(path)
}

fn single_name(path: &[u8]) -> Option<&[u8]> {
    (!path.contains(&b'/') && !matches!(path, b"." | b"..")).then_some(path)
}

/// Sets the mode of what `file` refers to, also when it was opened for lookups only.
pub(super) fn set_mode(file: &OwnedFd, mode: Mode) -> Result<(), Fault> {
    match rustix::fs::fchmod(file, mode) {
        // The kernel refuses lookup-only descriptors, so their mode goes through the process's own table.
        #[cfg(target_os = "linux")]
        Err(Errno::BADF) => {
            use rustix::fd::AsRawFd;
            Ok(rustix::fs::chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), mode)?)
        }
        changed => Ok(changed?),
    }
}

fn timespec(time: Option<SystemTime>) -> Timespec {
    let Some(time) = time else { return Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT } };
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: after.subsec_nanos().into(),
        },
        Err(error) => {
            let before = error.duration();
            let seconds = -i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos() {
                0 => Timespec { tv_sec: seconds, tv_nsec: 0 },
                nanos => Timespec { tv_sec: seconds - 1, tv_nsec: (1_000_000_000 - nanos).into() },
            }
        }
    }
}
