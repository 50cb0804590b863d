//! What a client hears from servers: the greeting, or frames after an honest one.

#![no_main]

mod other;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use grainchain_core::{Error, Result};
use grainchain_guest::link::{Channel, Dial, Link, LinkConfig, Pipe};
use libfuzzer_sys::fuzz_target;
use other::Input;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::Builder;

/// Dials these pipes, the last one first, and then nobody.
#[derive(Debug)]
struct Pipes(Mutex<Vec<DuplexStream>>);

#[async_trait]
impl Dial for Pipes {
    async fn dial(&self) -> Result<Box<dyn Pipe>> {
        match self.0.lock().expect("no panic").pop() {
            Some(pipe) => Ok(Box::new(pipe)),
            None => Err(Error::not_found("there is no other pipe")),
        }
    }
}

/// Greets as an honest server that has received so many frames, or without its answer. None when the client hangs up.
async fn welcome(pipe: &mut DuplexStream, received: Option<u64>) -> Option<()> {
    let mut theirs = [0; 68];
    pipe.read_exact(&mut theirs).await.ok()?;
    let hello = other::hello();
    let proof = other::prove(&[b"server", &theirs, &hello]);
    pipe.write_all(&[&hello[..], &proof].concat()).await.ok()?;
    pipe.read_exact(&mut [0; 32]).await.ok()?;
    let Some(received) = received else { return Some(()) };
    let answer = [&[1][..], &[3; 16], &received.to_le_bytes(), &8_u32.to_le_bytes(), &[0; 4]].concat();
    pipe.write_all(&answer).await.ok()
}

/// As much of a conversation as a hostile side lets happen.
async fn converse(channel: Channel) {
    let Channel { mut sender, mut receiver } = channel;
    let speak = async {
        for length in [1, 1000, 65536] {
            if sender.send(1, Bytes::from(vec![0; length])).await.is_err() {
                return;
            }
        }
        sender.finish();
    };
    let listen = async { while let Ok(Some(_)) = receiver.next().await {} };
    tokio::join!(speak, listen);
}

async fn run(input: Input<'_>) {
    let (first, second) =
        if input.resumes { input.bytes.split_at(input.bytes.len() / 2) } else { (input.bytes, &[][..]) };
    let ((one, first_server), (two, second_server)) = (duplex(1 << 16), duplex(1 << 16));
    let mut pipes = vec![two, one];
    if !input.resumes {
        // Nobody answers a second call.
        pipes.remove(0);
    }
    let serve = async {
        for (number, (mut pipe, mut bytes)) in
            [(first_server, first), (second_server, second)].into_iter().enumerate()
        {
            let received = if number == 0 { 0 } else { bytes.split_off_first().copied().unwrap_or(0) };
            let received = (!input.dictates).then_some(u64::from(received));
            if input.greeted && welcome(&mut pipe, received).await.is_none() {
                break;
            }
            other::talk(pipe, bytes, input.piece).await;
        }
    };
    let ask = async {
        let config = LinkConfig::new(other::token());
        let Ok((link, _)) = Link::connect(Arc::new(Pipes(Mutex::new(pipes))), config).await else { return };
        let open = |header: &'static [u8]| link.open(Bytes::from_static(header));
        let (Ok(one), Ok(two)) = (open(b"one"), open(b"two")) else { return };
        // Nobody reads the third.
        let _silent = open(b"three");
        tokio::join!(converse(one), converse(two));
        link.close();
        link.lost().await;
    };
    tokio::join!(serve, ask);
}

fuzz_target!(|input: &[u8]| {
    let Some(input) = Input::new(input) else { return };
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(3600), run(input)).await.expect("an end");
    });
});
