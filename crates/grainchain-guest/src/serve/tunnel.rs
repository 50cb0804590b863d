//! Connections to what listens in the sandbox.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use grainchain_core::{Effect, Error, ErrorKind, Result};
use tokio::net::TcpStream;

use super::conversation::Conversation;
use crate::tunnel::carry;

pub(super) async fn connect(port: u16, talk: &mut Conversation) -> Result<()> {
    let stream = talk.unless_gone(dial(port)).await?;
    talk.event(&()).await?;
    let (sender, receiver) = talk.take_halves()?;
    let (reading, writing) = stream.into_split();
    carry(reading, writing, sender, receiver).await
}

/// Whatever listens on the loopback interface, by either protocol.
///
/// By address and not by name: a name would bring the C library's resolver into a helper that is linked statically.
async fn dial(port: u16) -> Result<TcpStream> {
    let error = match TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
        Ok(stream) => return Ok(nodelay(stream)),
        Err(error) => error,
    };
    if error.kind() == io::ErrorKind::ConnectionRefused
        && let Ok(stream) = TcpStream::connect(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await
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
