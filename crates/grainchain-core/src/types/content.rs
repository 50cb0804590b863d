//! Bytes on their way in or out: held, streamed, or in a file of this machine.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};

use crate::blocking;
use crate::error::{Error, Result};
use crate::types::size::ByteSize;

/// A stream of chunks that ends with the first error.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// How much is read from a file at once.
const CHUNK: usize = 256 * 1024;

/// What a file holds, before or after the transfer.
///
/// Made from bytes, text, a stream or an open file. A file stays a file until somebody asks for its bytes, so that a provider
/// on the same machine can copy it in the kernel.
pub struct Content {
    source: Source,
    length: Option<u64>,
}

enum Source {
    Bytes(Bytes),
    // The mutex is never locked: it makes the content `Sync`, which streams of users need not be.
    Stream(Mutex<ByteStream>),
    File(File),
}

impl Content {
    /// Chunks from `stream`, whose total `length` is known to some providers' benefit.
    pub fn from_stream(
        stream: impl Stream<Item = Result<Bytes>> + Send + 'static,
        length: Option<u64>,
    ) -> Self {
        Self { source: Source::Stream(Mutex::new(Box::pin(stream))), length }
    }

    /// The rest of `file` from its current position, at most `length` bytes.
    pub fn from_file(file: File, length: u64) -> Self {
        Self { source: Source::File(file), length: Some(length) }
    }

    /// The whole file at `path` of this machine.
    ///
    /// # Errors
    ///
    /// `NotFound` or `Denied` when it cannot be opened, `BadRequest` when it is not a regular file.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        blocking::run(move || {
            let shown = path.display();
            // To open a pipe that nobody writes to would wait for ever.
            let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
            let file = File::options()
                .read(true)
                .custom_flags(flags)
                .open(&path)
                .map_err(|error| Error::io(format_args!("open {shown}"), error))?;
            let metadata =
                file.metadata().map_err(|error| Error::io(format_args!("look at {shown}"), error))?;
            if !metadata.is_file() {
                return Err(Error::bad_request(format!("{shown} is not a regular file"))
                    .hint("use upload_dir for a directory, and a stream for a pipe"));
            }
            Ok(Self::from_file(file, metadata.len()))
        })
        .await
    }

    /// The number of bytes, where it is known.
    pub fn len(&self) -> Option<u64> {
        match &self.source {
            Source::Bytes(bytes) => Some(bytes.len() as u64),
            _ => self.length,
        }
    }

    /// Whether it is known to hold nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The bytes, when they are held in memory.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The open file and how many bytes of it count, or the content again when it is not a file.
    ///
    /// # Errors
    ///
    /// Hands the content back.
    pub fn into_file(self) -> Result<(File, u64), Self> {
        match self {
            Self { source: Source::File(file), length: Some(length) } => Ok((file, length)),
            other => Err(other),
        }
    }

    /// The bytes as a stream of chunks.
    pub fn into_stream(self) -> ByteStream {
        match self.source {
            Source::Bytes(bytes) if bytes.is_empty() => Box::pin(stream::empty()),
            Source::Bytes(bytes) => Box::pin(stream::once(std::future::ready(Ok(bytes)))),
            Source::Stream(stream) => stream.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner),
            Source::File(file) => Box::pin(file_stream(file, self.length.unwrap_or(u64::MAX))),
        }
    }

    /// All bytes at once.
    ///
    /// # Errors
    ///
    /// `Exhausted` when there are more than `limit`, and whatever the stream fails with.
    pub async fn into_bytes(self, limit: ByteSize) -> Result<Bytes> {
        let too_large = || {
            Error::new(
                crate::ErrorKind::Exhausted,
                format!("the content is larger than the limit of {limit}"),
            )
            .hint("read it as a stream or raise the limit")
        };
        if self.len().is_some_and(|length| length > limit.as_u64()) {
            return Err(too_large());
        }
        if let Source::Bytes(bytes) = self.source {
            return Ok(bytes);
        }
        let mut all = BytesMut::with_capacity(usize::try_from(self.length.unwrap_or(0)).unwrap_or(0));
        let mut chunks = self.into_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            if (all.len() + chunk.len()) as u64 > limit.as_u64() {
                return Err(too_large());
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// Changes the stream, when it is one; bytes and files stay as they are. For layers.
    #[must_use]
    pub fn map_stream(self, wrap: impl FnOnce(ByteStream) -> ByteStream) -> Self {
        match self.source {
            Source::Stream(stream) => {
                let stream = stream.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
                Self { source: Source::Stream(Mutex::new(wrap(stream))), length: self.length }
            }
            source => Self { source, length: self.length },
        }
    }

    /// The same content again, where that is possible: bytes, not streams or files.
    pub fn try_clone(&self) -> Option<Self> {
        self.as_bytes().cloned().map(Self::from)
    }
}

/// Reads `file` ahead of whoever takes its chunks, at most `length` bytes. Nothing is read before the first is asked for.
fn file_stream(mut file: File, mut left: u64) -> impl Stream<Item = Result<Bytes>> + Send {
    let work = move |writer: &mut blocking::ChunkWriter| {
        while left > 0 {
            // Not zeroed first: that would cost as much as reading.
            let want = left.min(CHUNK as u64);
            let mut buffer = Vec::with_capacity(want as usize);
            let count = match (&mut file).take(want).read_to_end(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(Error::io("read file", error)),
            };
            left -= count as u64;
            if writer.push(buffer.into()).is_err() {
                // Nobody reads any more.
                break;
            }
        }
        Ok(())
    };
    stream::once(async move { blocking::produce(work).into_stream() }).flatten()
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match &self.source {
            Source::Bytes(_) => "bytes",
            Source::Stream(_) => "stream",
            Source::File(_) => "file",
        };
        f.debug_struct("Content").field("form", &form).field("length", &self.len()).finish()
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self { source: Source::Bytes(bytes), length: None }
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Bytes::copy_from_slice(bytes).into()
    }
}

impl<const N: usize> From<&[u8; N]> for Content {
    fn from(bytes: &[u8; N]) -> Self {
        Bytes::copy_from_slice(bytes).into()
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Bytes::copy_from_slice(text.as_bytes()).into()
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

/// The part of `file` from `offset`, at most `length` bytes or to its end.
///
/// # Errors
///
/// When the file cannot be examined or positioned.
pub fn file_range(mut file: File, offset: u64, length: Option<u64>) -> Result<Content> {
    let size = file.metadata().map_err(|error| Error::io("look at file", error))?.len();
    file.seek(SeekFrom::Start(offset)).map_err(|error| Error::io("seek in file", error))?;
    let rest = size.saturating_sub(offset);
    Ok(Content::from_file(file, length.map_or(rest, |length| length.min(rest))))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn a_file_is_streamed_whole_and_in_part() {
        let mut file = tempfile::tempfile().unwrap();
        let data: Vec<u8> = (0..700_000_u32).map(|n| n as u8).collect();
        file.write_all(&data).unwrap();
        let part = file_range(file.try_clone().unwrap(), 5, Some(10)).unwrap();
        assert_eq!(part.into_bytes(ByteSize::mib(1)).await.unwrap(), &data[5..15]);
        let whole = file_range(file, 0, None).unwrap();
        assert_eq!(whole.len(), Some(700_000));
        assert_eq!(whole.into_bytes(ByteSize::mib(1)).await.unwrap(), &data[..]);
    }

    #[tokio::test]
    async fn what_is_no_regular_file_is_refused_without_waiting_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        for path in [pipe.as_path(), folder.path(), Path::new("/dev/null")] {
            let error = Content::open(path).await.unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::BadRequest, "{error}");
        }
    }

    #[tokio::test]
    async fn more_than_the_limit_is_an_error_also_for_a_stream_of_unknown_length() {
        let chunks = stream::iter((0..10).map(|_| Ok(Bytes::from_static(&[0; 1024]))));
        let error = Content::from_stream(chunks, None).into_bytes(ByteSize::kib(5)).await.unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Exhausted);
    }
}
