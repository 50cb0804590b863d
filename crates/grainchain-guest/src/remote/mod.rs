//! The client's half: the facets of a sandbox whose helper is at the other end of a link.

mod archive;
mod call;
mod code;
mod exec;
mod files;
mod kept;
mod metrics;
mod processes;
#[cfg(test)]
mod tests;
mod tunnel;
mod watch;

use std::time::Duration;

use grainchain_core::{Error, Result};

use self::call::Call;
pub use self::kept::Held;
use crate::link::Link;
use crate::message::{Control, Request, SandboxState};

/// A sandbox behind a link. Implements the facets; clones share the link.
///
/// Everything behaves as if the guest were in this process: dropping a future cancels what it asked for, a slow reader holds up its own
/// command, errors arrive whole. When the link is lost for good, what was under way answers `Connection`.
#[derive(Clone, Debug)]
pub struct Remote {
    link: Link,
}

impl Remote {
    /// The facets over `link`.
    pub fn new(link: Link) -> Self {
        Self { link }
    }

    /// What they travel over.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// How the sandbox is, seen from inside.
    ///
    /// # Errors
    ///
    /// `Connection` when the link is lost.
    pub async fn state(&self) -> Result<SandboxState> {
        self.control(Control::State).await
    }

    /// Lets the sandbox live for `lifetime` from now, or without limit.
    ///
    /// # Errors
    ///
    /// `Connection` when the link is lost, and what the helper refuses.
    pub async fn set_lifetime(&self, lifetime: Option<Duration>) -> Result<SandboxState> {
        self.control(Control::SetLifetime(lifetime)).await
    }

    /// Ends everything in the sandbox, and the helper.
    ///
    /// # Errors
    ///
    /// `Connection` when the link is lost.
    pub async fn shutdown(&self) -> Result<()> {
        self.control(Control::Shutdown).await.map(drop)
    }

    async fn control(&self, control: Control) -> Result<SandboxState> {
        self.call(&Request::Control(control)).await?.finish().answer().await
    }

    /// Asks for something. Nothing is waited for but room.
    async fn call(&self, request: &Request) -> Result<Call, Error> {
        Call::begin(&self.link, request).await
    }
}
