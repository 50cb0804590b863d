//! Making single files below a directory, never through a link

use std::cmp::Reverse;
use std::ffi::{CString, OsStr};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::beneath::set_mode;
use super::error::{At, Fault, TreeError, TreeErrorKind};
use super::options::UnpackOptions;
use super::reader::{Member, TarReader};
use super::report::UnpackReport;
use super::trail::{LOOKUP, READ_DIR, Trail};
use super::writer::Segment;
use super::xattr;

/// How often a name is cleared again because somebody else keeps taking it.
const RACES: u32 = 8;

/// What is remembered of directories until the end may not fill our memory.
const MAX_PENDING_BYTES: usize = 256 << 20;

const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Makes the entries of one archive below one directory.
#[derive(Debug)]
pub(super) struct Extractor<'t> {
    top: BorrowedFd<'t>,
    options: &'t UnpackOptions,
    /// The directory of the last entry, since the next one is usually in the same.
    trail: Trail<'t>,
    pending: Vec<Pending>,
    pending_bytes: usize,
    refused: Vec<(CString, &'static str)>,
}

/// A directory whose attributes are set at the end.
#[derive(Debug)]
struct Pending {
    /// The names joined by slashes: a deep tree would multiply anything larger.
    path: Vec<u8>,
    order: usize,
    attributes: Attributes,
}

#[derive(Debug)]
struct Attributes {
    mode: u32,
    mtime: (i64, u32),
    owner: Option<(u32, u32)>,
    xattrs: Vec<(CString, Vec<u8>)>,
}

impl<'t> Extractor<'t> {
    pub(super) fn new(top: BorrowedFd<'t>, options: &'t UnpackOptions) -> Self {
        let trail = Trail::new(top, LOOKUP);
        Self { top, options, trail, pending: Vec::new(), pending_bytes: 0, refused: Vec::new() }
    }

    /// Lists the extended attributes of `path` that were not set, as far as that is known yet.
    pub(super) fn report_refused(&mut self, path: &Path, report: &mut UnpackReport) {
        for (name, reason) in self.refused.drain(..) {
            report.skip(path, format!("extended attribute {name:?}: {reason}"));
        }
    }

    pub(super) fn directory(&mut self, names: &[&[u8]], member: &Member) -> Result<(), Fault> {
        let Some((&name, parents)) = names.split_last() else {
            if self.options.top {
                self.remember(names, member)?;
            }
            return Ok(());
        };
        self.enter(parents)?;
        let mut races = 0;
        // Private until the end, when its own mode is set.
        while let Err(errno) = rustix::fs::mkdirat(self.trail.here(), name, Mode::RWXU) {
            if errno != Errno::EXIST || races == RACES {
                return Err(errno.into());
            }
            races += 1;
            if self.kind(name)? == Some(FileType::Directory) {
                break;
            }
            self.clear(name)?;
        }
        self.remember(names, member)
    }

    pub(super) fn file<R: Read>(
        &mut self,
        names: &[&[u8]],
        member: &Member,
        reader: &mut TarReader<R>,
    ) -> Result<(), Fault> {
        let (&name, parents) = names.split_last().ok_or_else(no_name)?;
        let attributes = self.attributes(member)?;
        self.enter(parents)?;
        let file =
            self.fresh(name, |parent| rustix::fs::openat(parent, name, NEW_FILE, Mode::RUSR | Mode::WUSR))?;
        let written = copy(&file, member, reader).and_then(|()| self.apply(&file, &attributes));
        if written.is_err() {
            // Half a file is worse than none. The first failure is the one to tell.
            let _ = rustix::fs::unlinkat(self.trail.here(), name, AtFlags::empty());
        }
        written
    }

    pub(super) fn symlink(&mut self, names: &[&[u8]], member: &Member) -> Result<(), Fault> {
        let (&name, parents) = names.split_last().ok_or_else(no_name)?;
        self.enter(parents)?;
        self.fresh(name, |parent| rustix::fs::symlinkat(member.link.as_slice(), parent, name))?;
        let here = self.trail.here();
        if self.options.ownership {
            let (uid, gid) = owner(member)?;
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(here, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(rustix::fs::utimensat(here, name, &times(member.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    pub(super) fn pipe(&mut self, names: &[&[u8]], member: &Member) -> Result<(), Fault> {
        let (&name, parents) = names.split_last().ok_or_else(no_name)?;
        let attributes = self.attributes(member)?;
        self.enter(parents)?;
        self.fresh(name, |parent| make_pipe(parent, name))?;
        // For both ways at once: one way alone waits for the other, or is refused.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let pipe = rustix::fs::openat(self.trail.here(), name, flags, Mode::empty())?;
        self.apply(&pipe, &attributes)
    }

    /// Gives the regular file `target`, which must be below the destination, another name.
    pub(super) fn hard_link(&mut self, names: &[&[u8]], target: &[&[u8]]) -> Result<(), Fault> {
        let (&name, parents) = names.split_last().ok_or_else(no_name)?;
        let (&target_name, target_parents) = target.split_last().ok_or_else(no_name)?;
        if names == target {
            return Err(Fault::corrupt("a hard link to itself"));
        }
        // Often the target is a neighbour; otherwise a trail of its own finds it, with the same strictness.
        let mut other = Trail::new(self.top, LOOKUP);
        self.enter(parents)?;
        let neighbours = parents == target_parents;
        if !neighbours {
            walk(&mut other, target_parents, Missing::Refuse)?;
        }
        let from = if neighbours { self.trail.here() } else { other.here() };
        let stat = rustix::fs::statat(from, target_name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Fault::outside("because a hard link may only lead to a regular file"));
        }
        self.fresh(name, |parent| rustix::fs::linkat(from, target_name, parent, name, AtFlags::empty()))
    }

    /// Sets what had to wait: the deepest directories first, while the ones above still let us in.
    pub(super) fn finish(&mut self, report: &mut UnpackReport) -> Result<(), TreeError> {
        let mut pending = std::mem::take(&mut self.pending);
        // Of two entries for one directory the later one counts, so it is applied last.
        pending.sort_by(|left, right| {
            (Reverse(&left.path), left.order).cmp(&(Reverse(&right.path), right.order))
        });
        for directory in pending {
            let path = Path::new(OsStr::from_bytes(&directory.path));
            let opened = match directory.path.iter().rposition(|byte| *byte == b'/') {
                _ if directory.path.is_empty() => self.top.try_clone_to_owned().map_err(Fault::from),
                slash => {
                    let parents = slash.map_or(&[][..], |slash| &directory.path[..slash]);
                    let name = slash.map_or(&directory.path[..], |slash| &directory.path[slash + 1..]);
                    let parents: Vec<_> =
                        parents.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
                    walk(&mut self.trail, &parents, Missing::Refuse).and_then(|()| {
                        Ok(rustix::fs::openat(self.trail.here(), name, READ_DIR, Mode::empty())?)
                    })
                }
            };
            match opened {
                Ok(opened) => {
                    self.apply(&opened, &directory.attributes).at("unpack", path)?;
                    self.report_refused(path, report);
                }
                // A later entry, or somebody else, put something else in its place.
                Err(fault) if gone(&fault) => {}
                Err(fault) => return Err(fault).at("unpack", path),
            }
        }
        Ok(())
    }

    fn enter(&mut self, parents: &[&[u8]]) -> Result<(), Fault> {
        walk(&mut self.trail, parents, Missing::Make)
    }

    /// Runs `make` in the current directory, after clearing `name` if it is taken.
    fn fresh<T>(&self, name: &[u8], make: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>) -> Result<T, Fault> {
        let mut races = 0;
        loop {
            match make(self.trail.here()) {
                Err(Errno::EXIST) if races < RACES => {
                    races += 1;
                    self.clear(name)?;
                }
                made => return Ok(made?),
            }
        }
    }

    /// Frees a name. A directory goes only if it is empty.
    fn clear(&self, name: &[u8]) -> Result<(), Fault> {
        match rustix::fs::unlinkat(self.trail.here(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {
                match rustix::fs::unlinkat(self.trail.here(), name, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => Ok(()),
                    Err(Errno::NOTEMPTY | Errno::EXIST) => {
                        Err(Fault::new(TreeErrorKind::IsADirectory, "is a directory that is not empty"))
                    }
                    Err(Errno::NOTDIR) => Err(Errno::PERM.into()),
                    Err(errno) => Err(errno.into()),
                }
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn kind(&self, name: &[u8]) -> Result<Option<FileType>, Fault> {
        match rustix::fs::statat(self.trail.here(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn remember(&mut self, names: &[&[u8]], member: &Member) -> Result<(), Fault> {
        let attributes = self.attributes(member)?;
        let path = names.join(&b'/');
        self.pending_bytes += 128 + path.len();
        let xattrs = attributes.xattrs.iter();
        self.pending_bytes +=
            xattrs.map(|(name, value)| name.as_bytes().len() + value.len() + 64).sum::<usize>();
        if self.pending_bytes > MAX_PENDING_BYTES {
            return Err(Fault::too_large("the archive has too many directories with too long names"));
        }
        self.pending.push(Pending { path, order: self.pending.len(), attributes });
        Ok(())
    }

    fn attributes(&mut self, member: &Member) -> Result<Attributes, Fault> {
        let kept = if self.options.set_ids { 0o7777 } else { 0o1777 };
        // Sticky means something for directories only, and setting it on files needs privileges elsewhere.
        let kept = if member.kind.is_dir() { kept } else { kept & !0o1000 };
        let owner = if self.options.ownership { Some(owner(member)?) } else { None };
        let mut xattrs = Vec::new();
        for (name, value) in &member.xattrs {
            let Ok(name) = CString::new(name.as_slice()) else {
                return Err(Fault::corrupt("an extended attribute with a NUL byte in its name"));
            };
            if self.options.xattrs.allow(name.as_bytes()) {
                xattrs.push((name, value.clone()));
            } else {
                self.refused.push((name, "not asked for"));
            }
        }
        Ok(Attributes { mode: member.mode & kept, mtime: member.mtime, owner, xattrs })
    }

    /// Owner before mode, since changing it clears setuid; times last, since all else changes them.
    fn apply(&mut self, file: &OwnedFd, attributes: &Attributes) -> Result<(), Fault> {
        if let Some((uid, gid)) = attributes.owner {
            rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        for (name, value) in &attributes.xattrs {
            match xattr::set(file, name, value) {
                Ok(()) => {}
                Err(Errno::NOTSUP) => self.refused.push((name.clone(), "not supported by the file system")),
                Err(Errno::PERM | Errno::ACCESS) => self.refused.push((name.clone(), "not permitted")),
                Err(errno) => return Err(errno.into()),
            }
        }
        set_mode(file, Mode::from_raw_mode(attributes.mode as _))?;
        Ok(rustix::fs::futimens(file, &times(attributes.mtime))?)
    }
}

fn make_pipe(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    #[cfg(target_os = "linux")]
    return rustix::fs::mknodat(parent, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0);
    #[cfg(not(target_os = "linux"))]
    return Err(Errno::NOSYS);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Refuse,
}

/// Moves the trail to the directory `names`, keeping what it has in common with the current one.
fn walk(trail: &mut Trail<'_>, names: &[&[u8]], missing: Missing) -> Result<(), Fault> {
    let common =
        trail.names().iter().zip(names).take_while(|(left, right)| left.as_bytes() == **right).count();
    if common < trail.names().len() {
        trail.truncate(common)?;
    }
    for part in &names[common..] {
        let name = CString::new(*part).map_err(|_| Fault::invalid("the name contains a NUL byte"))?;
        let opened = match trail.open_child(&name) {
            Err(Errno::NOENT) if missing == Missing::Make => {
                match rustix::fs::mkdirat(trail.here(), &name, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => trail.open_child(&name),
                    Err(errno) => Err(errno),
                }
            }
            opened => opened,
        };
        match opened {
            Ok(directory) => trail.push(name, directory),
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(in_the_way(trail, part)),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn in_the_way(trail: &Trail<'_>, name: &[u8]) -> Fault {
    match rustix::fs::readlinkat(trail.here(), name, Vec::new()) {
        Ok(target) => Fault::outside(format_args!(
            "through the symbolic link {:?} to {target:?}, and unpacking follows none",
            OsStr::from_bytes(name)
        )),
        Err(_) => Errno::NOTDIR.into(),
    }
}

fn copy<R: Read>(file: &OwnedFd, member: &Member, reader: &mut TarReader<R>) -> Result<(), Fault> {
    let whole = [Segment { offset: 0, length: member.size }];
    let segments = member.sparse.as_deref().unwrap_or(&whole);
    if member.sparse.is_some() {
        rustix::fs::ftruncate(file, member.size)?;
    }
    for segment in segments {
        let mut offset = segment.offset;
        let mut left = segment.length;
        while left > 0 {
            let mut chunk = reader.chunk(left)?;
            left -= chunk.len() as u64;
            while !chunk.is_empty() {
                match rustix::io::pwrite(file, chunk, offset) {
                    Ok(0) => return Err(Errno::IO.into()),
                    Ok(written) => {
                        offset += written as u64;
                        chunk = &chunk[written..];
                    }
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
    }
    Ok(())
}

fn owner(member: &Member) -> Result<(u32, u32), Fault> {
    // The highest value means "leave as it is" to the kernel.
    let valid = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    match (valid(member.uid), valid(member.gid)) {
        (Some(uid), Some(gid)) => Ok((uid, gid)),
        _ => Err(Fault::corrupt("an owner number out of range")),
    }
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos.into() },
    }
}

fn gone(fault: &Fault) -> bool {
    use TreeErrorKind::{InvalidPath, NotADirectory, NotFound, Outside};
    matches!(fault.kind, NotFound | NotADirectory | Outside | InvalidPath)
}

fn no_name() -> Fault {
    Fault::invalid("the archive gives a file the name of the destination itself")
}
