//! What a case works with.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use grainchain_core::{
    Client, ConfigOption, ErrorKind, ListFilter, Result, Sandbox, SandboxConfig, SandboxId,
};
use tokio::sync::OnceCell;

use crate::check::Outcome;
use crate::poll::until;
use crate::setup::{MARK, Setup};

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// What a case works with: a client of its own and sandboxes that are closed when the case is over, whatever happened.
#[derive(Clone, Debug)]
pub struct Context {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    setup: Setup,
    client: Client,
    mark: String,
    own: OnceCell<Sandbox>,
    opened: Mutex<Vec<Sandbox>>,
}

impl Context {
    pub(crate) async fn new(setup: &Setup) -> Result<Self> {
        let mark = format!("testkit-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let client = setup.client().await?.owner(mark.clone());
        let shared =
            Shared { setup: setup.clone(), client, mark, own: OnceCell::new(), opened: Mutex::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The set-up.
    pub fn setup(&self) -> &Setup {
        &self.shared.setup
    }

    /// The client, whose owner label is this case's alone.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// The label that marks this case's sandboxes, and their processes where variables can be set.
    pub fn mark(&self) -> &str {
        &self.shared.mark
    }

    /// What a sandbox of this case is made from.
    pub fn config(&self) -> SandboxConfig {
        let config = self.shared.setup.base_config();
        if self.honours(ConfigOption::EnvironmentVars) { config.env(MARK, self.mark()) } else { config }
    }

    /// Whether `option` may be given to `create`.
    pub fn honours(&self, option: ConfigOption) -> bool {
        self.client().provider_info().options.contains(&option)
    }

    /// The case's own sandbox, made at the first call.
    ///
    /// # Errors
    ///
    /// Those of `create`.
    pub async fn sandbox(&self) -> Result<Sandbox> {
        self.shared.own.get_or_try_init(|| self.create(self.config())).await.cloned()
    }

    /// One more sandbox.
    ///
    /// # Errors
    ///
    /// Those of `create`.
    pub async fn create(&self, config: SandboxConfig) -> Result<Sandbox> {
        let sandbox = self.client().create(config).await?;
        self.adopt(&sandbox);
        Ok(sandbox)
    }

    /// Has `sandbox`, which came from elsewhere, closed at the end as well.
    pub fn adopt(&self, sandbox: &Sandbox) {
        self.shared.opened.lock().unwrap_or_else(PoisonError::into_inner).push(sandbox.clone());
    }

    /// The ids of this case's sandboxes that the provider still lists.
    ///
    /// # Errors
    ///
    /// Those of `list`.
    pub async fn listed(&self) -> Result<Vec<SandboxId>> {
        let opened: Vec<_> = {
            let opened = self.shared.opened.lock().unwrap_or_else(PoisonError::into_inner);
            opened.iter().map(|sandbox| sandbox.id().clone()).collect()
        };
        let all = self.client().list(ListFilter::default()).await?;
        let own = all.into_iter().filter(|info| {
            opened.contains(&info.id) || info.lease.as_ref().is_some_and(|lease| lease.owner == self.mark())
        });
        Ok(own.map(|info| info.id).collect())
    }

    /// Closes everything and looks whether anything is left.
    pub(crate) async fn finish(&self) -> Outcome {
        let opened = std::mem::take(&mut *self.shared.opened.lock().unwrap_or_else(PoisonError::into_inner));
        let ids: Vec<_> = opened.iter().map(|sandbox| sandbox.id().clone()).collect();
        let mut closed: Outcome = Ok(());
        for sandbox in &opened {
            if let Err(error) = sandbox.close().await {
                closed = Err(format!("closing its sandbox failed: {error:?}").into());
            }
        }
        closed?;
        // What a cancelled create left is ended by the provider or by this, but must be known to it.
        let listed = self.client().list(ListFilter::default()).await?;
        for info in &listed {
            check!(!ids.contains(&info.id), "{} is still listed after it was closed", info.id);
            if info.lease.as_ref().is_some_and(|lease| lease.owner == self.mark()) {
                match self.client().remove(&info.id).await {
                    // Ended just now by whoever began it.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    removed => removed?,
                }
            }
        }
        if self.shared.setup.processes_left(self.mark()).await.is_none() {
            return Ok(());
        }
        until("every process of the case is gone", || async {
            match self.shared.setup.processes_left(self.mark()).await {
                Some(count) => Ok(count? == 0),
                None => Ok(true),
            }
        })
        .await
    }
}
