//! How fast a link is, over a pair of Unix sockets: bytes one way, small questions and answers, and those beside a flood.

#![expect(clippy::print_stdout, reason = "a benchmark's result is its output")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use grainchain_core::{Error, Result};
use grainchain_guest::link::{Channel, Dial, Link, LinkConfig, Listener, ListenerConfig, Pipe, Token};
use tokio::net::UnixStream;
use tokio::runtime::Builder;

const FRAME: usize = 64 * 1024;
const TOTAL: usize = 4 << 30;
const QUESTIONS: usize = 20_000;

/// Dials a listener that lives in another thread, as the helper does in another process.
#[derive(Debug)]
struct Sockets {
    listener: Listener,
    server: tokio::runtime::Handle,
}

#[async_trait]
impl Dial for Sockets {
    async fn dial(&self) -> Result<Box<dyn Pipe>> {
        let fault = |error| Error::io("make a pair of sockets", error);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(fault)?;
        ours.set_nonblocking(true).map_err(fault)?;
        theirs.set_nonblocking(true).map_err(fault)?;
        let listener = self.listener.clone();
        self.server.spawn(async move {
            listener.drive(Box::new(UnixStream::from_std(theirs).map_err(fault)?)).await
        });
        Ok(Box::new(UnixStream::from_std(ours).map_err(fault)?))
    }
}

async fn serve(header: Bytes, channel: Channel) -> Result<()> {
    let Channel { mut sender, mut receiver } = channel;
    match &header[..] {
        b"flood" => loop {
            sender.send(0, Bytes::from_static(&[7; FRAME])).await?;
        },
        b"sink" => {
            while receiver.next().await?.is_some() {}
            sender.send(0, Bytes::from_static(b"all")).await?;
        }
        _ => {
            while let Some((mark, bytes)) = receiver.next().await? {
                sender.send(mark, bytes).await?;
            }
        }
    }
    sender.finish();
    Ok(())
}

fn open(link: &Link, header: &'static [u8]) -> Result<Channel> {
    link.open(Bytes::from_static(header))
}

async fn up(link: &Link) -> Result<()> {
    let Channel { mut sender, mut receiver } = open(link, b"sink")?;
    let begun = Instant::now();
    for _ in 0..TOTAL / FRAME {
        sender.send(0, Bytes::from_static(&[7; FRAME])).await?;
    }
    sender.finish();
    receiver.next().await?;
    say("bytes from client to server", begun.elapsed());
    Ok(())
}

async fn down(link: &Link) -> Result<()> {
    let mut channel = open(link, b"flood")?;
    let (begun, mut read) = (Instant::now(), 0);
    while read < TOTAL {
        read += channel.receiver.next().await?.map_or(TOTAL, |(_, bytes)| bytes.len());
    }
    say("bytes from server to client", begun.elapsed());
    Ok(())
}

async fn questions(link: &Link, what: &str) -> Result<()> {
    let mut channel = open(link, b"echo")?;
    let mut times = Vec::with_capacity(QUESTIONS);
    for _ in 0..QUESTIONS {
        let begun = Instant::now();
        channel.sender.send(0, Bytes::from_static(b"sixteen bytes ok")).await?;
        channel.receiver.next().await?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!("{what}: median {:?}, p99 {:?}", times[QUESTIONS / 2], times[QUESTIONS * 99 / 100]);
    Ok(())
}

async fn calls(link: &Link) -> Result<()> {
    let begun = Instant::now();
    for _ in 0..QUESTIONS {
        let Channel { mut sender, mut receiver } = open(link, b"echo")?;
        sender.send(0, Bytes::from_static(b"sixteen bytes ok")).await?;
        sender.finish();
        while receiver.next().await?.is_some() {}
    }
    println!("a channel opened, used and ended: {:?} each", begun.elapsed() / QUESTIONS as u32);
    Ok(())
}

fn say(what: &str, time: Duration) {
    println!("{what}: {:.2} GiB/s", TOTAL as f64 / f64::from(1 << 30) / time.as_secs_f64());
}

fn main() -> Result<()> {
    let token = Token::new(&b"sixteen bytes ok"[..])?;
    let fault = |error| Error::io("start a runtime", error);
    let server = Builder::new_current_thread().enable_all().build().map_err(fault)?;
    let (listener, mut requests) = Listener::new(ListenerConfig::new(token.clone()));
    let handle = server.handle().clone();
    // A runtime of one thread, as in the helper.
    std::thread::spawn(move || {
        server.block_on(async {
            while let Some(request) = requests.recv().await {
                tokio::spawn(serve(request.header, request.channel));
            }
        });
    });
    let client = Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(fault)?;
    client.block_on(async {
        let dial = Arc::new(Sockets { listener, server: handle });
        let (link, _) = Link::connect(dial, LinkConfig::new(token)).await?;
        up(&link).await?;
        down(&link).await?;
        questions(&link, "a small question and its answer").await?;
        calls(&link).await?;
        let flood = open(&link, b"flood")?;
        let mut receiver = flood.receiver;
        let reading = tokio::spawn(async move { while let Ok(Some(_)) = receiver.next().await {} });
        questions(&link, "the same beside a flood that is read").await?;
        reading.abort();
        Ok(())
    })
}
