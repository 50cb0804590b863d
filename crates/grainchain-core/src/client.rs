//! The way to one provider: creates, finds, lists and cleans up sandboxes.

mod bounded;
mod gc;
mod scope;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

pub use gc::{GcAction, GcEntry, GcOptions, GcReport};

use bounded::Bounded;

use crate::capabilities::Capabilities;
use crate::deadline::Deadlines;
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::facet::{SnapshotCatalog, Templates, Volumes};
use crate::layer::{Correctness, Layer, Scope, fold};
use crate::operation::Operation;
use crate::provider::{CreateRequest, DryRun, Health, Parts, Provider, ProviderInfo, Removal, RemoveIf};
use crate::sandbox::Sandbox;
use crate::types::id::{SandboxId, random_id};
use crate::types::info::{ListFilter, SandboxInfo};
use crate::types::sandbox_config::SandboxConfig;

/// The way to one provider. Cheap to clone; a clone with another layer or deadline leaves its original as it was.
///
/// # Cancel safety
///
/// Dropping the future of a method that only looks leaves nothing behind. Removing and cleaning up may be carried out or not when
/// the future is dropped or the deadline passes; do it again.
#[derive(Clone)]
pub struct Client {
    bare: Arc<dyn Provider>,
    provider: Arc<dyn Provider>,
    layers: Vec<Arc<dyn Layer>>,
    shared: Arc<Shared>,
}

#[derive(Clone, Debug)]
struct Shared {
    info: ProviderInfo,
    deadlines: Deadlines,
    owner: String,
    defaults: SandboxConfig,
}

impl Client {
    /// A client of `provider` with the layer [`Correctness`] and default deadlines.
    pub fn new(provider: impl Provider) -> Self {
        Self::from_arc(Arc::new(provider))
    }

    /// As [`new`](Self::new), for a provider chosen at run time.
    pub fn from_arc(provider: Arc<dyn Provider>) -> Self {
        let shared = Shared {
            info: provider.info(),
            deadlines: Deadlines::default(),
            owner: random_id("client"),
            defaults: SandboxConfig::default(),
        };
        Self { provider: Arc::clone(&provider), bare: provider, layers: Vec::new(), shared: Arc::new(shared) }
            .layer(Correctness)
    }

    /// Puts `layer` around everything so far.
    #[must_use]
    pub fn layer(mut self, layer: impl Layer) -> Self {
        self.layers.push(Arc::new(layer));
        self.provider = self.layers.iter().fold(Arc::clone(&self.bare), |inner, layer| layer.provider(inner));
        self
    }

    /// Sets how long operations may take.
    #[must_use]
    pub fn deadlines(self, deadlines: Deadlines) -> Self {
        self.with(|shared| shared.deadlines = deadlines)
    }

    /// Sets the label that this client's sandboxes carry; a random one by default.
    #[must_use]
    pub fn owner(self, owner: impl Into<String>) -> Self {
        self.with(|shared| shared.owner = owner.into())
    }

    /// Sets what [`default_config`](Self::default_config) answers: the `[sandbox_defaults]` of a configuration file.
    #[must_use]
    pub fn defaults(self, defaults: SandboxConfig) -> Self {
        self.with(|shared| shared.defaults = defaults)
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }

    /// The configured defaults, to change and pass to [`create`](Self::create).
    pub fn default_config(&self) -> SandboxConfig {
        self.shared.defaults.clone()
    }

    /// The provider's name, options and capabilities.
    pub fn provider_info(&self) -> &ProviderInfo {
        &self.shared.info
    }

    /// What sandboxes of this provider can do at best.
    pub fn capabilities(&self) -> &Capabilities {
        &self.shared.info.capabilities
    }

    /// Asks whether the provider could make a sandbox now.
    ///
    /// # Errors
    ///
    /// The reason why not, with the remedy.
    pub async fn check(&self) -> Result<Health> {
        self.run(Operation::Check, None, self.provider.check()).await
    }

    /// Makes a sandbox. [`SandboxConfig::default`] is taken as it stands; [`default_config`](Self::default_config) has the
    /// configured defaults.
    ///
    /// When the answer is lost, the sandbox that may have been made is looked up and adopted, never made twice.
    ///
    /// # Errors
    ///
    /// `BadRequest` or `Unsupported` name the option that cannot be honoured; others as the provider's page says.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a sandbox behind, which ends with its lease; [`scope`](Self::scope) does not.
    pub async fn create(&self, config: SandboxConfig) -> Result<Sandbox> {
        let timeout = config.timeout;
        let request = CreateRequest::new(config, random_id("key"), self.shared.owner.clone());
        let key = request.key.clone();
        let deadline = self.shared.deadlines.provision;
        let begun = Instant::now();
        // The last part of the deadline is for looking up what a lost answer may have made.
        let making = tokio::time::timeout(deadline - deadline / 10, self.provider.create(request))
            .map(|made| made.unwrap_or_else(|_| Err(overdue(deadline))));
        let parts = match self.run(Operation::Create, None, making).await {
            Ok(parts) => parts,
            Err(error) => self.adopt(&key, error, deadline.saturating_sub(begun.elapsed())).await?,
        };
        Ok(self.sandbox(parts, timeout))
    }

    /// Finds within `limit` what a `create` whose answer was lost may have made.
    async fn adopt(&self, key: &str, error: Error, limit: Duration) -> Result<Parts> {
        let lost = matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout | ErrorKind::Server);
        if !lost || error.what_happened() == Effect::None {
            return Err(error);
        }
        let look_up = async {
            let filter = ListFilter::default().key(key);
            let found = self.run(Operation::List, None, self.provider.list(filter)).await.ok()?;
            let [only] = found.as_slice() else { return None };
            Some(self.run(Operation::Connect, Some(&only.id), self.provider.connect(&only.id)).await)
        };
        match tokio::time::timeout(limit, look_up).await {
            Ok(Some(adopted)) => adopted,
            Ok(None) | Err(_) => Err(error),
        }
    }

    /// Finds a sandbox by id, also one that another program made.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is none.
    pub async fn connect(&self, id: impl Into<SandboxId>) -> Result<Sandbox> {
        let id = id.into();
        let parts = self.run(Operation::Connect, Some(&id), self.provider.connect(&id)).await?;
        Ok(self.sandbox(parts, self.shared.defaults.timeout))
    }

    /// The sandboxes that match; all with [`ListFilter::default`].
    ///
    /// # Errors
    ///
    /// When the provider cannot be asked.
    pub async fn list(&self, filter: ListFilter) -> Result<Vec<SandboxInfo>> {
        self.run(Operation::List, None, self.provider.list(filter)).await
    }

    /// Ends a sandbox that need not be in a state to connect to.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is none.
    pub async fn remove(&self, id: &SandboxId) -> Result<()> {
        match self.remove_if(id, RemoveIf::Always).await? {
            Removal::Removed => Ok(()),
            Removal::Kept => Err(self.complete(kept_without_a_reason(), Operation::RemoveSandbox, Some(id))),
        }
    }

    /// As [`remove`](Self::remove), if `condition` holds at that moment: a client that connects meanwhile loses nothing.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is none. That the condition does not hold is no error.
    pub async fn remove_if(&self, id: &SandboxId, condition: RemoveIf) -> Result<Removal> {
        self.run(Operation::RemoveSandbox, Some(id), self.provider.remove(id, condition)).await
    }

    async fn sweep(&self, dry_run: DryRun) -> Result<Vec<String>> {
        self.run(Operation::Sweep, None, self.provider.sweep(dry_run)).await
    }

    /// The provider's prepared machines.
    ///
    /// # Errors
    ///
    /// `Unsupported` when it has none.
    pub fn templates(&self) -> Result<Arc<dyn Templates>> {
        let facet = self.provider.templates().ok_or_else(|| self.lacks(crate::Capability::Templates))?;
        Ok(Bounded::new(self).templates(&self.scope_of_facets(), facet))
    }

    /// The provider's snapshots across sandboxes.
    ///
    /// # Errors
    ///
    /// `Unsupported` when they cannot be listed so.
    pub fn snapshot_catalog(&self) -> Result<Arc<dyn SnapshotCatalog>> {
        let facet =
            self.provider.snapshot_catalog().ok_or_else(|| self.lacks(crate::Capability::SnapshotCatalog))?;
        Ok(Bounded::new(self).snapshot_catalog(&self.scope_of_facets(), facet))
    }

    /// The provider's volumes.
    ///
    /// # Errors
    ///
    /// `Unsupported` when it has none.
    pub fn volumes(&self) -> Result<Arc<dyn Volumes>> {
        let facet = self.provider.volumes().ok_or_else(|| self.lacks(crate::Capability::Volumes))?;
        Ok(Bounded::new(self).volumes(&self.scope_of_facets(), facet))
    }

    fn scope_of_facets(&self) -> Scope {
        let ProviderInfo { name, capabilities, .. } = &self.shared.info;
        Scope { provider: name, sandbox: None, capabilities: Arc::new(capabilities.clone()) }
    }

    fn lacks(&self, capability: crate::Capability) -> Error {
        capability.unsupported().provider(self.shared.info.name)
    }

    /// Wraps what a provider handed over.
    pub(crate) fn sandbox(&self, parts: Parts, timeout: Option<Duration>) -> Sandbox {
        Sandbox::new(self.clone(), parts, timeout)
    }

    /// Puts the layers around `parts`.
    pub(crate) fn wrap(&self, parts: Parts) -> Parts {
        fold(self.shared.info.name, &self.layers, parts)
    }

    /// The deadlines of this client's operations.
    pub fn current_deadlines(&self) -> &Deadlines {
        &self.shared.deadlines
    }

    /// Enforces the deadline of `operation` on `work` and completes its error.
    pub(crate) async fn run<T>(
        &self,
        operation: Operation,
        sandbox: Option<&SandboxId>,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.run_within(operation, sandbox, self.shared.deadlines.of(operation), work).await
    }

    /// As [`run`](Self::run), within a limit of its own.
    pub(crate) async fn run_within<T>(
        &self,
        operation: Operation,
        sandbox: Option<&SandboxId>,
        limit: Option<Duration>,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let result = match limit {
            None => work.await,
            Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(overdue(limit))),
        };
        result.map_err(|error| self.complete(error, operation, sandbox))
    }

    /// Adds to an error what everyone below did not have to.
    pub(crate) fn complete(&self, error: Error, operation: Operation, sandbox: Option<&SandboxId>) -> Error {
        let error = error.operation(operation).provider(self.shared.info.name);
        match sandbox {
            Some(sandbox) => error.sandbox(sandbox),
            None => error,
        }
    }
}

fn kept_without_a_reason() -> Error {
    Error::unexpected("the provider has kept the sandbox").hint("list the sandboxes to see how it is")
}

/// The error of an operation that did not answer within `limit`.
pub(crate) fn overdue(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("no answer within the deadline of {limit:?}"))
        .hint("look whether it was carried out, or raise the client's deadlines")
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("provider", &self.shared.info.name)
            .field("layers", &self.layers)
            .field("owner", &self.shared.owner)
            .finish_non_exhaustive()
    }
}
