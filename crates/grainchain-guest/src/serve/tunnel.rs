//! Connections to what listens in the sandbox.

use std::io;

use bytes::BytesMut;
use grainchain_core::{Effect, Error, ErrorKind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::conversation::Conversation;
use crate::link::Sender;
use crate::message::{Mark, malformed};

pub(super) async fn connect(port: u16, talk: &mut Conversation) -> Result<()> {
    let stream = talk.unless_gone(dial(port)).await?;
    talk.event(&()).await?;
    let (mut sender, mut receiver) = talk.take_halves()?;
    let (mut reading, mut writing) = stream.into_split();
    let out = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(Sender::MAX);
            let read = tokio::select! {
                read = reading.read_buf(&mut buffer) => read,
                () = sender.stopped() => return,
            };
            match read {
                Ok(0) => break sender.finish(),
                Ok(_) => {
                    if sender.send_all(Mark::Data as u8, buffer.split().freeze()).await.is_err() {
                        return;
                    }
                }
                Err(error) => break sender.reset(&error.to_string()),
            }
        }
    };
    let back = async {
        while let Some((mark, bytes)) = receiver.next().await? {
            if mark != Mark::Data as u8 {
                return Err(malformed("something else than data"));
            }
            if let Err(error) = writing.write_all(&bytes).await {
                return Err(Error::io("write to the connection", error));
            }
        }
        writing.shutdown().await.map_err(|error| Error::io("close the connection", error))
    };
    let ((), written) = tokio::join!(out, back);
    written
}

/// Whatever listens on the loopback interface, by either protocol.
async fn dial(port: u16) -> Result<TcpStream> {
    let error = match TcpStream::connect(("127.0.0.1", port)).await {
        Ok(stream) => return Ok(nodelay(stream)),
        Err(error) => error,
    };
    if error.kind() == io::ErrorKind::ConnectionRefused
        && let Ok(stream) = TcpStream::connect(("::1", port)).await
    {
        return Ok(nodelay(stream));
    }
    let message = format!("nothing listens on port {port} of the sandbox");
    Err(Error::new(ErrorKind::Connection, message)
        .hint("start the server first, and let it listen on 127.0.0.1 or on all addresses")
        .effect(Effect::None)
        .caused_by(error))
}

fn nodelay(stream: TcpStream) -> TcpStream {
    // Only speed depends on it.
    stream.set_nodelay(true).ok();
    stream
}
