//! Networks: joined and left by containers, also while they run.

use bollard::models::{NetworkConnectRequest, NetworkDisconnectRequest};
use grainchain_core::Result;

use super::containers::escape;
use super::{CONTROL, Engine, ask};

impl Engine {
    /// `POST /networks/{network}/connect`: no error when the container is in it. 400 while it is in `none`, 404 when there is no such
    /// network or container.
    pub(crate) async fn join(&self, network: &str, container: &str) -> Result<()> {
        let request = NetworkConnectRequest { container: container.to_owned(), endpoint_config: None };
        let path = escape(network);
        match ask("join the network", CONTROL, self.docker.connect_network(&path, request)).await {
            Err(error) if error.message().contains("already exists in network") => Ok(()),
            joined => joined,
        }
    }

    /// `POST /networks/{network}/disconnect`: no error when the container is not in it.
    pub(crate) async fn leave(&self, network: &str, container: &str) -> Result<()> {
        let request = NetworkDisconnectRequest { container: container.to_owned(), force: Some(true) };
        let path = escape(network);
        match ask("leave the network", CONTROL, self.docker.disconnect_network(&path, request)).await {
            Err(error) if error.message().contains("is not connected to") => Ok(()),
            left => left,
        }
    }
}
