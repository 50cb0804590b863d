//! Ways in: a port of this machine for each port of the sandbox that somebody asks for, carried by the link. No network is needed.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use grainchain_core::facet::Ports;
use grainchain_core::{Error, PreviewUrl, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Inside;

/// The ways into one sandbox, open as long as this lives.
#[derive(Debug)]
pub(crate) struct Ways {
    inside: Arc<Inside>,
    open: Mutex<HashMap<u16, Way>>,
}

/// A port of this machine, and the task that listens there.
#[derive(Debug)]
struct Way {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Ways {
    pub(crate) fn new(inside: Arc<Inside>) -> Self {
        Self { inside, open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u16, Way>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Ports for Ways {
    async fn preview_url(&self, port: u16) -> Result<PreviewUrl> {
        if port == 0 {
            return Err(Error::bad_request("0 is not a port that anything can listen on")
                .hint("name the port that the program in the sandbox listens on")
                .option("port"));
        }
        // Whether the sandbox is there is told now, and not to whoever follows the address.
        self.inside.remote().await?;
        let url = |address: SocketAddr| PreviewUrl::new(format!("http://{address}"), port);
        if let Some(way) = self.lock().get(&port) {
            return Ok(url(way.address));
        }
        let fail = |error| Error::io("open a port of this machine", error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let task = tokio::spawn(listen(listener, Arc::downgrade(&self.inside), port));
        // Somebody else may have opened one meanwhile: then both are right, and this one goes.
        let mut open = self.lock();
        Ok(url(open.entry(port).or_insert(Way { address, task }).address))
    }

    async fn close(&self, port: u16) -> Result<()> {
        self.lock().remove(&port);
        Ok(())
    }
}

/// Carries whoever comes to `port` of the sandbox, until the sandbox's last handle is gone.
async fn listen(listener: TcpListener, inside: Weak<Inside>, port: u16) {
    let mut carried = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "nobody can be let in");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            },
            Some(_) = carried.join_next() => continue,
        };
        let Some(inside) = inside.upgrade() else { return };
        carried.spawn(async move {
            if let Err(error) = carry(stream, &inside, port).await {
                tracing::debug!(%error, port, "a way in has ended");
            }
        });
    }
}

async fn carry(mut stream: TcpStream, inside: &Inside, port: u16) -> Result<()> {
    // Only speed depends on it.
    stream.set_nodelay(true).ok();
    let mut tunnel = inside.remote().await?.tunnel(port).await?;
    copy_bidirectional(&mut stream, &mut tunnel)
        .await
        .map_err(|error| Error::io("carry a connection", error))?;
    Ok(())
}
