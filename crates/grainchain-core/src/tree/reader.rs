//! Reading tar headers from a stream that a stranger wrote
//!
//! The `tar` crate's own reader collects long names and PAX records of any length in memory, splits PAX values
//! at newlines, and takes the end of the input for the end of the archive. This one has limits, reads records
//! by their length, and insists on the end marker; headers are decoded by the `tar` crate.

use std::io::{self, Read};

use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::error::{Fault, TreeErrorKind};
use super::writer::{BLOCK, Segment};
use super::xattr::Attribute;

const BUFFER: usize = 512 * 1024;

/// Longest path or link target; Linux itself stops at 4 KiB for one system call.
const MAX_NAME: u64 = 1 << 20;

/// Longest set of PAX records; one extended attribute can have 64 KiB.
const MAX_PAX: u64 = 4 << 20;

/// Longest name of an extended attribute, Linux's own limit: what is kept of directories until the end has no room for more.
const MAX_XATTR_NAME: usize = 255;

const MAX_SEGMENTS: usize = 1 << 20;

/// What is kept of comments; a hostile archive must not fill our memory.
const MAX_COMMENTS: usize = 1000;
const MAX_COMMENT: usize = 8 << 10;

/// One entry of an archive, without its body.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: EntryType,
    /// Size of the file, holes included.
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) mtime: (i64, u32),
    pub(super) xattrs: Vec<Attribute>,
    /// Ranges of the file that the body holds, if it has holes.
    pub(super) sparse: Option<Vec<Segment>>,
}

/// What extension headers said about the next entry.
#[derive(Debug, Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

#[derive(Debug, Default)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<Attribute>,
    comments: Vec<Vec<u8>>,
}

/// An archive being read.
#[derive(Debug)]
pub(super) struct TarReader<R> {
    input: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes of the current body that are still to come, and the filling of its last block.
    body: u64,
    padding: u64,
    /// Comments that belong to no entry.
    comments: Vec<Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    pub(super) fn new(input: R) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { input, buffer, start: 0, end: 0, body: 0, padding: 0, comments: Vec::new() }
    }

    /// The first comments that belong to no entry. Call it when there is no [`next`](Self::next) entry any more: it looks for some
    /// after the archive's end too, where our own writer puts them.
    pub(super) fn comments(&mut self) -> Result<Vec<Vec<u8>>, Fault> {
        match self.epilogue() {
            // Whatever else stands there is not for us.
            Err(fault) if fault.kind == TreeErrorKind::Corrupt => {}
            read => read?,
        }
        Ok(std::mem::take(&mut self.comments))
    }

    fn epilogue(&mut self) -> Result<(), Fault> {
        // The end has two blocks of zeros.
        if self.header()?.is_some() {
            return Ok(());
        }
        match self.header()? {
            Some(header) if header.entry_type() == EntryType::XGlobalHeader => {
                let size = header.entry_size().map_err(damaged)?;
                self.global(size)
            }
            _ => Ok(()),
        }
    }

    /// The next entry, or none at the end of the archive. What is left of the last body is passed over.
    pub(super) fn next(&mut self) -> Result<Option<Member>, Fault> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_body()?;
            let Some(header) = self.header()? else {
                if extensions.path.is_some() || extensions.link.is_some() || extensions.pax.is_some() {
                    return Err(Fault::corrupt("the archive ends after an extension header"));
                }
                return Ok(None);
            };
            let size = header.entry_size().map_err(damaged)?;
            match header.entry_type() {
                EntryType::GNULongName => self.long(&mut extensions.path, size)?,
                EntryType::GNULongLink => self.long(&mut extensions.link, size)?,
                EntryType::XHeader => {
                    if extensions.pax.is_some() {
                        return Err(Fault::corrupt("two pax headers for one entry"));
                    }
                    let records = self.collect(size, MAX_PAX)?;
                    extensions.pax = Some(Pax::parse(&records, Scope::Entry)?);
                }
                EntryType::XGlobalHeader => self.global(size)?,
                kind => return self.member(&header, kind, size, extensions).map(Some),
            }
        }
    }

    fn global(&mut self, size: u64) -> Result<(), Fault> {
        let records = self.collect(size, MAX_PAX)?;
        let comments = Pax::parse(&records, Scope::Archive)?.comments;
        let room = MAX_COMMENTS.saturating_sub(self.comments.len());
        self.comments.extend(comments.into_iter().take(room));
        Ok(())
    }

    fn long(&mut self, slot: &mut Option<Vec<u8>>, size: u64) -> Result<(), Fault> {
        if slot.is_some() {
            return Err(Fault::corrupt("two long names for one entry"));
        }
        let mut value = self.collect(size, MAX_NAME)?;
        while value.last() == Some(&0) {
            value.pop();
        }
        *slot = Some(value);
        Ok(())
    }

    fn header(&mut self) -> Result<Option<Header>, Fault> {
        if !self.fill(BLOCK)? {
            return Err(Fault::corrupt("the archive ends without its end marker"));
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(&self.buffer[self.start..self.start + BLOCK]);
        self.start += BLOCK;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let bytes = header.as_bytes();
        let sum: u32 =
            bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        if header.cksum().ok() != Some(sum) {
            return Err(Fault::corrupt(
                "a header has a wrong checksum; this is no tar archive, or it is damaged",
            ));
        }
        Ok(Some(header))
    }

    fn member(
        &mut self,
        header: &Header,
        kind: EntryType,
        size: u64,
        with: Extensions,
    ) -> Result<Member, Fault> {
        let pax = with.pax.unwrap_or_default();
        let path = with.path.or(pax.path).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = with.link.or(pax.link).unwrap_or_else(|| {
            header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default()
        });
        // Archives older than POSIX mark a directory by its name only.
        let kind =
            if kind == EntryType::Regular && path.ends_with(b"/") { EntryType::Directory } else { kind };
        // These have no body, whatever the size field says: other readers agree.
        let bodiless = kind.is_dir()
            || kind.is_hard_link()
            || kind.is_symlink()
            || kind.is_fifo()
            || kind.is_character_special()
            || kind.is_block_special();
        let on_tape = if bodiless { 0 } else { pax.size.unwrap_or(size) };
        let mut member = Member {
            path,
            link,
            kind,
            size: on_tape,
            mode: header.mode().map_err(damaged)? & 0o7777,
            uid: pax.uid.map_or_else(|| header.uid(), Ok).map_err(damaged)?,
            gid: pax.gid.map_or_else(|| header.gid(), Ok).map_err(damaged)?,
            mtime: match pax.mtime {
                Some(mtime) => mtime,
                None => (header.mtime().map_err(damaged)?.cast_signed(), 0),
            },
            xattrs: pax.xattrs,
            sparse: None,
        };
        if kind == EntryType::GNUSparse {
            let (segments, real) = self.sparse(header, on_tape)?;
            member.size = real;
            member.sparse = Some(segments);
        }
        self.announce(on_tape)?;
        Ok(member)
    }

    fn announce(&mut self, size: u64) -> Result<(), Fault> {
        let whole = size.checked_next_multiple_of(BLOCK as u64);
        let whole = whole.filter(|whole| i64::try_from(*whole).is_ok());
        let whole = whole.ok_or_else(|| Fault::corrupt("an entry has an impossible size"))?;
        self.body = size;
        self.padding = whole - size;
        Ok(())
    }

    fn sparse(&mut self, header: &Header, on_tape: u64) -> Result<(Vec<Segment>, u64), Fault> {
        let gnu = header.as_gnu().ok_or_else(|| Fault::corrupt("a sparse entry without a gnu header"))?;
        let real = gnu.real_size().map_err(damaged)?;
        let mut map = SparseMap { segments: Vec::new(), end: 0, data: 0, closed: false };
        map.add(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            if !self.fill(BLOCK)? {
                return Err(Fault::corrupt("the archive ends in a sparse header"));
            }
            let mut extension = GnuExtSparseHeader::new();
            extension.as_mut_bytes().copy_from_slice(&self.buffer[self.start..self.start + BLOCK]);
            self.start += BLOCK;
            map.add(&extension.sparse)?;
            more = extension.is_extended();
        }
        if map.data != on_tape || map.end > real {
            return Err(Fault::corrupt("a sparse map disagrees with its header"));
        }
        Ok((map.segments, real))
    }

    /// The whole body of an extension header.
    fn collect(&mut self, size: u64, limit: u64) -> Result<Vec<u8>, Fault> {
        if size > limit {
            return Err(Fault::too_large(format!(
                "an extension header of {size} bytes; the limit is {limit}"
            )));
        }
        self.announce(size)?;
        let mut value = Vec::new();
        while self.body > 0 {
            let chunk = self.chunk(u64::MAX)?;
            value.extend_from_slice(chunk);
        }
        Ok(value)
    }

    /// The next piece of the body, at most `most` bytes; empty at its end.
    pub(super) fn chunk(&mut self, most: u64) -> Result<&[u8], Fault> {
        let most = most.min(self.body);
        if most == 0 {
            return Ok(&[]);
        }
        if self.start == self.end && !self.fill(1)? {
            return Err(Fault::corrupt("the archive ends in the middle of an entry"));
        }
        let length = usize::try_from(most).unwrap_or(BUFFER).min(self.end - self.start);
        let start = self.start;
        self.start += length;
        self.body -= length as u64;
        Ok(&self.buffer[start..start + length])
    }

    fn skip_body(&mut self) -> Result<(), Fault> {
        self.body += std::mem::take(&mut self.padding);
        while self.body > 0 {
            self.chunk(u64::MAX)?;
        }
        Ok(())
    }

    /// Reads what follows the end marker, since a writer that fills up its last record would see a broken
    /// pipe. A stream that goes on regardless is left alone.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        let mut left = 1 << 20;
        while left > 0 {
            match self.input.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(read) => left -= read.min(left),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes `wanted` bytes available in one piece; false if the input ends before.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.end - self.start >= wanted {
            return Ok(true);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < wanted {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

struct SparseMap {
    segments: Vec<Segment>,
    end: u64,
    data: u64,
    closed: bool,
}

impl SparseMap {
    fn add(&mut self, slots: &[GnuSparseHeader]) -> Result<(), Fault> {
        for slot in slots.iter().filter(|slot| !slot.is_empty()) {
            let (offset, length) = (slot.offset().map_err(damaged)?, slot.length().map_err(damaged)?);
            let end = offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok());
            let (Some(end), false, true) = (end, self.closed, offset >= self.end) else {
                return Err(Fault::corrupt("a sparse map with overlapping or impossible ranges"));
            };
            if self.segments.len() == MAX_SEGMENTS {
                return Err(Fault::too_large("a sparse map with more than a million ranges"));
            }
            // Only the last range may end inside a block.
            self.closed = length % BLOCK as u64 != 0;
            self.end = end;
            self.data += length;
            if length > 0 {
                self.segments.push(Segment { offset, length });
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Entry,
    Archive,
}

impl Pax {
    fn parse(mut records: &[u8], scope: Scope) -> Result<Self, Fault> {
        let mut pax = Self::default();
        while !records.is_empty() {
            let (key, value, rest) =
                split(records).ok_or_else(|| Fault::corrupt("a malformed pax record"))?;
            records = rest;
            if scope == Scope::Archive {
                // `git archive` writes a comment here; the rest would change what later entries mean.
                if !matches!(key, b"comment" | b"charset" | b"hdrcharset") {
                    let key = String::from_utf8_lossy(key);
                    return Err(Fault::corrupt(format!(
                        "a global pax header with {key:?}, which is not supported"
                    )));
                }
                if key == b"comment" && value.len() <= MAX_COMMENT {
                    pax.comments.push(value.to_vec());
                }
                continue;
            }
            pax.record(key, value)?;
        }
        Ok(pax)
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number(value)?),
            b"uid" => self.uid = Some(number(value)?),
            b"gid" => self.gid = Some(number(value)?),
            b"mtime" => self.mtime = Some(time(value).ok_or_else(|| Fault::corrupt("a malformed pax time"))?),
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err(Fault::corrupt("pax sparse entries are not supported; use the gnu format"));
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    if name.len() > MAX_XATTR_NAME {
                        return Err(Fault::too_large(format!(
                            "an extended attribute whose name is longer than {MAX_XATTR_NAME} bytes"
                        )));
                    }
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// What the `tar` crate says about a number that is none.
fn damaged(error: io::Error) -> Fault {
    Fault::corrupt(error.to_string())
}

/// Splits `length key=value\n` off the front, by its length: values may contain newlines.
fn split(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    if length <= space + 1 || length > records.len() {
        return None;
    }
    let (record, rest) = records.split_at(length);
    let record = record[space + 1..].strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

fn number(value: &[u8]) -> Result<u64, Fault> {
    let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Fault::corrupt("a malformed pax number"))
}

/// Seconds and nanoseconds as the kernel counts them: the nanoseconds are never negative.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{:0<9.9}", fraction).parse().ok()?;
    if whole.starts_with('-') && nanos > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos));
    }
    Some((seconds, nanos))
}
