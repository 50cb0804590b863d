//! One place where the suite runs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use grainchain_core::{Client, Result, SandboxConfig};
use tokio::sync::OnceCell;

use crate::case::Tool;

type Factory = dyn Fn() -> BoxFuture<'static, Result<Client>> + Send + Sync;
type Probe = dyn Fn(String) -> BoxFuture<'static, Result<usize>> + Send + Sync;

/// The variable that marks, in every command of a case's sandboxes, which case they belong to.
pub(crate) const MARK: &str = "GRAINCHAIN_TESTKIT";

/// One place where the suite runs: a client, what its sandboxes shall be like, and what they offer.
#[derive(Clone)]
pub struct Setup {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    name: String,
    factory: Arc<Factory>,
    client: Arc<OnceCell<Client>>,
    config: SandboxConfig,
    tools: Vec<Tool>,
    probe: Option<Arc<Probe>>,
    watchdog: Option<Duration>,
}

impl Setup {
    /// The set-up `name`, whose client `factory` makes once, when it is first needed.
    pub fn new<F>(name: impl Into<String>, factory: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Client>> + Send + 'static,
    {
        Self {
            shared: Arc::new(Shared {
                name: name.into(),
                factory: Arc::new(move || Box::pin(factory())),
                client: Arc::default(),
                config: SandboxConfig::default(),
                tools: Vec::new(),
                probe: None,
                watchdog: None,
            }),
        }
    }

    /// Sets what every sandbox of the suite is made from: an image, a template, options.
    #[must_use]
    pub fn config(self, config: SandboxConfig) -> Self {
        self.with(|shared| shared.config = config)
    }

    /// Says what is installed in the sandboxes. Cases that need something else are reported as NOT RUN.
    #[must_use]
    pub fn offers(self, tools: impl IntoIterator<Item = Tool>) -> Self {
        self.with(|shared| shared.tools = tools.into_iter().collect())
    }

    /// Sets how to count the processes that carry the variable `GRAINCHAIN_TESTKIT` with a given value. After every case none may
    /// be left.
    #[must_use]
    pub fn probe<F>(self, probe: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<usize>> + Send + 'static,
    {
        self.with(|shared| shared.probe = Some(Arc::new(move |mark| Box::pin(probe(mark)))))
    }

    /// Sets after how long a case counts as hanging, in place of its own 60 or 300 s.
    #[must_use]
    pub fn watchdog(self, limit: Duration) -> Self {
        self.with(|shared| shared.watchdog = Some(limit))
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }

    /// Its name, the first part of every test's.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The client, made at the first call.
    ///
    /// # Errors
    ///
    /// Those of the factory.
    pub async fn client(&self) -> Result<Client> {
        let factory = Arc::clone(&self.shared.factory);
        self.shared.client.get_or_try_init(|| factory()).await.cloned()
    }

    /// Whether `tool` is installed in its sandboxes.
    pub fn has(&self, tool: Tool) -> bool {
        self.shared.tools.contains(&tool)
    }

    /// What every sandbox of the suite is made from.
    pub fn base_config(&self) -> SandboxConfig {
        self.shared.config.clone()
    }

    /// The limit that replaces those of the cases.
    pub(crate) fn own_watchdog(&self) -> Option<Duration> {
        self.shared.watchdog
    }

    /// How many processes carry `mark`, where that can be counted.
    pub(crate) async fn processes_left(&self, mark: &str) -> Option<Result<usize>> {
        let probe = self.shared.probe.as_ref()?;
        Some(probe(mark.to_owned()).await)
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
