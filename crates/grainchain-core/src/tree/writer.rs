//! Writing tar headers, and bodies straight into a large buffer

use std::io::{self, Write};

use tar::{EntryType, GnuExtSparseHeader, Header};

use super::stat::Stat;
use super::xattr::Attribute;

pub(super) const BLOCK: usize = 512;

/// Large enough that small files travel many to a write; small enough to stay in a cache.
const BUFFER: usize = 512 * 1024;

/// A range of a file that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// One entry, ready to be written.
#[derive(Debug)]
pub(super) struct Entry<'e> {
    pub(super) path: &'e [u8],
    pub(super) kind: EntryType,
    pub(super) stat: &'e Stat,
    pub(super) link: &'e [u8],
    pub(super) xattrs: &'e [Attribute],
    /// Ranges of data, the last one ending at the file's size; none for a file without holes.
    pub(super) sparse: Option<&'e [Segment]>,
}

/// Writes an archive: GNU headers, since every `tar` (even those that skip PAX) reads their long names, and
/// a PAX header before them for what only PAX can say.
#[derive(Debug)]
pub(super) struct TarWriter<W> {
    out: W,
    buffer: Box<[u8]>,
    filled: usize,
}

impl<W: Write> TarWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, buffer: vec![0; BUFFER].into_boxed_slice(), filled: 0 }
    }

    pub(super) fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let pax = pax_records(entry);
        if !pax.is_empty() {
            let mut header = Header::new_ustar();
            name(&mut header, b"./PaxHeaders/entry");
            header.set_mode(0o644);
            self.extension(header, EntryType::XHeader, &pax)?;
        }
        if entry.path.len() > 100 {
            self.long(EntryType::GNULongName, entry.path)?;
        }
        if entry.link.len() > 100 {
            self.long(EntryType::GNULongLink, entry.link)?;
        }
        let mut header = Header::new_gnu();
        name(&mut header, entry.path);
        let link = &entry.link[..entry.link.len().min(100)];
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_mode(entry.stat.mode);
        header.set_uid(entry.stat.uid.into());
        header.set_gid(entry.stat.gid.into());
        header.set_mtime(u64::try_from(entry.stat.mtime_seconds).unwrap_or(0));
        header.set_entry_type(entry.kind);
        match entry.sparse {
            None if entry.kind.is_file() => header.set_size(entry.stat.size_bytes),
            None => header.set_size(0),
            Some(segments) => header.set_size(segments.iter().map(|segment| segment.length).sum()),
        }
        let inline = sparse_header(&mut header, entry);
        header.set_cksum();
        self.bytes(header.as_bytes())?;
        self.sparse_rest(inline)
    }

    fn long(&mut self, kind: EntryType, value: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        name(&mut header, b"././@LongLink");
        header.set_mode(0o644);
        let mut value = value.to_vec();
        value.push(0);
        self.extension(header, kind, &value)
    }

    fn extension(&mut self, mut header: Header, kind: EntryType, value: &[u8]) -> io::Result<()> {
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(kind);
        header.set_size(value.len() as u64);
        header.set_cksum();
        self.bytes(header.as_bytes())?;
        self.bytes(value)?;
        self.pad(value.len() as u64)
    }

    fn sparse_rest(&mut self, mut rest: &[Segment]) -> io::Result<()> {
        while !rest.is_empty() {
            let mut header = GnuExtSparseHeader::new();
            let now = rest.len().min(header.sparse.len());
            for (slot, segment) in header.sparse.iter_mut().zip(&rest[..now]) {
                slot.set_offset(segment.offset);
                slot.set_length(segment.length);
            }
            rest = &rest[now..];
            header.set_is_extended(!rest.is_empty());
            self.bytes(header.as_bytes())?;
        }
        Ok(())
    }

    /// Room for a body to be read into, at least one byte and preferably `wanted`.
    pub(super) fn room(&mut self, wanted: u64) -> io::Result<&mut [u8]> {
        let wanted = usize::try_from(wanted).unwrap_or(BUFFER).min(BUFFER);
        if BUFFER - self.filled < wanted {
            self.drain()?;
        }
        Ok(&mut self.buffer[self.filled..])
    }

    /// Takes the first `length` bytes of the room as written.
    pub(super) fn advance(&mut self, length: usize) {
        self.filled = (self.filled + length).min(BUFFER);
    }

    pub(super) fn zeros(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let room = self.room(count)?;
            let now = usize::try_from(count).unwrap_or(usize::MAX).min(room.len());
            room[..now].fill(0);
            self.advance(now);
            count -= now as u64;
        }
        Ok(())
    }

    /// Fills the block that a body of `length` bytes ends in.
    pub(super) fn pad(&mut self, length: u64) -> io::Result<()> {
        self.zeros(length.next_multiple_of(BLOCK as u64) - length)
    }

    /// Writes the end of the archive and, where no other program looks any more, comments.
    pub(super) fn finish(mut self, comments: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
        self.zeros(2 * BLOCK as u64)?;
        let mut records = Vec::new();
        for comment in comments {
            record(&mut records, b"comment", &comment);
        }
        if !records.is_empty() {
            let mut header = Header::new_ustar();
            name(&mut header, b"./PaxHeaders/archive");
            header.set_mode(0o644);
            self.extension(header, EntryType::XGlobalHeader, &records)?;
        }
        self.drain()?;
        self.out.flush()
    }

    fn bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.room(1)?;
            let now = bytes.len().min(room.len());
            room[..now].copy_from_slice(&bytes[..now]);
            self.advance(now);
            bytes = &bytes[now..];
        }
        Ok(())
    }

    fn drain(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer[..self.filled])?;
        self.filled = 0;
        Ok(())
    }
}

fn name(header: &mut Header, path: &[u8]) {
    let path = &path[..path.len().min(100)];
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
}

/// Puts the first ranges into the header and returns the rest.
fn sparse_header<'e>(header: &mut Header, entry: &Entry<'e>) -> &'e [Segment] {
    let (Some(segments), Some(gnu)) = (entry.sparse, header.as_gnu_mut()) else { return &[] };
    let now = segments.len().min(gnu.sparse.len());
    for (slot, segment) in gnu.sparse.iter_mut().zip(&segments[..now]) {
        slot.set_offset(segment.offset);
        slot.set_length(segment.length);
    }
    gnu.set_is_extended(now < segments.len());
    gnu.set_real_size(entry.stat.size_bytes);
    &segments[now..]
}

fn pax_records(entry: &Entry<'_>) -> Vec<u8> {
    let mut records = Vec::new();
    let (seconds, nanos) = (entry.stat.mtime_seconds, entry.stat.mtime_nanos);
    if nanos != 0 || seconds < 0 {
        record(&mut records, b"mtime", decimal(seconds, nanos).as_bytes());
    }
    for (name, value) in entry.xattrs {
        let key = [b"SCHILY.xattr.", name.as_slice()].concat();
        record(&mut records, &key, value);
    }
    records
}

/// `-1.5` is one and a half seconds before 1970, which the kernel calls -2 seconds and 500,000,000 ns.
fn decimal(seconds: i64, nanos: u32) -> String {
    if seconds < 0 && nanos > 0 {
        let whole = (seconds + 1).unsigned_abs();
        return format!("-{whole}.{:09}", 1_000_000_000 - nanos);
    }
    if nanos == 0 { seconds.to_string() } else { format!("{seconds}.{nanos:09}") }
}

/// Appends `length key=value\n`, where the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + digits(length) != length {
        length = rest + digits(length);
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}
