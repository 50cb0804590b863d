//! The border between asynchronous code and work that blocks: files, archives, hashing.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::Fuse;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use crate::types::content::{ByteStream, Content};

/// How much is handed over at once, and how many such chunks may wait: enough to keep both sides busy, little enough to forget.
const CHUNK: usize = 256 * 1024;
const CHUNKS: usize = 4;
/// How many pieces make a chunk at most.
const MOST_GATHERED: usize = 64;

/// Runs `work` where blocking is allowed. Dropping the future does not stop the work.
///
/// # Errors
///
/// Those of `work`, and `Unexpected` when the runtime is shutting down.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::unexpected("the runtime is shutting down").caused_by(error)),
    }
}

/// Something to do on a thread that may block.
pub type Work = Box<dyn FnOnce() + Send>;

/// The content that `work` writes while it is read. When the reader goes away, the next write fails and ends the work; when the
/// work fails, its error ends the stream.
pub fn produce(work: impl FnOnce(&mut ChunkWriter) -> Result<()> + Send + 'static) -> Content {
    produce_on(|work| drop(tokio::task::spawn_blocking(work)), work)
}

/// As [`produce`], on the thread that `start` hands the work to. Work that is never done is content without an end.
pub fn produce_on(
    start: impl FnOnce(Work),
    work: impl FnOnce(&mut ChunkWriter) -> Result<()> + Send + 'static,
) -> Content {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    start(Box::new(move || {
        let mut writer = ChunkWriter { sender, buffer: BytesMut::new() };
        let result = work(&mut writer)
            .and_then(|()| writer.flush().map_err(|error| Error::io("hand over data", error)));
        if let Err(error) = result {
            // Fails only when nobody reads, and then nobody wants to know.
            writer.sender.blocking_send(Err(error)).ok();
        }
    }));
    let chunks = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    Content::from_stream(chunks, None)
}

/// Gives `stream` to `work` as something to read from, and waits for its result. A stream that breaks off, or a future that is
/// dropped, makes the reader fail: it never looks like the end of the data.
///
/// # Errors
///
/// That of the stream if it failed, else that of `work`.
pub async fn consume<T: Send + 'static>(
    stream: ByteStream,
    work: impl FnOnce(&mut ChunkReader) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let worker = tokio::task::spawn_blocking(move || work(&mut ChunkReader::new(receiver)));
    feed(stream, sender, async { join(worker.await) }).await
}

/// As [`consume`], on the thread that `start` hands the work to.
///
/// # Errors
///
/// As those of [`consume`]; `Unexpected` when the work is not done.
pub async fn consume_on<T: Send + 'static>(
    start: impl FnOnce(Work),
    stream: ByteStream,
    work: impl FnOnce(&mut ChunkReader) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let (tell, told) = oneshot::channel();
    // Nobody is told when nobody waits any more.
    start(Box::new(move || drop(tell.send(work(&mut ChunkReader::new(receiver))))));
    let done =
        async { told.await.unwrap_or_else(|_| Err(Error::unexpected("what was to be done was not done"))) };
    feed(stream, sender, done).await
}

/// Feeds `stream` to the work whose result `done` tells.
async fn feed<T>(
    stream: ByteStream,
    sender: mpsc::Sender<Option<Vec<Bytes>>>,
    done: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut done = std::pin::pin!(done);
    let mut stream = stream.fuse();
    let feed = async {
        while let Some(first) = stream.next().await {
            let (chunks, fault) = gathered(first?, &mut stream);
            if sender.send(Some(chunks)).await.is_err() {
                return Ok(());
            }
            fault?;
        }
        // Fails only when the work has ended already.
        sender.send(None).await.ok();
        Ok(())
    };
    let fed: Result<()> = tokio::select! {
        fed = feed => fed,
        result = &mut done => return result,
    };
    drop(sender);
    let result = done.await;
    fed.and(result)
}

/// What is there of `stream` after its chunk `first`, about one chunk's worth: each handing over may wake a thread.
fn gathered(first: Bytes, stream: &mut Fuse<ByteStream>) -> (Vec<Bytes>, Result<()>) {
    let (mut size, mut chunks) = (first.len(), vec![first]);
    for _ in 1..MOST_GATHERED {
        if size >= CHUNK {
            break;
        }
        match stream.next().now_or_never() {
            Some(Some(Ok(chunk))) => {
                size += chunk.len();
                chunks.push(chunk);
            }
            Some(Some(Err(fault))) => return (chunks, Err(fault)),
            Some(None) | None => break,
        }
    }
    (chunks, Ok(()))
}

fn join<T>(result: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    match result {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::unexpected("the runtime is shutting down").caused_by(error)),
    }
}

/// The writing end of [`produce`].
#[derive(Debug)]
pub struct ChunkWriter {
    sender: mpsc::Sender<Result<Bytes>>,
    buffer: BytesMut,
}

impl ChunkWriter {
    /// Hands a chunk over as it is, after what was written before.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when nobody reads any more.
    pub fn push(&mut self, chunk: Bytes) -> io::Result<()> {
        self.flush()?;
        self.send(chunk)
    }

    fn send(&mut self, chunk: Bytes) -> io::Result<()> {
        self.sender
            .blocking_send(Ok(chunk))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads any more"))
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(CHUNK);
        }
        let count = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        if self.buffer.len() == CHUNK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.buffer).freeze();
        self.send(chunk)
    }
}

/// The reading end of [`consume`].
#[derive(Debug)]
pub struct ChunkReader {
    receiver: mpsc::Receiver<Option<Vec<Bytes>>>,
    chunks: std::vec::IntoIter<Bytes>,
    chunk: Bytes,
    ended: bool,
}

impl ChunkReader {
    fn new(receiver: mpsc::Receiver<Option<Vec<Bytes>>>) -> Self {
        Self { receiver, chunks: Vec::new().into_iter(), chunk: Bytes::new(), ended: false }
    }

    /// The next chunk, which is not empty; none at the end.
    ///
    /// # Errors
    ///
    /// `ConnectionAborted` when the data broke off.
    pub fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        if self.chunk.has_remaining() {
            return Ok(Some(std::mem::take(&mut self.chunk)));
        }
        loop {
            if let Some(chunk) = self.chunks.find(|chunk| !chunk.is_empty()) {
                return Ok(Some(chunk));
            }
            if self.ended {
                return Ok(None);
            }
            match self.receiver.blocking_recv() {
                Some(Some(chunks)) => self.chunks = chunks.into_iter(),
                Some(None) => self.ended = true,
                None => {
                    let message = "the data broke off before its end";
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, message));
                }
            }
        }
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.chunk.has_remaining() {
            match self.next_chunk()? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::size::ByteSize;

    #[tokio::test]
    async fn what_is_produced_is_consumed_whole() {
        let data: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
        let written = data.clone();
        let content =
            produce(move |writer| writer.write_all(&written).map_err(|error| Error::io("write", error)));
        let read = consume(content.into_stream(), |reader| {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map_err(|error| Error::io("read", error))?;
            Ok(all)
        });
        assert_eq!(read.await.unwrap(), data);
    }

    #[tokio::test]
    async fn a_failing_producer_ends_the_stream_with_its_error() {
        let content = produce(|writer| {
            writer.write_all(b"half").map_err(|error| Error::io("write", error))?;
            Err(Error::not_found("the rest"))
        });
        let error = content.into_bytes(ByteSize::mib(1)).await.unwrap_err();
        assert_eq!(error.message(), "the rest");
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_does_not_look_complete() {
        let broken = stream::iter([Ok(Bytes::from_static(b"half")), Err(Error::not_found("the rest"))]);
        let (told, saw) = std::sync::mpsc::channel();
        let result = consume(Box::pin(broken), move |reader| {
            let mut all = Vec::new();
            told.send(reader.read_to_end(&mut all).map_err(|error| error.kind())).unwrap();
            Ok(())
        });
        assert_eq!(result.await.unwrap_err().message(), "the rest");
        assert_eq!(saw.recv().unwrap(), Err(io::ErrorKind::ConnectionAborted));
    }

    #[tokio::test]
    async fn chunks_of_every_size_come_in_their_order_and_empty_ones_not_at_all() {
        let sizes = [0, 1, 300_000, 0, 0, 5, 262_144, 7, 0];
        let chunks = sizes.map(|size| Ok(Bytes::from(vec![size as u8; size])));
        let read = consume(Box::pin(stream::iter(chunks)), |reader| {
            let mut seen = Vec::new();
            while let Some(chunk) = reader.next_chunk().map_err(|error| Error::io("read", error))? {
                seen.push((chunk[0], chunk.len()));
            }
            assert!(reader.next_chunk().unwrap().is_none());
            Ok(seen)
        });
        let whole = sizes.into_iter().filter(|size| *size > 0).map(|size| (size as u8, size));
        assert_eq!(read.await.unwrap(), whole.collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn work_that_ends_early_does_not_wait_for_the_stream() {
        let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[0; 65536])));
        let result = consume(Box::pin(endless), |_| Err::<(), _>(Error::bad_request("enough")));
        assert_eq!(result.await.unwrap_err().message(), "enough");
    }
}
