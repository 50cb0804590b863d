//! Connections to what listens in the sandbox.

use grainchain_core::Result;
use tokio::io::{DuplexStream, duplex, split};

use super::Remote;
use crate::message::Request;
use crate::tunnel::carry;

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
        tokio::spawn(async move {
            let (reading, writing) = split(theirs);
            // Whoever reads meets the end; nobody is left to hear why.
            carry(reading, writing, sender, receiver).await.ok();
        });
        Ok(ours)
    }
}
