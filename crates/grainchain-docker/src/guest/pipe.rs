//! The standard streams of a process in a container as one pipe.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::dial::{Complaints, note};
use crate::engine::{Frames, Hijacked, Pipe, Stream};

/// How much is read at once: two of the engine's largest frames.
const CHUNK: usize = 64 * 1024;

/// A process's output to read from and its input to write to. What it says on its standard error is kept beside the pipe.
pub(crate) struct FramedPipe {
    pipe: Box<dyn Pipe>,
    frames: Frames,
    buffer: BytesMut,
    ready: Bytes,
    complaints: Complaints,
}

impl FramedPipe {
    /// A pipe over a connection that the engine let go of.
    pub(crate) fn new(hijacked: Hijacked, complaints: Complaints) -> Self {
        let Hijacked { pipe, early } = hijacked;
        Self { pipe, frames: Frames::default(), buffer: early, ready: Bytes::new(), complaints }
    }
}

impl std::fmt::Debug for FramedPipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FramedPipe").finish_non_exhaustive()
    }
}

impl AsyncRead for FramedPipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.ready.is_empty() {
                let count = this.ready.len().min(into.remaining());
                into.put_slice(&this.ready[..count]);
                this.ready.advance(count);
                return Poll::Ready(Ok(()));
            }
            match this.frames.next(&mut this.buffer).map_err(io::Error::other)? {
                Some(piece) => match piece.stream {
                    Stream::Stdout => this.ready = piece.bytes,
                    Stream::Stderr => {
                        tracing::debug!(said = %String::from_utf8_lossy(&piece.bytes), "the guest complains");
                        note(&this.complaints, &piece.bytes);
                    }
                    Stream::Engine => {
                        return Poll::Ready(Err(io::Error::other(
                            String::from_utf8_lossy(&piece.bytes).into_owned(),
                        )));
                    }
                },
                None => {
                    this.buffer.reserve(CHUNK);
                    if ready!(poll_read_buf(Pin::new(&mut this.pipe), cx, &mut this.buffer))? == 0 {
                        return Poll::Ready(if this.frames.is_whole(&this.buffer) {
                            Ok(())
                        } else {
                            Err(io::ErrorKind::UnexpectedEof.into())
                        });
                    }
                }
            }
        }
    }
}

impl AsyncWrite for FramedPipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn frame(stream: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0], &length[..], bytes].concat()
    }

    #[tokio::test]
    async fn only_the_output_is_read_whatever_lies_between_and_what_is_written_stays_as_it_is() {
        let (near, mut far) = duplex(7);
        let early = BytesMut::from(&frame(1, b"hel")[..]);
        let mut pipe = FramedPipe::new(Hijacked { pipe: Box::new(near), early }, Complaints::default());
        let talk = async {
            far.write_all(&[frame(2, b"a complaint"), frame(1, b"lo "), frame(1, b"there")].concat())
                .await
                .unwrap();
            let mut heard = [0; 6];
            far.read_exact(&mut heard).await.unwrap();
            far.shutdown().await.unwrap();
            heard
        };
        let listen = async {
            pipe.write_all(b"answer").await.unwrap();
            let mut all = String::new();
            pipe.read_to_string(&mut all).await.unwrap();
            all
        };
        let (heard, all) = tokio::join!(talk, listen);
        assert_eq!((&heard, all.as_str()), (b"answer", "hello there"));
    }

    #[tokio::test]
    async fn an_end_within_a_frame_is_no_end() {
        let (near, mut far) = duplex(64);
        let mut pipe =
            FramedPipe::new(Hijacked { pipe: Box::new(near), early: BytesMut::new() }, Complaints::default());
        far.write_all(&frame(1, b"hello")[..10]).await.unwrap();
        drop(far);
        let error = pipe.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
