//! Ways to a guest: the streams of the container's first process, and after their loss a bridge that the engine starts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use grainchain_core::{Effect, Error, ErrorKind, Result};
use grainchain_guest::helper::understand;
use grainchain_guest::link::{Dial, Pipe};

use super::{FramedPipe, PROGRAM};
use crate::asleep;
use crate::engine::{ContainerState, Engine, ExecStart, gone};

/// How often it is looked whether a container that stands still goes on.
const LOOK: Duration = Duration::from_millis(250);

/// The most of a guest's complaints that is kept.
const COMPLAINTS: usize = 4096;

/// What a guest says on its standard error.
pub(crate) type Complaints = Arc<Mutex<String>>;

/// Keeps what a guest complains of, up to a limit: what comes from inside may be anything.
pub(crate) fn note(complaints: &Complaints, said: &[u8]) {
    let mut kept = complaints.lock().unwrap_or_else(PoisonError::into_inner);
    let room = COMPLAINTS.saturating_sub(kept.len());
    kept.push_str(&String::from_utf8_lossy(&said[..said.len().min(room)]));
}

/// The error for a sandbox that stands still.
pub(crate) fn paused() -> Error {
    Error::new(ErrorKind::Conflict, "the sandbox is paused").hint("resume it first").effect(Effect::None)
}

/// Opens pipes to the guest of one container.
#[derive(Debug)]
pub(crate) struct EngineDial {
    engine: Engine,
    container: String,
    /// The streams that were attached before the start: whoever makes a container needs no exec to speak to it.
    attached: Mutex<Option<FramedPipe>>,
    complaints: Complaints,
    /// Whether there was a pipe already.
    has_dialled: AtomicBool,
}

impl EngineDial {
    /// A way to the guest of `container`, which runs already.
    pub(crate) fn new(engine: Engine, container: String) -> Self {
        Self {
            engine,
            container,
            attached: Mutex::default(),
            complaints: Complaints::default(),
            has_dialled: AtomicBool::default(),
        }
    }

    /// A way to the guest of `container`, which was made and not yet started, and is called `attached` now.
    ///
    /// # Errors
    ///
    /// The engine's refusal.
    pub(crate) async fn attach(engine: Engine, attached: &str, container: String) -> Result<Self> {
        let hijacked = engine.attach(attached).await?;
        let dial = Self::new(engine, container);
        let pipe = FramedPipe::new(hijacked, Arc::clone(&dial.complaints));
        *dial.attached.lock().unwrap_or_else(PoisonError::into_inner) = Some(pipe);
        Ok(dial)
    }

    /// `error` of a guest that did not answer, with what it complained of.
    pub(crate) fn explained(&self, error: Error) -> Error {
        let said = self.complaints.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned();
        if said.is_empty() || error.kind() == ErrorKind::NotFound {
            return error;
        }
        if let Some(complaint) = said.lines().find_map(understand) {
            return complaint;
        }
        Error::new(ErrorKind::Server, format!("the sandbox's helper does not run: {}", said.escape_debug()))
            .hint("set guest = \"engine\" in [providers.docker] to do without")
            .caused_by(error)
    }

    async fn bridge(&self) -> Result<FramedPipe> {
        let argv = [PROGRAM, "dial"].map(str::to_owned).to_vec();
        let mut start = ExecStart::new(argv, &BTreeMap::new(), "/".to_owned());
        start.attach_stdin = true;
        let id = self.engine.exec_create(&self.container, &start).await?;
        Ok(FramedPipe::new(self.engine.exec_start(&id).await?, Arc::clone(&self.complaints)))
    }

    async fn state(&self) -> Result<ContainerState> {
        Ok(asleep::awake(&self.engine, &self.container).await?.state)
    }
}

#[async_trait]
impl Dial for EngineDial {
    async fn dial(&self) -> Result<Box<dyn Pipe>> {
        if let Some(pipe) = self.attached.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.has_dialled.store(true, Ordering::Relaxed);
            return Ok(Box::new(pipe));
        }
        let refused = match self.bridge().await {
            Ok(pipe) => {
                self.has_dialled.store(true, Ordering::Relaxed);
                return Ok(Box::new(pipe));
            }
            Err(error) => error,
        };
        // Between the end of its first process and its removal it is there and does not run.
        let state = self.state().await.map_err(|error| {
            // Woken up, it runs another helper: what was begun with this one is over, and nothing is to be waited for.
            let is_over = error.kind() == ErrorKind::Conflict && self.has_dialled.load(Ordering::Relaxed);
            if is_over { Error::not_found(error.message()).hint("wake it up first") } else { error }
        })?;
        match state {
            ContainerState::Exited | ContainerState::Removing | ContainerState::Dead => Err(gone()),
            ContainerState::Paused => Err(paused().caused_by(refused)),
            _ if refused.kind() == ErrorKind::NotFound => Err(gone()),
            _ => Err(refused),
        }
    }

    async fn awake(&self) {
        while matches!(self.state().await, Ok(ContainerState::Paused)) {
            tokio::time::sleep(LOOK).await;
        }
    }
}
