//! What a link runs over, and how it gets another one.

use std::fmt::Debug;

use async_trait::async_trait;
use grainchain_core::Result;
use tokio::io::{AsyncRead, AsyncWrite};

/// Any ordered pair of byte streams: a socket, an attached container, the two ends of a process.
pub trait Pipe: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Pipe for T {}

/// Opens pipes to one other side, another one whenever the last has broken.
#[async_trait]
pub trait Dial: Debug + Send + Sync + 'static {
    /// A fresh pipe to the same other side.
    async fn dial(&self) -> Result<Box<dyn Pipe>>;

    /// Waits while the other side stands still and could not answer. A link's patience does not run out meanwhile.
    async fn awake(&self) {}
}
