//! Ways to a guest: the streams of the container's first process, a socket of this machine where we may use it, and where we may not
//! a bridge that the engine starts.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use grainchain_core::{Effect, Error, ErrorKind, Result};
use grainchain_guest::helper::{reach, understand};
use grainchain_guest::link::{Dial, Pipe};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::{FramedPipe, PROGRAM};
use crate::asleep;
use crate::engine::{ContainerState, Engine, ExecStart, gone};

/// How often it is looked whether a container that stands still goes on.
const LOOK: Duration = Duration::from_millis(250);

/// How long a container that has just started may take to be reached the short way.
const SHORT: Duration = Duration::from_secs(1);

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

/// A pipe that is there.
#[derive(Debug)]
enum Way {
    /// The streams of the container's first process.
    Streams(FramedPipe),
    /// The guest's own socket.
    Socket(UnixStream),
}

impl Way {
    fn pipe(self) -> Box<dyn Pipe> {
        match self {
            Self::Streams(streams) => Box::new(streams),
            Self::Socket(socket) => Box::new(socket),
        }
    }
}

/// Opens pipes to the guest of one container.
#[derive(Debug)]
pub(crate) struct EngineDial {
    engine: Engine,
    /// What the sandbox's container is called.
    container: String,
    /// The container that is dialled: one that has just been made, by the engine's own id, has another name at first.
    dialled: String,
    /// Whether the last pipe was a socket. Where one fails the next is a bridge: who has answered was perhaps not believed.
    was_socket: AtomicBool,
    /// A pipe that is there before anybody dials. At first that is the streams that were attached before the start: whoever makes a
    /// container needs no exec to speak to it.
    ready: Mutex<Option<Way>>,
    complaints: Complaints,
    /// Whether there was a pipe already.
    has_dialled: AtomicBool,
}

impl EngineDial {
    /// A way to the guest of `container`, which runs already.
    pub(crate) fn new(engine: Engine, container: String) -> Self {
        let dialled = container.clone();
        Self {
            engine,
            container,
            dialled,
            was_socket: AtomicBool::default(),
            ready: Mutex::default(),
            complaints: Complaints::default(),
            has_dialled: AtomicBool::default(),
        }
    }

    /// A way to the guest of the container with the id `attached`, which was made and not yet started, and will be called `container`.
    ///
    /// # Errors
    ///
    /// The engine's refusal.
    pub(crate) async fn attach(engine: Engine, attached: &str, container: String) -> Result<Self> {
        let hijacked = engine.attach(attached).await?;
        let mut dial = Self::new(engine, container);
        dial.dialled = attached.to_owned();
        let streams = FramedPipe::new(hijacked, Arc::clone(&dial.complaints));
        *dial.lock() = Some(Way::Streams(streams));
        Ok(dial)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Way>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a pipe is there now that needs nothing of the engine. The next one who dials gets it.
    pub(crate) async fn find_shortcut(&self) -> bool {
        let found = tokio::time::timeout(SHORT, self.shortcut()).await.ok().flatten();
        let is_found = found.is_some();
        if is_found {
            *self.lock() = found;
        }
        is_found
    }

    /// The helper's own socket, where it is on this machine and we are root.
    async fn shortcut(&self) -> Option<Way> {
        // The bridge finds out and tells what is wrong with the container.
        let process = self.engine.process_here(&self.dialled).await.ok()??;
        let (tell, told) = oneshot::channel();
        // Not on a thread that transfers may hold which wait for this very way.
        let begun = thread::Builder::new().name("grainchain-reach".into()).spawn(move || {
            // Nobody waits for it any more.
            drop(tell.send(reach(process)));
        });
        begun.ok()?;
        match told.await.ok()?.and_then(UnixStream::from_std) {
            Ok(socket) => Some(Way::Socket(socket)),
            Err(error) => {
                tracing::debug!(%error, "the helper is reached by way of the engine");
                if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) {
                    self.engine.look_elsewhere();
                }
                None
            }
        }
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
        let id = self.engine.exec_create(&self.dialled, &start).await?;
        Ok(FramedPipe::new(self.engine.exec_start(&id).await?, Arc::clone(&self.complaints)))
    }

    async fn state(&self) -> Result<ContainerState> {
        if let Some(found) = self.engine.inspect(&self.dialled).await?.filter(asleep::is_up) {
            return Ok(found.state);
        }
        Ok(asleep::awake(&self.engine, &self.container).await?.state)
    }

    /// Whether the last pipe was a socket of this machine. Then the next one is a bridge.
    pub(crate) fn was_socket(&self) -> bool {
        self.was_socket.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Dial for EngineDial {
    async fn dial(&self) -> Result<Box<dyn Pipe>> {
        let ready = self.lock().take();
        let was_socket = self.was_socket.swap(false, Ordering::Relaxed);
        let way = match ready {
            Some(way) => Some(way),
            None if was_socket => None,
            None => self.shortcut().await,
        };
        if let Some(way) = way {
            self.was_socket.store(matches!(way, Way::Socket(_)), Ordering::Relaxed);
            self.has_dialled.store(true, Ordering::Relaxed);
            return Ok(way.pipe());
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
