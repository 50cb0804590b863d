//! What a caller can ask for, with the defaults and their reasons

use std::fmt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::types::file::FileKind;

/// How [`Root::open_write`](super::Root::open_write) opens a file. The default opens an existing one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Makes the file if it is missing.
    pub create: bool,
    /// Makes the file and fails if anything has the name, even a dangling link.
    pub create_new: bool,
    /// Cuts an existing file to nothing.
    pub truncate: bool,
    /// Writes at the end only.
    pub append: bool,
    /// Also allows reading.
    pub read: bool,
    /// Makes missing parent directories.
    pub parents: bool,
    /// Permission bits of a new file, less the umask; 0666 by default.
    pub mode: Option<u32>,
}

impl OpenOptions {
    /// Makes the file, or cuts an existing one to nothing.
    pub fn create() -> Self {
        Self { create: true, truncate: true, ..Self::default() }
    }

    /// Makes the file and fails if anything has the name.
    pub fn create_new() -> Self {
        Self { create_new: true, ..Self::default() }
    }

    /// Writes at the end of the file, which is made if it is missing.
    pub fn append() -> Self {
        Self { create: true, append: true, ..Self::default() }
    }

    /// Sets whether missing parent directories are made.
    pub fn parents(mut self, parents: bool) -> Self {
        self.parents = parents;
        self
    }

    /// Sets whether reading is allowed as well.
    pub fn read(mut self, read: bool) -> Self {
        self.read = read;
        self
    }

    /// Sets the permission bits of a new file.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    pub(super) fn flags(&self) -> OFlags {
        let mut flags = if self.read { OFlags::RDWR } else { OFlags::WRONLY };
        flags.set(OFlags::CREATE, self.create || self.create_new);
        flags.set(OFlags::EXCL, self.create_new);
        flags.set(OFlags::TRUNC, self.truncate);
        flags.set(OFlags::APPEND, self.append);
        flags
    }
}

/// How [`Root::mkdir`](super::Root::mkdir) makes a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MkdirOptions {
    /// Makes missing parents (with 0777 less the umask) and accepts an existing directory.
    pub parents: bool,
    /// Permission bits of the directory itself, exactly; without, 0777 less the umask.
    pub mode: Option<u32>,
}

impl MkdirOptions {
    /// Sets whether missing parents are made.
    pub fn parents(mut self, parents: bool) -> Self {
        self.parents = parents;
        self
    }

    /// Sets the permission bits.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }
}

/// Which extended attributes travel in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Xattrs {
    /// None at all.
    Ignore,
    /// Those that belong to the file's owner, `user.*`.
    #[default]
    User,
    /// All, also those that grant rights, such as `security.capability`.
    All,
}

impl Xattrs {
    pub(super) fn allow(self, name: &[u8]) -> bool {
        match self {
            Self::Ignore => false,
            // Elsewhere than on Linux there are no name spaces, and every attribute belongs to the owner.
            Self::User => cfg!(not(target_os = "linux")) || name.starts_with(b"user."),
            Self::All => true,
        }
    }
}

/// What unpacking does with named pipes, devices and kinds of entries that it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Specials {
    /// Leaves them out and lists them in the report.
    #[default]
    Skip,
    /// Fails.
    Refuse,
}

/// What unpacking does with symbolic links whose target is absolute or climbs out of the destination.
///
/// Making such a link touches nothing outside, but a program that later follows it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutsideLinks {
    /// Makes them as they are: a virtual environment is full of links to `/usr/bin`.
    #[default]
    Keep,
    /// Leaves them out and lists them in the report.
    Skip,
    /// Fails.
    Refuse,
}

type Filter<'f> = Box<dyn FnMut(&Path, FileKind) -> bool + Send + 'f>;

/// How [`pack`](super::pack()) writes an archive.
#[derive(Default)]
#[non_exhaustive]
pub struct PackOptions<'f> {
    /// Sorts the names of each directory by their bytes, so that equal trees give equal archives.
    pub sorted: bool,
    /// Which extended attributes to read. A non-empty answer costs one system call per file.
    pub xattrs: Xattrs,
    /// Begins with an entry `./` for the packed directory itself. Off by default, since unpacking somewhere
    /// else should not change the mode of that place.
    pub top: bool,
    /// Packs named pipes as well. Off by default: few programs that unpack expect them.
    pub pipes: bool,
    /// Leaves out what is on another device than the packed directory: what is mounted below it. Off by default.
    pub one_device: bool,
    filter: Option<Filter<'f>>,
}

impl<'f> PackOptions<'f> {
    /// Sets whether names are sorted.
    pub fn sorted(mut self, sorted: bool) -> Self {
        self.sorted = sorted;
        self
    }

    /// Sets which extended attributes are read.
    pub fn xattrs(mut self, xattrs: Xattrs) -> Self {
        self.xattrs = xattrs;
        self
    }

    /// Sets whether the directory itself has an entry.
    pub fn top(mut self, top: bool) -> Self {
        self.top = top;
        self
    }

    /// Sets whether named pipes are packed.
    pub fn pipes(mut self, pipes: bool) -> Self {
        self.pipes = pipes;
        self
    }

    /// Sets whether what is mounted below the directory is left out.
    pub fn one_device(mut self, one_device: bool) -> Self {
        self.one_device = one_device;
        self
    }

    /// Packs only what `keep` answers `true` for; a directory left out takes everything below it along.
    ///
    /// The path is the one in the archive.
    pub fn filter(mut self, keep: impl FnMut(&Path, FileKind) -> bool + Send + 'f) -> Self {
        self.filter = Some(Box::new(keep));
        self
    }

    pub(super) fn keeps(&mut self, path: &Path, kind: FileKind) -> bool {
        self.filter.as_mut().is_none_or(|keep| keep(path, kind))
    }
}

impl fmt::Debug for PackOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackOptions")
            .field("sorted", &self.sorted)
            .field("xattrs", &self.xattrs)
            .field("top", &self.top)
            .field("pipes", &self.pipes)
            .field("one_device", &self.one_device)
            .field("filter", &self.filter.is_some())
            .finish()
    }
}

/// How [`unpack`](super::unpack()) makes files from an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnpackOptions {
    /// Largest number of entries; 1,000,000 by default.
    pub max_entries: u64,
    /// Largest sum of file sizes, holes included; 64 GiB by default.
    pub max_bytes: u64,
    /// Largest single file, holes included; 32 GiB by default.
    pub max_file_bytes: u64,
    /// Largest number of names in a path; 8,192 by default, deeper than any tree made by accident.
    pub max_depth: usize,
    /// Gives files the numeric owner and group in the archive. Off by default: they mean somebody else here.
    pub ownership: bool,
    /// Keeps setuid and setgid bits. Off by default: the archive comes from a stranger.
    pub set_ids: bool,
    /// Applies mode and times of an entry `./` to the destination itself. Off by default.
    pub top: bool,
    /// Which extended attributes to set.
    pub xattrs: Xattrs,
    /// Makes named pipes. Off by default; they are [specials](Self::specials) then.
    pub pipes: bool,
    /// What to do with pipes, devices and unknown kinds.
    pub specials: Specials,
    /// What to do with symbolic links that point out of the destination.
    pub outside_links: OutsideLinks,
}

impl Default for UnpackOptions {
    fn default() -> Self {
        Self {
            max_entries: 1_000_000,
            max_bytes: 64 << 30,
            max_file_bytes: 32 << 30,
            max_depth: 8192,
            ownership: false,
            set_ids: false,
            top: false,
            xattrs: Xattrs::default(),
            pipes: false,
            specials: Specials::default(),
            outside_links: OutsideLinks::default(),
        }
    }
}

impl UnpackOptions {
    /// Sets the largest number of entries.
    pub fn max_entries(mut self, entries: u64) -> Self {
        self.max_entries = entries;
        self
    }

    /// Sets the largest sum of file sizes.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets the largest single file.
    pub fn max_file_bytes(mut self, bytes: u64) -> Self {
        self.max_file_bytes = bytes;
        self
    }

    /// Sets the largest number of names in a path.
    pub fn max_depth(mut self, names: usize) -> Self {
        self.max_depth = names;
        self
    }

    /// Sets whether files get the owner in the archive.
    pub fn ownership(mut self, ownership: bool) -> Self {
        self.ownership = ownership;
        self
    }

    /// Sets whether setuid and setgid bits are kept.
    pub fn set_ids(mut self, set_ids: bool) -> Self {
        self.set_ids = set_ids;
        self
    }

    /// Sets whether an entry `./` changes the destination itself.
    pub fn top(mut self, top: bool) -> Self {
        self.top = top;
        self
    }

    /// Sets which extended attributes are set.
    pub fn xattrs(mut self, xattrs: Xattrs) -> Self {
        self.xattrs = xattrs;
        self
    }

    /// Sets whether named pipes are made.
    pub fn pipes(mut self, pipes: bool) -> Self {
        self.pipes = pipes;
        self
    }

    /// Sets what happens to pipes, devices and unknown kinds.
    pub fn specials(mut self, specials: Specials) -> Self {
        self.specials = specials;
        self
    }

    /// Sets what happens to symbolic links that point out of the destination.
    pub fn outside_links(mut self, outside_links: OutsideLinks) -> Self {
        self.outside_links = outside_links;
        self
    }
}
