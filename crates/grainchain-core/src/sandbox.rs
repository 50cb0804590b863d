//! A living sandbox as its users hold it.

mod code;
mod execute;
mod files;
mod state;
mod transfer;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

pub use code::RunningCode;
pub use execute::{Execute, Spawn};
pub use transfer::{DirTransfer, TransferProgress};

use crate::capabilities::{Capabilities, Capability};
use crate::client::Client;
use crate::error::Result;
use crate::operation::Operation;
use crate::provider::Parts;
use crate::types::id::SandboxId;

/// A living sandbox: runs commands and code, moves files, snapshots, ends.
///
/// A handle: cheap to clone, and dropping it does nothing. [`close`](Self::close) ends the sandbox;
/// [`Client::scope`](crate::Client::scope) closes it whatever happens.
///
/// # Cancel safety
///
/// Dropping the future of a method that only looks leaves nothing behind. Of one that changes something, and says nothing else, it
/// ends the waiting alone: the change may be made or not, and looking tells which. That is so at a deadline too.
#[derive(Clone)]
pub struct Sandbox {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    id: SandboxId,
    // A restore or wake-up may replace the machine underneath; the handle stays valid by swapping the parts.
    parts: RwLock<Arc<Parts>>,
    timeout: Option<Duration>,
}

impl Sandbox {
    pub(crate) fn new(client: Client, parts: Parts, timeout: Option<Duration>) -> Self {
        let parts = client.wrap(parts);
        let id = parts.id.clone();
        Self { shared: Arc::new(Shared { client, id, parts: RwLock::new(Arc::new(parts)), timeout }) }
    }

    /// Its id at the provider, for [`Client::connect`](crate::Client::connect).
    pub fn id(&self) -> &SandboxId {
        &self.shared.id
    }

    /// The provider's name.
    pub fn provider(&self) -> &'static str {
        self.shared.client.provider_info().name
    }

    /// The client that it came from.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// What works here, after layers.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities::of(&self.parts())
    }

    /// The facets, with all layers around them.
    pub(crate) fn parts(&self) -> Arc<Parts> {
        Arc::clone(&self.shared.parts.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Swaps in the facets of a machine that replaced the one underneath.
    fn replace(&self, parts: Option<Parts>) {
        if let Some(parts) = parts {
            let parts = Arc::new(self.shared.client.wrap(parts));
            *self.shared.parts.write().unwrap_or_else(PoisonError::into_inner) = parts;
        }
    }

    /// The timeout of commands that name none.
    pub fn default_timeout(&self) -> Option<Duration> {
        self.shared.timeout
    }

    /// Picks an optional facet, or says that it is not there and what to use instead.
    fn need<F: ?Sized>(
        &self,
        operation: Operation,
        capability: Capability,
        pick: impl FnOnce(&Parts) -> Option<&Arc<F>>,
    ) -> Result<Arc<F>> {
        pick(&self.parts())
            .map(Arc::clone)
            .ok_or_else(|| self.shared.client.complete(capability.unsupported(), operation, Some(self.id())))
    }

    /// Refuses when `capability` within a facet is not there.
    fn require(&self, operation: Operation, capability: Capability) -> Result<()> {
        self.capabilities()
            .require(capability)
            .map_err(|error| self.shared.client.complete(error, operation, Some(self.id())))
    }

    /// Enforces the deadline of `operation` on `work` and completes its error.
    async fn run<T>(&self, operation: Operation, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.shared.client.run(operation, Some(self.id()), work).await
    }

    /// As [`run`](Self::run), within a limit of its own.
    async fn run_within<T>(
        &self,
        operation: Operation,
        limit: Option<Duration>,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.shared.client.run_within(operation, Some(self.id()), limit, work).await
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("id", self.id())
            .field("provider", &self.provider())
            .finish_non_exhaustive()
    }
}
