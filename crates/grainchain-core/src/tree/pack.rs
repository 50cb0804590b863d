//! Turning a directory tree into a tar stream

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use tar::EntryType;

use super::beneath::Root;
use super::error::{At, Fault, TreeError};
use super::list::names;
use super::options::{PackOptions, Xattrs};
use super::report::PackReport;
use super::stat::Stat;
use super::trail::{READ_DIR, Trail};
use super::writer::{Entry, Segment, TarWriter};
use super::xattr::{self, Attribute};
use crate::types::file::FileKind;

const OPERATION: &str = "pack";

/// Opening must neither follow a link nor wait for the other end of a pipe that took a file's place.
const READ_FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Writes the directory or file `path` below `root` to `out` as a tar stream, and flushes it.
///
/// Entries of a directory are named relative to it; a single file is named by its last name. If `path` is a
/// symbolic link, it is followed below the root; links inside are packed as links. Modes, numeric owners, mtimes
/// to the nanosecond, hard links, holes and extended attributes are kept. Pipes, sockets and devices are left out
/// and listed in the report, and so is what vanishes meanwhile; a comment after the archive's end names them to [`unpack`](super::unpack()). A file whose size changes while it is read is cut
/// or filled up with zeros to the size announced before, and listed as changed: the archive is always whole.
///
/// # Errors
///
/// Whatever reading the tree or writing `out` says; an unreadable file is an error and not left out. The archive
/// has no end then, and unpacking it fails.
pub fn pack<W: Write>(
    root: &Root,
    path: impl AsRef<Path>,
    out: W,
    options: &mut PackOptions<'_>,
) -> Result<PackReport, TreeError> {
    let path = path.as_ref();
    let mut packer = Packer {
        writer: TarWriter::new(out),
        options,
        report: PackReport::default(),
        linked: HashMap::new(),
        device: None,
        path: Vec::new(),
    };
    let relative = root.relative(path).at(OPERATION, path)?;
    let flags = READ_FILE - OFlags::NOFOLLOW;
    let file = root.open_fd(relative, flags, Mode::empty()).at(OPERATION, path)?;
    let stat = Stat::of(&rustix::fs::fstat(&file).at(OPERATION, path)?);
    match stat.kind {
        FileKind::Directory => packer.tree(&file, &stat)?,
        FileKind::File => {
            packer.path = path.file_name().unwrap_or_default().as_bytes().to_vec();
            packer.file(&file, &stat)?;
        }
        other => return Err(super::beneath::not_regular(other)).at(OPERATION, path),
    }
    packer.writer.finish(packer.report.comments()).at("write archive", path)?;
    Ok(packer.report)
}

struct Packer<'o, 'f, W> {
    writer: TarWriter<W>,
    options: &'o mut PackOptions<'f>,
    report: PackReport,
    /// First names of files that have more than one.
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// The only device that entries may be on.
    device: Option<u64>,
    /// The path of the current entry in the archive.
    path: Vec<u8>,
}

type Names = std::vec::IntoIter<(CString, FileType)>;

impl<W: Write> Packer<'_, '_, W> {
    /// Packs everything below `top` by a loop, since trees can be deeper than any stack.
    fn tree(&mut self, top: &OwnedFd, stat: &Stat) -> Result<(), TreeError> {
        if self.options.top {
            self.path = b"./".to_vec();
            let xattrs = self.xattrs(top.as_fd())?;
            self.header(EntryType::Directory, stat, b"", &xattrs, None)?;
            self.path.clear();
        }
        self.device = self.options.one_device.then_some(stat.dev);
        let mut trail = Trail::new(top.as_fd(), READ_DIR);
        let mut levels: Vec<(Names, usize)> = vec![(self.names(top.as_fd())?, 0)];
        while let Some((names, length)) = levels.last_mut() {
            self.path.truncate(*length);
            let Some((name, kind)) = names.next() else {
                levels.pop();
                if let Some(depth) = trail.names().len().checked_sub(1) {
                    self.leave(&mut trail, depth, &mut levels)?;
                }
                continue;
            };
            self.path.extend_from_slice(name.as_bytes());
            if let Some(directory) = self.child(trail.here(), &name, kind)? {
                let below = self.names(directory.as_fd())?;
                // Sits on `path` as long as the trail is in here.
                self.path.push(b'/');
                levels.push((below, self.path.len()));
                trail.push(name, directory);
            }
        }
        Ok(())
    }

    fn leave(
        &mut self,
        trail: &mut Trail<'_>,
        depth: usize,
        levels: &mut Vec<(Names, usize)>,
    ) -> Result<(), TreeError> {
        match trail.truncate(depth) {
            Ok(()) => Ok(()),
            // A directory above us was removed or replaced: what was left in it cannot be reached any more.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                let path = self.path.clone();
                self.report.skip(to_path(&path), "a directory above it vanished while it was packed");
                levels.truncate(1);
                Ok(())
            }
            Err(errno) => Err(errno).at(OPERATION, to_path(&self.path)),
        }
    }

    fn names(&self, directory: BorrowedFd<'_>) -> Result<Names, TreeError> {
        let mut names = names(directory).at(OPERATION, to_path(&self.path))?;
        if self.options.sorted {
            names.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        }
        Ok(names.into_iter())
    }

    /// Packs one name, and returns the directory if it is one.
    fn child(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CString,
        kind: FileType,
    ) -> Result<Option<OwnedFd>, TreeError> {
        let mut kind = kind;
        if !matches!(kind, FileType::RegularFile | FileType::Directory) {
            kind = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => {
                    let stat = Stat::of(&stat);
                    match stat.kind {
                        FileKind::File => FileType::RegularFile,
                        FileKind::Directory => FileType::Directory,
                        FileKind::Symlink => return self.symlink(parent, name, &stat).map(|()| None),
                        FileKind::Fifo if self.options.pipes => return self.pipe(&stat).map(|()| None),
                        other => return self.special(other).map(|()| None),
                    }
                }
                Err(Errno::NOENT) => return self.vanished().map(|()| None),
                Err(errno) => return Err(errno).at(OPERATION, to_path(&self.path)),
            };
        }
        let announced = FileKind::of(kind);
        if !self.options.keeps(to_path(&self.path), announced) {
            return Ok(None);
        }
        let flags = if announced == FileKind::Directory { READ_DIR } else { READ_FILE };
        let file = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return self.vanished().map(|()| None),
            // It became something else since it was listed.
            Err(Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => {
                self.report.skip(to_path(&self.path), "was replaced while it was packed");
                return Ok(None);
            }
            Err(errno) => return Err(errno).at(OPERATION, to_path(&self.path)),
        };
        let stat = Stat::of(&rustix::fs::fstat(&file).at(OPERATION, to_path(&self.path))?);
        match stat.kind {
            _ if self.device.is_some_and(|device| device != stat.dev) => Ok(None),
            kind if kind != announced => {
                self.report.skip(to_path(&self.path), "was replaced while it was packed");
                Ok(None)
            }
            FileKind::Directory => {
                let xattrs = self.xattrs(file.as_fd())?;
                self.path.push(b'/');
                self.header(EntryType::Directory, &stat, b"", &xattrs, None)?;
                self.path.pop();
                Ok(Some(file))
            }
            _ => self.file(&file, &stat).map(|()| None),
        }
    }

    fn vanished(&mut self) -> Result<(), TreeError> {
        self.report.skip(to_path(&self.path), "vanished while it was packed");
        Ok(())
    }

    fn special(&mut self, kind: FileKind) -> Result<(), TreeError> {
        if self.options.keeps(to_path(&self.path), kind) {
            self.report.skip(to_path(&self.path), kind.describe());
        }
        Ok(())
    }

    fn pipe(&mut self, stat: &Stat) -> Result<(), TreeError> {
        if !self.options.keeps(to_path(&self.path), FileKind::Fifo) {
            return Ok(());
        }
        self.header(EntryType::Fifo, stat, b"", &[], None)
    }

    fn symlink(&mut self, parent: BorrowedFd<'_>, name: &CString, stat: &Stat) -> Result<(), TreeError> {
        if !self.options.keeps(to_path(&self.path), FileKind::Symlink) {
            return Ok(());
        }
        match rustix::fs::readlinkat(parent, name, Vec::new()) {
            Ok(target) => self.header(EntryType::Symlink, stat, target.as_bytes(), &[], None),
            Err(Errno::NOENT | Errno::INVAL) => self.vanished(),
            Err(errno) => Err(errno).at(OPERATION, to_path(&self.path)),
        }
    }

    fn file(&mut self, file: &OwnedFd, stat: &Stat) -> Result<(), TreeError> {
        if stat.links > 1 {
            if let Some(first) = self.linked.get(&(stat.dev, stat.ino)).cloned() {
                return self.header(EntryType::Link, stat, &first, &[], None);
            }
            self.linked.insert((stat.dev, stat.ino), self.path.clone());
        }
        let xattrs = self.xattrs(file.as_fd())?;
        self.report.bytes += stat.size_bytes;
        // Fewer blocks than bytes is cheap to see and true for every file with holes.
        let sparse = if stat.blocks.saturating_mul(512) < stat.size_bytes {
            segments(file, stat.size_bytes).at(OPERATION, to_path(&self.path))?
        } else {
            None
        };
        let Some(segments) = sparse else {
            self.header(EntryType::Regular, stat, b"", &xattrs, None)?;
            let whole = Segment { offset: 0, length: stat.size_bytes };
            let steady = self.body(file, whole, true)?;
            return self.end_body(stat.size_bytes, steady);
        };
        self.header(EntryType::GNUSparse, stat, b"", &xattrs, Some(&segments))?;
        let mut steady = true;
        let mut length = 0;
        for segment in segments {
            steady &= self.body(file, segment, segment.offset + segment.length == stat.size_bytes)?;
            length += segment.length;
        }
        self.end_body(length, steady)
    }

    fn end_body(&mut self, length: u64, steady: bool) -> Result<(), TreeError> {
        if !steady {
            self.report.change(to_path(&self.path));
        }
        self.writer.pad(length).at("write archive", to_path(&self.path))
    }

    /// Copies exactly one range, and says whether the file still had that size.
    ///
    /// At the last range one byte more is asked for, which shows growth without another system call.
    fn body(&mut self, file: &OwnedFd, range: Segment, last: bool) -> Result<bool, TreeError> {
        let mut left = range.length;
        let mut offset = range.offset;
        let mut grown = false;
        while left > 0 {
            let room = self.writer.room(left.saturating_add(1)).at("write archive", to_path(&self.path))?;
            let most =
                usize::try_from(left.saturating_add(u64::from(last))).unwrap_or(usize::MAX).min(room.len());
            let read = match rustix::io::pread(file, &mut room[..most], offset) {
                Ok(read) => read,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno).at(OPERATION, to_path(&self.path)),
            };
            if read == 0 {
                self.writer.zeros(left).at("write archive", to_path(&self.path))?;
                return Ok(false);
            }
            // A full buffer may have left no room for the one byte more.
            grown = read as u64 > left
                || (last && read as u64 == left && most as u64 == left && is_longer(file, offset + left));
            let taken = (read as u64).min(left);
            self.writer.advance(usize::try_from(taken).unwrap_or(read));
            offset += taken;
            left -= taken;
        }
        Ok(!grown)
    }

    fn header(
        &mut self,
        kind: EntryType,
        stat: &Stat,
        link: &[u8],
        xattrs: &[Attribute],
        sparse: Option<&[Segment]>,
    ) -> Result<(), TreeError> {
        self.report.entries += 1;
        let entry = Entry { path: &self.path, kind, stat, link, xattrs, sparse };
        self.writer.entry(&entry).at("write archive", to_path(&self.path))
    }

    fn xattrs(&mut self, file: BorrowedFd<'_>) -> Result<Vec<Attribute>, TreeError> {
        if self.options.xattrs == Xattrs::Ignore {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for name in xattr::list(file).at(OPERATION, to_path(&self.path))? {
            if !self.options.xattrs.allow(name.as_bytes()) {
                continue;
            }
            if name.as_bytes().contains(&b'=') {
                self.report
                    .skip(to_path(&self.path), format!("extended attribute {name:?}: the name contains `=`"));
                continue;
            }
            if let Some(value) = xattr::get(file, &name).at(OPERATION, to_path(&self.path))? {
                found.push((name.into_bytes(), value));
            }
        }
        found.sort();
        Ok(found)
    }
}

fn is_longer(file: &OwnedFd, size: u64) -> bool {
    matches!(rustix::io::pread(file, &mut [0_u8; 1], size), Ok(1))
}

/// The ranges of a file that hold data, ending with one at its size; none if it has no holes.
fn segments(file: &OwnedFd, size: u64) -> Result<Option<Vec<Segment>>, Fault> {
    let mut found = Vec::new();
    let mut offset = 0;
    let mut data = 0;
    while offset < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Ok(start) if start < size => start,
            Ok(_) | Err(Errno::NXIO) => break,
            // The file system cannot tell.
            Err(Errno::INVAL | Errno::NOTSUP) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let end = match rustix::fs::seek(file, SeekFrom::Hole(start)) {
            Ok(end) => end.min(size),
            Err(Errno::NXIO) => size,
            Err(errno) => return Err(errno.into()),
        };
        if start < offset || end <= start {
            // It changes under our eyes: read it as a plain file.
            return Ok(None);
        }
        // The format wants every range but the last to fill its blocks; holes begin at a file system's blocks.
        if end % 512 != 0 && end != size {
            return Ok(None);
        }
        found.push(Segment { offset: start, length: end - start });
        data += end - start;
        offset = end;
    }
    if data == size {
        return Ok(None);
    }
    if found.last().is_none_or(|last| last.offset + last.length < size) {
        found.push(Segment { offset: size, length: 0 });
    }
    Ok(Some(found))
}

fn to_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
