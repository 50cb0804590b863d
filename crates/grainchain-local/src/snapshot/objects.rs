//! The blobs of a store, each named by the blake3 hash of its bytes and never written again.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::attrs::Stat;
use super::dirs::{list, make_dir};
use super::failpoint::step;
use super::tree::{Content, ObjectId};

/// Files up to this size are hashed in memory before anything is written; it is also the size of a read.
const CHUNK: usize = 1 << 20;
/// Below this size a copy is cheaper than sharing blocks.
const REFLINK_MIN: u64 = 64 << 10;

/// Why the bytes of an object could not be had.
#[derive(Debug)]
pub(super) enum Trouble {
    Io(io::Error),
    Damaged(String),
}

impl<E: Into<io::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Io(error.into())
    }
}

/// What [`Objects::capture`] found in a file.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) size: u64,
    pub(super) content: Content,
    /// What was added to the store.
    pub(super) added: u64,
}

#[derive(Debug)]
pub(super) struct Objects {
    dir: OwnedFd,
    reflink: AtomicBool,
    next_temp: AtomicU64,
}

impl Objects {
    /// `reflink` says whether to try sharing blocks; the first refusal ends the attempts.
    pub(super) fn new(dir: OwnedFd, reflink: bool) -> Self {
        Self { dir, reflink: AtomicBool::new(reflink), next_temp: AtomicU64::new(0) }
    }

    #[cfg(test)]
    pub(super) fn reflinks(&self) -> bool {
        self.reflink.load(Ordering::Relaxed)
    }

    fn has(&self, object: &ObjectId, len: u64) -> bool {
        // The length is compared because a crash of the machine can leave a shorter file under the right name.
        Stat::of_name(self.dir.as_fd(), name(object).as_bytes()).is_ok_and(|stat| stat.size == len)
    }

    /// Reads a file into the store, or only hashes it if `work`, the directory for temporary files, is absent.
    pub(super) fn capture(
        &self,
        file: &File,
        stat: &Stat,
        work: Option<&OwnedFd>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Captured> {
        let extents =
            if stat.blocks.saturating_mul(512) < stat.size { extents_of(file, stat.size)? } else { None };
        let len = extents.as_ref().map_or(stat.size, |extents| extents.iter().map(|(_, len)| len).sum());
        if extents.is_none()
            && len >= REFLINK_MIN
            && self.reflink.load(Ordering::Relaxed)
            && let Some(work) = work
            && let Some(captured) = self.capture_by_reflink(file, work, buffer)?
        {
            return Ok(captured);
        }
        let whole = [(0, stat.size)];
        let mut source = Runs::new(file, extents.as_deref().unwrap_or(&whole));
        if len <= CHUNK as u64 {
            let read = source.fill(buffer, CHUNK)?;
            let object = *blake3::hash(&buffer[..read]).as_bytes();
            let mut added = 0;
            if let Some(work) = work.filter(|_| read > 0 && !self.has(&object, read as u64)) {
                let (temp, file) = self.temp(work)?;
                file.write_all_at(&buffer[..read], 0)?;
                self.keep(work, &temp, &object)?;
                added = read as u64;
            }
            return Ok(captured(stat.size, len, read as u64, object, extents, added));
        }
        let mut hasher = blake3::Hasher::new();
        let mut total = 0;
        let temp = work.map(|work| self.temp(work)).transpose()?;
        loop {
            let read = source.fill(buffer, CHUNK)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            if let Some((_, temp)) = &temp {
                temp.write_all_at(&buffer[..read], total)?;
            }
            total += read as u64;
        }
        let object = *hasher.finalize().as_bytes();
        let mut added = 0;
        if let (Some(work), Some((temp, _))) = (work, temp) {
            if total == 0 || self.has(&object, total) {
                rustix::fs::unlinkat(work, temp.as_str(), AtFlags::empty())?;
            } else {
                self.keep(work, &temp, &object)?;
                added = total;
            }
        }
        Ok(captured(stat.size, len, total, object, extents, added))
    }

    /// `None` if the file system cannot share blocks between the workspace and the store.
    fn capture_by_reflink(
        &self,
        file: &File,
        work: &OwnedFd,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Option<Captured>> {
        let (temp, clone) = self.temp(work)?;
        if !self.share(&clone, file)? {
            rustix::fs::unlinkat(work, temp.as_str(), AtFlags::empty())?;
            return Ok(None);
        }
        // The clone is one moment of the file, so its own length counts.
        let size = clone.metadata()?.len();
        let object = hash(&clone, size, buffer)?.0;
        let added = if size == 0 || self.has(&object, size) {
            rustix::fs::unlinkat(work, temp.as_str(), AtFlags::empty())?;
            0
        } else {
            self.keep(work, &temp, &object)?;
            size
        };
        Ok(Some(Captured { size, content: Content { object, extents: None }, added }))
    }

    fn share(&self, to: &File, from: &File) -> io::Result<bool> {
        match rustix::fs::ioctl_ficlone(to, from) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::INVAL | Errno::NOSYS) => {
                self.reflink.store(false, Ordering::Relaxed);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn temp(&self, work: &OwnedFd) -> io::Result<(String, File)> {
        let name = format!("object-{}", self.next_temp.fetch_add(1, Ordering::Relaxed));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(work, name.as_str(), flags, Mode::RUSR)?;
        Ok((name, File::from(fd)))
    }

    fn keep(&self, work: &OwnedFd, temp: &str, object: &ObjectId) -> io::Result<()> {
        step("object written");
        let name = name(object);
        if rustix::fs::renameat(work, temp, &self.dir, name.as_str()) == Err(Errno::NOENT) {
            make_dir(self.dir.as_fd(), &name.as_bytes()[..2])?;
            rustix::fs::renameat(work, temp, &self.dir, name.as_str())?;
        }
        step("object kept");
        Ok(())
    }

    /// Writes the data of a file into `to`, which is new and empty, and checks it on the way.
    pub(super) fn write_to(
        &self,
        to: &File,
        size: u64,
        content: &Content,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Trouble> {
        let len = content.stored_len(size);
        if len > 0 {
            let name = name(&content.object);
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let from = match rustix::fs::openat(&self.dir, name.as_str(), flags, Mode::empty()) {
                Ok(fd) => File::from(fd),
                Err(Errno::NOENT) => return Err(Trouble::Damaged(format!("its object {name} is missing"))),
                Err(error) => return Err(error.into()),
            };
            let has = from.metadata()?.len();
            if has != len {
                return Err(Trouble::Damaged(format!("its object {name} has {has} bytes instead of {len}")));
            }
            let dense = content.extents.is_none();
            let shared = dense
                && len >= REFLINK_MIN
                && self.reflink.load(Ordering::Relaxed)
                && self.share(to, &from)?;
            let found = if shared {
                hash(&from, len, buffer)?
            } else {
                copy(&from, to, content.extents.as_deref().unwrap_or(&[(0, len)]), buffer)?
            };
            if found != (content.object, len) {
                return Err(Trouble::Damaged(format!(
                    "the bytes of its object {name} are not what was stored"
                )));
            }
        }
        if content.extents.is_some() {
            to.set_len(size)?;
        }
        Ok(())
    }

    /// Visits every stored object: its id, its length, and how to remove it.
    pub(super) fn visit(
        &self,
        mut visit: impl FnMut(Option<ObjectId>, &Stat) -> Visit,
    ) -> Result<(), rustix::io::Errno> {
        for fan in list(self.dir.as_fd())? {
            let dir = super::dirs::open_dir(self.dir.as_fd(), &fan)?;
            for rest in list(dir.as_fd())? {
                let stat = Stat::of_name(dir.as_fd(), &rest)?;
                if let Visit::Remove = visit(parse(&fan, &rest), &stat) {
                    rustix::fs::unlinkat(&dir, rest.as_slice(), AtFlags::empty())?;
                    step("object removed");
                }
            }
        }
        Ok(())
    }
}

/// What [`Objects::visit`] does with an object.
#[derive(Debug)]
pub(super) enum Visit {
    Keep,
    Remove,
}

fn captured(
    size: u64,
    expected: u64,
    read: u64,
    object: ObjectId,
    extents: Option<Vec<(u64, u64)>>,
    added: u64,
) -> Captured {
    // A file that shrank meanwhile is as long as what was read of it. The caller sees its new time stamps.
    let (size, extents) = match extents {
        Some(extents) if read < expected => {
            let mut left = read;
            let cut = extents.into_iter().map_while(|(offset, len)| {
                let len = len.min(left);
                left -= len;
                (len > 0).then_some((offset, len))
            });
            (size, Some(cut.collect()))
        }
        None => (read, None),
        extents => (size, extents),
    };
    Captured { size, content: Content { object, extents }, added }
}

fn name(object: &ObjectId) -> String {
    let hex = blake3::Hash::from_bytes(*object).to_hex();
    format!("{}/{}", &hex[..2], &hex[2..])
}

fn parse(fan: &[u8], rest: &[u8]) -> Option<ObjectId> {
    blake3::Hash::from_hex([fan, rest].concat()).ok().map(|hash| *hash.as_bytes())
}

/// The runs of data of a file, or `None` if it has no holes.
fn extents_of(file: &File, size: u64) -> io::Result<Option<Vec<(u64, u64)>>> {
    let mut extents = Vec::new();
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            // The file system knows nothing about holes.
            Err(Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if data >= size {
            break;
        }
        // A file that was cut off between the two calls has no hole to find.
        let hole = match rustix::fs::seek(file, SeekFrom::Hole(data)) {
            Err(Errno::NXIO) => break,
            other => other?.min(size),
        };
        extents.push((data, hole - data));
        at = hole;
    }
    Ok(if extents == [(0, size)] { None } else { Some(extents) })
}

/// Reads the runs of a file one after the other as one stream.
struct Runs<'a> {
    file: &'a File,
    runs: &'a [(u64, u64)],
    within: u64,
}

impl<'a> Runs<'a> {
    fn new(file: &'a File, runs: &'a [(u64, u64)]) -> Self {
        Self { file, runs, within: 0 }
    }

    /// Reads up to `limit` bytes into `buffer`; fewer only at the end, or where the file ends too early.
    fn fill(&mut self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
        buffer.resize(limit, 0);
        let mut filled = 0;
        while let Some((offset, len)) = self.runs.first() {
            if self.within == *len {
                self.runs = &self.runs[1..];
                self.within = 0;
                continue;
            }
            if filled == limit {
                break;
            }
            let want = (limit - filled).min(usize::try_from(len - self.within).unwrap_or(usize::MAX));
            match self.file.read_at(&mut buffer[filled..filled + want], offset + self.within) {
                Ok(0) => {
                    self.runs = &[];
                }
                Ok(read) => {
                    filled += read;
                    self.within += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

fn hash(file: &File, size: u64, buffer: &mut Vec<u8>) -> io::Result<(ObjectId, u64)> {
    let runs = [(0, size)];
    let mut source = Runs::new(file, &runs);
    let mut hasher = blake3::Hasher::new();
    let mut total = 0;
    loop {
        let read = source.fill(buffer, CHUNK)?;
        if read == 0 {
            return Ok((*hasher.finalize().as_bytes(), total));
        }
        hasher.update(&buffer[..read]);
        total += read as u64;
    }
}

/// Spreads the bytes of an object over the runs of a file.
fn copy(from: &File, to: &File, runs: &[(u64, u64)], buffer: &mut Vec<u8>) -> io::Result<(ObjectId, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    for (offset, len) in runs {
        let piece = [(at, *len)];
        let mut source = Runs::new(from, &piece);
        let mut to_offset = *offset;
        loop {
            let read = source.fill(buffer, CHUNK)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            to.write_all_at(&buffer[..read], to_offset)?;
            to_offset += read as u64;
            at += read as u64;
        }
    }
    Ok((*hasher.finalize().as_bytes(), at))
}
