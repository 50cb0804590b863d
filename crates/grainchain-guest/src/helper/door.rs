//! How clients come in: by the standard streams, and by a socket that only the helper's own user may use.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};

use grainchain_core::{Error, Result};
use tokio::net::UnixListener;
use tokio::net::unix::pipe;

use super::HELPER_USER;
use crate::link::Listener;

/// The socket's name. It is in no folder, so a read-only image has it too; each network namespace has its own.
pub(super) const NAME: &[u8] = b"grainchain-helper";

/// Where the socket is.
pub(super) fn address() -> Result<SocketAddr> {
    SocketAddr::from_abstract_name(NAME).map_err(|error| Error::io("name the helper's socket", error))
}

/// Serves the one who started us and holds our standard streams.
pub(super) async fn serve_stdio(listener: Listener) {
    match stdio() {
        // How it ended shows on the other side, who dials again.
        Ok(streams) => drop(listener.drive(Box::new(streams)).await),
        // A terminal, a file: nobody talks to us here.
        Err(error) => tracing::debug!(%error, "the standard streams are no pipes"),
    }
}

fn stdio() -> io::Result<tokio::io::Join<pipe::Receiver, pipe::Sender>> {
    let (input, output) =
        (io::stdin().as_fd().try_clone_to_owned()?, io::stdout().as_fd().try_clone_to_owned()?);
    let pipes = tokio::io::join(pipe::Receiver::from_owned_fd(input)?, pipe::Sender::from_owned_fd(output)?);
    // The numbers stay taken, so that nothing else that is opened gets them.
    let null: OwnedFd = std::fs::File::options().read(true).write(true).open("/dev/null")?.into();
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(pipes)
}

/// Serves whoever dials, until that is not possible any more.
pub(super) async fn serve_socket(listener: Listener) -> Error {
    let socket = match bind() {
        Ok(socket) => socket,
        Err(error) => return error,
    };
    loop {
        match socket.accept().await {
            Ok((stream, _)) => {
                if stream.peer_cred().is_ok_and(|peer| peer.uid() == HELPER_USER) {
                    let listener = listener.clone();
                    tokio::spawn(async move { listener.drive(Box::new(stream)).await.ok() });
                }
            }
            // Too many files: those that are open end some time.
            Err(error) => {
                tracing::debug!(%error, "a client could not be let in");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

fn bind() -> Result<UnixListener> {
    let fail = |error| Error::io("open the helper's socket", error);
    let socket = StdListener::bind_addr(&address()?).map_err(fail)?;
    socket.set_nonblocking(true).map_err(fail)?;
    UnixListener::from_std(socket).map_err(fail)
}
