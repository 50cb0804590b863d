//! A connection through a channel, the same at both ends of a link.

use bytes::BytesMut;
use grainchain_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::link::{Receiver, Sender};
use crate::message::{Mark, malformed};

/// Carries bytes both ways, each until it has ended by itself. What breaks on one side breaks on the other.
///
/// # Errors
///
/// When what arrived through the channel could not be passed on to its end.
pub(crate) async fn carry(
    mut reading: impl AsyncRead + Unpin,
    mut writing: impl AsyncWrite + Unpin,
    mut sender: Sender,
    mut receiver: Receiver,
) -> Result<()> {
    let there = async move {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(Sender::MAX);
            let read = tokio::select! {
                read = reading.read_buf(&mut buffer) => read,
                () = sender.stopped() => return,
            };
            match read {
                Ok(0) => return sender.finish(),
                Ok(_) => {
                    if sender.send_all(Mark::Data as u8, buffer.split().freeze()).await.is_err() {
                        return;
                    }
                }
                Err(error) => return sender.reset(&error.to_string()),
            }
        }
    };
    // It owns the receiver, so that its end tells the other side to stop at once.
    let back = async move {
        let passed = pass(&mut receiver, &mut writing).await;
        let closed = writing.shutdown().await.map_err(|error| Error::io("close the connection", error));
        passed.and(closed)
    };
    tokio::join!(there, back).1
}

async fn pass(receiver: &mut Receiver, writing: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
    while let Some((mark, bytes)) = receiver.next().await? {
        if mark != Mark::Data as u8 {
            return Err(malformed("something else than data"));
        }
        writing.write_all(&bytes).await.map_err(|error| Error::io("write to the connection", error))?;
    }
    Ok(())
}
