//! Ways in: a command listens on this machine itself, so there is nothing to open.

use async_trait::async_trait;
use grainchain_core::facet::Ports;
use grainchain_core::{Error, PreviewUrl, Result};

use crate::sandbox::LocalSandbox;

#[async_trait]
impl Ports for LocalSandbox {
    async fn preview_url(&self, port: u16) -> Result<PreviewUrl> {
        self.ensure_open()?;
        if port == 0 {
            return Err(Error::bad_request("0 is not a port that anything can listen on")
                .hint("name the port that the program in the sandbox listens on")
                .option("port"));
        }
        Ok(PreviewUrl::new(format!("http://127.0.0.1:{port}"), port))
    }

    // Nothing was opened for the port, so nothing is left to close; the program behind it goes on listening.
    async fn close(&self, _port: u16) -> Result<()> {
        self.ensure_open()
    }
}
