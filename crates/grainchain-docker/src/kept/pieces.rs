//! Bytes whose number nobody knows yet as files of a tar, which wants to know it first: in pieces.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use grainchain_core::types::content::ByteStream;
use grainchain_core::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use crate::hash::hex_of;

/// How much lies in one file. One of them waits in memory at a time.
const PIECE: usize = 1 << 20;

/// What a tar consists of.
const BLOCK: usize = 512;

/// How many bytes went by, and their hash.
#[derive(Debug, Default)]
pub(super) struct Sum {
    bytes: u64,
    hasher: Sha256,
}

impl Sum {
    fn add(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        self.hasher.update(chunk);
    }

    /// The number of bytes, and their hash.
    pub(super) fn told(&mut self) -> (u64, String) {
        (self.bytes, hex_of(std::mem::take(&mut self.hasher)))
    }
}

struct Folding {
    content: ByteStream,
    sum: Arc<Mutex<Sum>>,
    folder: String,
    buffer: BytesMut,
    number: u32,
    /// What stands at the beginning of the tar.
    opening: Option<Vec<u8>>,
    has_ended: bool,
    is_closed: bool,
}

/// `content` as a tar of pieces in `folder`, after the entries of `opening`. What went by is counted in `sum`.
pub(super) fn fold(
    content: ByteStream,
    folder: String,
    opening: Vec<u8>,
    sum: Arc<Mutex<Sum>>,
) -> impl Stream<Item = Result<Bytes>> + Send {
    let folding = Folding {
        content,
        sum,
        folder,
        buffer: BytesMut::new(),
        number: 0,
        opening: Some(opening),
        has_ended: false,
        is_closed: false,
    };
    stream::try_unfold(folding, |mut folding| async move {
        Ok(folding.next().await?.map(|bytes| (bytes, folding)))
    })
}

impl Folding {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(mut opening) = self.opening.take() {
            opening.extend(entry(&self.folder, EntryType::Directory, 0)?);
            return Ok(Some(opening.into()));
        }
        while self.buffer.len() < PIECE && !self.has_ended {
            match self.content.next().await {
                Some(chunk) => {
                    let chunk = chunk?;
                    self.sum.lock().unwrap_or_else(PoisonError::into_inner).add(&chunk);
                    self.buffer.extend_from_slice(&chunk);
                }
                None => self.has_ended = true,
            }
        }
        if self.buffer.is_empty() {
            let end = (!self.is_closed).then(|| Bytes::from_static(&[0; 2 * BLOCK]));
            self.is_closed = true;
            return Ok(end);
        }
        let piece = self.buffer.split_to(PIECE.min(self.buffer.len()));
        let mut file =
            entry(&format!("{}/{}", self.folder, name(self.number)), EntryType::Regular, piece.len())?;
        self.number += 1;
        file.extend_from_slice(&piece);
        file.resize(file.len().next_multiple_of(BLOCK), 0);
        Ok(Some(file.into()))
    }
}

/// In the order of their numbers also where they are sorted as text.
fn name(number: u32) -> String {
    format!("{number:010}")
}

/// The header of an entry that only root may look at.
pub(super) fn entry(path: &str, kind: EntryType, size: usize) -> Result<Vec<u8>> {
    let mut header = Header::new_gnu();
    let slash = if kind == EntryType::Directory { "/" } else { "" };
    header.set_path(format!("{path}{slash}")).map_err(|error| Error::io("name a piece", error))?;
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o700 } else { 0o600 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size as u64);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

struct Unfolding {
    tar: ByteStream,
    buffer: BytesMut,
    /// What is left of the entry: its data, and the filling after it.
    data: u64,
    filling: u64,
    is_piece: bool,
    number: u32,
    sum: Sum,
    expected: (u64, String),
}

/// The bytes that were [folded](fold), from a tar of the folder. They are what was `expected`, or end in an error.
pub(super) fn unfold(tar: ByteStream, expected: (u64, String)) -> impl Stream<Item = Result<Bytes>> + Send {
    let unfolding = Unfolding {
        tar,
        buffer: BytesMut::new(),
        data: 0,
        filling: 0,
        is_piece: false,
        number: 0,
        sum: Sum::default(),
        expected,
    };
    stream::try_unfold(unfolding, |mut unfolding| async move {
        Ok(unfolding.next().await?.map(|bytes| (bytes, unfolding)))
    })
}

impl Unfolding {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.data == 0 && self.filling == 0 {
                if !self.fill(BLOCK).await? || !self.open()? {
                    return if self.sum.told() == self.expected { Ok(None) } else { Err(damaged()) };
                }
                continue;
            }
            if self.buffer.is_empty() && !self.fill(1).await? {
                return Err(damaged());
            }
            let is_data = self.data > 0;
            let wanted = if is_data { &mut self.data } else { &mut self.filling };
            let count = usize::try_from(*wanted).unwrap_or(usize::MAX).min(self.buffer.len());
            *wanted -= count as u64;
            let bytes = self.buffer.split_to(count).freeze();
            if is_data && self.is_piece {
                self.sum.add(&bytes);
                return Ok(Some(bytes));
            }
        }
    }

    /// Waits for `count` bytes. Whether they came.
    async fn fill(&mut self, count: usize) -> Result<bool> {
        while self.buffer.len() < count {
            match self.tar.next().await {
                Some(chunk) => self.buffer.extend_from_slice(&chunk?),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Begins with the entry whose header has come; none follows the end of the tar.
    fn open(&mut self) -> Result<bool> {
        let header = Header::from_byte_slice(&self.buffer[..BLOCK]);
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(false);
        }
        let size = header.entry_size().map_err(|error| damaged().caused_by(error))?;
        self.is_piece = header.entry_type().is_file();
        if self.is_piece {
            let path = header.path_bytes();
            if path.rsplit(|byte| *byte == b'/').next() != Some(name(self.number).as_bytes()) {
                return Err(damaged());
            }
            self.number += 1;
        }
        (self.data, self.filling) = (size, size.next_multiple_of(BLOCK as u64) - size);
        self.buffer.advance(BLOCK);
        Ok(true)
    }
}

/// The error for a copy that is not as it was written.
pub(super) fn damaged() -> Error {
    Error::new(ErrorKind::Server, "the copy of a folder in memory is damaged or missing")
        .hint("go back to another snapshot; the sandbox is as it was")
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    fn stream_of(bytes: &[u8], chunk: usize) -> ByteStream {
        let chunks: Vec<_> = bytes.chunks(chunk).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        Box::pin(stream::iter(chunks))
    }

    async fn all(stream: impl Stream<Item = Result<Bytes>>) -> Result<Vec<u8>> {
        let chunks: Vec<_> = stream.try_collect().await?;
        Ok(chunks.concat())
    }

    async fn folded(data: &[u8]) -> (Vec<u8>, (u64, String)) {
        let sum = Arc::<Mutex<Sum>>::default();
        let tar =
            all(fold(stream_of(data, 70_001), "kept/0".into(), Vec::new(), Arc::clone(&sum))).await.unwrap();
        let told = sum.lock().unwrap().told();
        (tar, told)
    }

    #[tokio::test]
    async fn what_is_folded_comes_out_the_same_however_large_it_is_and_however_it_arrives() {
        for size in [0, 1, 512, PIECE - 1, PIECE, 2 * PIECE + 7] {
            let data: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let (tar, told) = folded(&data).await;
            assert_eq!((told.0, tar.len() % BLOCK), (size as u64, 0));
            for chunk in [333, 100_000] {
                assert!(
                    all(unfold(stream_of(&tar, chunk), told.clone())).await.unwrap() == data,
                    "{size} by {chunk}"
                );
            }
        }
    }

    #[tokio::test]
    async fn a_copy_that_lacks_something_or_was_changed_is_no_copy() {
        let data = vec![7; PIECE + 1000];
        let (tar, told) = folded(&data).await;
        let mut changed = tar.clone();
        changed[5000] ^= 1;
        // The folder's own header, one piece, the header and the data of another.
        let lacks_one: Vec<u8> = [&tar[..BLOCK], &tar[2 * BLOCK + PIECE..]].concat();
        for broken in [&tar[..BLOCK + BLOCK + PIECE], &tar[..9000], &changed[..], &lacks_one[..], &[]] {
            let error = all(unfold(stream_of(broken, 4096), told.clone())).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Server);
        }
    }
}
