//! Both ends in one process, over pipes that can be cut.

mod attacks;
mod channels;
mod frames;
mod goodbyes;
mod resuming;
mod servers;
mod state;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use grainchain_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use super::{Channel, Dial, Link, LinkConfig, Listener, ListenerConfig, Pipe, Token};

/// Of paused time: whatever takes longer hangs.
const HOUR: Duration = Duration::from_secs(3600);

fn token() -> Token {
    Token::new(&b"0123456789abcdef"[..]).expect("long enough")
}

fn config() -> LinkConfig {
    LinkConfig::new(token())
}

/// Dials a listener of the same process. Its pipes break after a number of bytes, each after the next number of a list.
#[derive(Debug)]
struct Dialer {
    listener: Listener,
    /// After how many bytes, written by either side, each pipe breaks; those beyond the list never do.
    cuts: Vec<usize>,
    dialled: AtomicUsize,
}

impl Dialer {
    fn new(listener: &Listener, cuts: impl Into<Vec<usize>>) -> Arc<Self> {
        Arc::new(Self { listener: listener.clone(), cuts: cuts.into(), dialled: AtomicUsize::new(0) })
    }

    fn dialled(&self) -> usize {
        self.dialled.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Dial for Dialer {
    async fn dial(&self) -> Result<Box<dyn Pipe>> {
        let number = self.dialled.fetch_add(1, Ordering::Relaxed);
        let left = Arc::new(AtomicUsize::new(self.cuts.get(number).copied().unwrap_or(usize::MAX)));
        let (ours, theirs) = duplex(64 * 1024);
        let listener = self.listener.clone();
        let theirs = Cut { inner: theirs, left: Arc::clone(&left) };
        tokio::spawn(async move { listener.drive(Box::new(theirs)).await });
        Ok(Box::new(Cut { inner: ours, left }))
    }
}

/// One end of a pipe that carries so many bytes and then is broken for both.
struct Cut {
    inner: DuplexStream,
    left: Arc<AtomicUsize>,
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let inner = Pin::new(&mut self.inner).poll_read(cx, into);
        if inner.is_pending() && self.left.load(Ordering::Relaxed) == 0 {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
        }
        inner
    }
}

impl AsyncWrite for Cut {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        let most = bytes.len().min(left);
        let written = Pin::new(&mut self.inner).poll_write(cx, &bytes[..most]);
        if let Poll::Ready(Ok(count)) = written
            && left != usize::MAX
        {
            self.left.store(left - count, Ordering::Relaxed);
            if left == count {
                // The other end may be waiting: what was written arrives, then nothing more.
                return Pin::new(&mut self.inner).poll_shutdown(cx).map(|result| result.map(|()| count));
            }
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A listener whose channels do what their header says.
fn server(config: ListenerConfig) -> Listener {
    let (listener, mut requests) = Listener::new(config);
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            tokio::spawn(serve(request.header, request.channel));
        }
    });
    listener
}

async fn serve(header: Bytes, channel: Channel) -> Result<()> {
    let Channel { mut sender, mut receiver } = channel;
    match &header[..] {
        b"echo" => {
            while let Some((mark, bytes)) = receiver.next().await? {
                sender.send(mark, bytes).await?;
            }
            sender.finish();
        }
        b"flood" => loop {
            sender.send(0, Bytes::from_static(&[7; 65536])).await?;
        },
        // Says how the sender ended, when it has.
        b"end" => {
            let end = loop {
                match receiver.next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => break "finished".to_owned(),
                    Err(error) => break error.message().to_owned(),
                }
            };
            sender.send(0, end.into()).await?;
            sender.finish();
        }
        b"refuse" => sender.reset("no such thing"),
        b"deaf" => {
            drop(receiver);
            sender.send(0, Bytes::from_static(b"deaf")).await?;
            sender.stopped().await;
        }
        // Neither reads nor writes.
        _ => sender.stopped().await,
    }
    Ok(())
}

async fn connect(listener: &Listener) -> Link {
    Link::connect(Dialer::new(listener, []), config()).await.expect("a listener that knows us").0
}

fn open(link: &Link, header: &'static str) -> Channel {
    link.open(Bytes::from_static(header.as_bytes())).expect("an open link")
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}
