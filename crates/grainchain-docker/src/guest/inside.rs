//! The facets of a sandbox with a helper: each asks the helper, over a link that is there when it is needed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use grainchain_core::{
    CodeStream, Command, Content, ContextId, ContextInfo, CreateContext, Effect, FileInfo, ListFiles,
    MakeDir, MetricsSample, Output, Pack, Process, ProcessId, ProcessInfo, ReadFile, Remove, Rename, Result,
    RunCode, Stat, Unpack, UnpackSummary, WatchPath, WatchStream, WriteFile, facet,
};
use grainchain_guest::Remote;
use grainchain_guest::link::{Link, LinkConfig, Token};
use tokio::sync::Mutex as TurnMutex;

use super::EngineDial;
use super::dial::paused;
use crate::asleep;
use crate::engine::{ContainerState, Engine};
use crate::stills::Still;

/// How long a helper may take to answer that it ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// One container's inside.
#[derive(Debug)]
pub(crate) struct Inside {
    engine: Engine,
    container: String,
    token: Token,
    still: Still,
    remote: Mutex<Option<Arc<Remote>>>,
    /// Held by whoever dials: the others wait for that.
    dialling: TurnMutex<()>,
}

impl Inside {
    /// The inside of `container`, which is dialled when it is needed first.
    pub(crate) fn new(engine: Engine, container: String, token: &str, still: Still) -> Result<Arc<Self>> {
        let token = Token::new(token.as_bytes().to_vec())?;
        let (remote, dialling) = (Mutex::default(), TurnMutex::default());
        Ok(Arc::new(Self { engine, container, token, still, remote, dialling }))
    }

    /// Starts the container with the id `started`, which was made and will be called `container`, and speaks to it over its own streams: no
    /// exec is needed.
    ///
    /// # Errors
    ///
    /// The engine's refusal, and what the helper complained of.
    pub(crate) async fn start(
        engine: &Engine,
        started: &str,
        container: &str,
        token: &str,
        still: Still,
    ) -> Result<Arc<Self>> {
        let this = Self::new(engine.clone(), container.to_owned(), token, still)?;
        let dial = EngineDial::attach(engine.clone(), started, container.to_owned()).await?;
        engine.start(started).await?;
        let dial = Arc::new(dial);
        let remote = this.link(Arc::clone(&dial)).await?;
        if dial.find_shortcut().await {
            remote.link().renew();
        }
        Ok(this)
    }

    async fn link(&self, dial: Arc<EngineDial>) -> Result<Arc<Remote>> {
        let connect = || Link::connect(Arc::<EngineDial>::clone(&dial), LinkConfig::new(self.token.clone()));
        let linked = match connect().await {
            // Whoever took the connection did not greet as the helper does: the engine's way is next.
            Err(_) if dial.was_socket() => connect().await,
            linked => linked,
        };
        let (link, _words) = linked.map_err(|error| dial.explained(error).effect(Effect::None))?;
        let remote = Arc::new(Remote::new(link));
        *self.lock() = Some(Arc::clone(&remote));
        Ok(remote)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Remote>>> {
        self.remote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn present(&self) -> Option<Arc<Remote>> {
        self.lock().as_ref().filter(|remote| !remote.link().is_lost()).cloned()
    }

    /// The helper: over the link that there is, or over a new one.
    pub(crate) async fn remote(&self) -> Result<Arc<Remote>> {
        if self.still.try_read().is_ok_and(|is_paused| *is_paused) {
            self.ensure_awake().await?;
        }
        if let Some(remote) = self.present() {
            return Ok(remote);
        }
        let _turn = self.dialling.lock().await;
        if let Some(remote) = self.present() {
            return Ok(remote);
        }
        self.link(Arc::new(EngineDial::new(self.engine.clone(), self.container.clone()))).await
    }

    /// Refuses a paused sandbox, which could not answer. Somebody else may have resumed it.
    async fn ensure_awake(&self) -> Result<()> {
        let found = asleep::awake(&self.engine, &self.container).await?;
        if found.state == ContainerState::Paused {
            return Err(paused());
        }
        *self.still.write().await = false;
        Ok(())
    }

    /// Forgets the link that there is, whose other side has ended.
    pub(crate) fn forget(&self) {
        drop(self.lock().take());
    }

    /// Tells the helper at the other end of the link, if there is one, to end with everything in its sandbox. Whether it will.
    pub(crate) async fn shut_down(&self) -> bool {
        let Some(remote) = self.lock().take().filter(|remote| !remote.link().is_lost()) else { return false };
        let told = tokio::time::timeout(LAST_WORDS, remote.shutdown()).await;
        remote.link().close();
        matches!(told, Ok(Ok(())))
    }

    /// Says goodbye, if anything was said.
    pub(crate) fn close(&self) {
        if let Some(remote) = self.lock().take() {
            remote.link().close();
        }
    }
}

/// Facets that ask the helper for each of their operations.
macro_rules! through_the_link {
    ($($facet:ident { $(fn $operation:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+ })+) => {$(
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl facet::$facet for Inside {
            $(
                async fn $operation(&self, $($argument: $type),*) -> Result<$answer> {
                    facet::$facet::$operation(&*self.remote().await?, $($argument),*).await
                }
            )+
        }
    )+};
}

through_the_link! {
    Exec {
        fn execute(command: Command) -> Output;
    }
    Processes {
        fn spawn(command: Command) -> Process;
        fn attach(id: &ProcessId) -> Process;
        fn list() -> Vec<ProcessInfo>;
    }
    Files {
        fn read(request: ReadFile) -> Content;
        fn write(request: WriteFile, content: Content) -> FileInfo;
        fn stat(request: Stat) -> FileInfo;
        fn list(request: ListFiles) -> Vec<FileInfo>;
        fn make_dir(request: MakeDir) -> ();
        fn remove(request: Remove) -> ();
        fn rename(request: Rename) -> ();
    }
    Archive {
        fn pack(request: Pack) -> Content;
        fn unpack(request: Unpack, archive: Content) -> UnpackSummary;
    }
    Watch {
        fn watch(request: WatchPath) -> WatchStream;
    }
    Code {
        fn run_code(request: RunCode) -> CodeStream;
        fn create_context(request: CreateContext) -> ContextInfo;
        fn list_contexts() -> Vec<ContextInfo>;
        fn restart_context(id: &ContextId) -> ContextInfo;
        fn delete_context(id: &ContextId) -> ();
    }
    Metrics {
        fn sample() -> MetricsSample;
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.close();
    }
}
