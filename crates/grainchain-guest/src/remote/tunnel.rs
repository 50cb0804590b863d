//! Connections to what listens in the sandbox.

use bytes::BytesMut;
use grainchain_core::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};

use super::Remote;
use crate::link::{Receiver, Sender};
use crate::message::{Mark, Request};

/// How much waits between the link and whoever reads.
const BUFFER: usize = 256 * 1024;

impl Remote {
    /// A connection to `port` of the sandbox's own loopback interface: no network is needed for it. Each way ends by itself.
    ///
    /// # Errors
    ///
    /// `Connection` when nothing listens there.
    pub async fn tunnel(&self, port: u16) -> Result<DuplexStream> {
        let mut call = self.call(&Request::Connect { port }).await?;
        call.event::<()>().await?;
        let (sender, receiver) = call.into_halves()?;
        let (ours, theirs) = duplex(BUFFER);
        tokio::spawn(carry(theirs, sender, receiver));
        Ok(ours)
    }
}

/// Carries bytes both ways until both have ended. What breaks on one side breaks on the other.
async fn carry(pipe: DuplexStream, mut sender: Sender, mut receiver: Receiver) {
    let (mut reading, mut writing) = split(pipe);
    let there = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(Sender::MAX);
            let read = tokio::select! {
                read = reading.read_buf(&mut buffer) => read,
                () = sender.stopped() => return,
            };
            match read {
                Ok(0) => break sender.finish(),
                Ok(_) if sender.send_all(Mark::Data as u8, buffer.split().freeze()).await.is_ok() => {}
                Ok(_) | Err(_) => return,
            }
        }
    };
    let back = async {
        while let Ok(Some((mark, bytes))) = receiver.next().await {
            if mark != Mark::Data as u8 || writing.write_all(&bytes).await.is_err() {
                break;
            }
        }
        // Whoever reads meets the end; nobody is left to hear that there is nobody.
        writing.shutdown().await.ok();
    };
    tokio::join!(there, back);
}
