//! The server's end: pipes come in, sessions outlive them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use grainchain_core::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::channel::Channel;
use super::drive::{Driver, Shared, Stopped};
use super::handshake::{self, Grant, SessionId, Token, Wish};
use super::pipe::Pipe;
use super::state::{Over, Role, State};

/// How long a client may take to greet.
const GREETING: Duration = Duration::from_secs(10);

/// How the server's end behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenerConfig {
    /// What both sides know.
    pub token: Token,
    /// What every client is told in welcome, at most 64 KiB.
    pub words: Bytes,
    /// How long a session without a pipe is kept; 30 s by default.
    pub grace: Duration,
    /// After how much silence a client is asked whether it is there; 10 s by default.
    pub ping: Duration,
    /// How many channels a session may have open; 1,024 by default.
    pub channels: usize,
    /// How many sessions there may be; 256 by default.
    pub sessions: usize,
}

impl ListenerConfig {
    /// The defaults, with this token.
    pub fn new(token: Token) -> Self {
        Self {
            token,
            words: Bytes::new(),
            grace: Duration::from_secs(30),
            ping: Duration::from_secs(10),
            channels: 1024,
            sessions: 256,
        }
    }

    /// Sets the words of welcome.
    #[must_use]
    pub fn words(mut self, words: impl Into<Bytes>) -> Self {
        self.words = words.into();
        self
    }

    /// Sets how long a session without a pipe is kept.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets after how much silence a client is asked whether it is there.
    #[must_use]
    pub fn ping(mut self, ping: Duration) -> Self {
        self.ping = ping;
        self
    }

    /// Sets how many channels a session may have open.
    #[must_use]
    pub fn channels(mut self, channels: usize) -> Self {
        self.channels = channels;
        self
    }

    /// Sets how many sessions there may be.
    #[must_use]
    pub fn sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions;
        self
    }
}

/// A channel that a client has opened.
#[derive(Debug)]
pub struct Request {
    /// Whose it is.
    pub session: SessionId,
    /// What it is for.
    pub header: Bytes,
    /// The conversation.
    pub channel: Channel,
}

/// The server's end. Clones share the sessions.
#[derive(Clone, Debug)]
pub struct Listener {
    shared: Arc<Sessions>,
}

#[derive(Debug)]
struct Sessions {
    config: ListenerConfig,
    all: Mutex<HashMap<SessionId, Arc<Shared>>>,
    requests: mpsc::UnboundedSender<Request>,
    connected: watch::Sender<usize>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Shared>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// A server's end without any session, and where the requests of all of them arrive. Their number is bounded by the limits of
    /// sessions and channels.
    pub fn new(config: ListenerConfig) -> (Self, mpsc::UnboundedReceiver<Request>) {
        let (requests, incoming) = mpsc::unbounded_channel();
        let shared = Sessions { config, all: Mutex::default(), requests, connected: watch::Sender::new(0) };
        (Self { shared: Arc::new(shared) }, incoming)
    }

    /// How many sessions have a pipe now.
    pub fn connected(&self) -> watch::Receiver<usize> {
        self.shared.connected.subscribe()
    }

    /// Greets on one pipe, makes a session or goes on with one, and drives the pipe until it is of no use any more.
    ///
    /// # Errors
    ///
    /// `Auth` for a client without the token, `Unsupported` for another version, `NotFound` for a session that is not there,
    /// `Connection` for a pipe that broke and for a client that does not keep to the protocol.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is as if the pipe had broken.
    pub async fn drive(&self, mut pipe: Box<dyn Pipe>) -> Result<()> {
        let config = &self.shared.config;
        let mut settled = None;
        let welcome = handshake::welcome(&mut *pipe, &config.token, |wish| {
            let (session, shared, epoch) = self.settle(wish)?;
            let received = shared.lock().received();
            settled = Some((session, shared, epoch));
            Ok(Grant { session, received, channels: config.channels, words: config.words.clone() })
        });
        let greeted = timeout(GREETING, welcome).await;
        let greeted = greeted.unwrap_or_else(|_elapsed| {
            Err(Error::new(ErrorKind::Timeout, format!("the client did not greet within {GREETING:?}")))
        });
        let Some((session, shared, epoch)) = settled else { return greeted.map(drop) };
        // Also a session whose client never hears of it has to end.
        let attendance = Attendance { listener: self.clone(), session, shared: Arc::clone(&shared), epoch };
        greeted?;
        self.shared.connected.send_modify(|count| *count += 1);
        let mut driver = Driver::new(&shared, pipe, epoch);
        let stopped = driver.drive(config.ping, |channel, header| {
            let channel = Channel::new(&shared, channel);
            // Nobody listens when the server goes down: the channel breaks off, as it should.
            self.shared.requests.send(Request { session, header, channel }).ok();
        });
        let counted = Counted(self);
        let stopped = stopped.await;
        drop(counted);
        drop(attendance);
        match stopped {
            Stopped::Broken(error) => Err(Error::io("keep a link", error)),
            Stopped::Fault(fault) => {
                let reason = format!("the client does not keep to the protocol: {fault}");
                self.end(session, &shared, Over::new(ErrorKind::Connection, reason.clone()));
                Err(Error::new(ErrorKind::Connection, reason))
            }
            Stopped::Over => {
                self.end(
                    session,
                    &shared,
                    Over::new(ErrorKind::Connection, "the client has closed the session"),
                );
                Ok(())
            }
            // A server asks for no other pipe.
            Stopped::Replaced | Stopped::Renewed => Ok(()),
        }
    }

    /// The session that a believed client wants, with its new pipe's number.
    fn settle(&self, wish: Wish) -> Result<(SessionId, Arc<Shared>, u64), String> {
        let config = &self.shared.config;
        let mut all = self.shared.lock();
        if wish.session != SessionId::NEW {
            let unknown = "the session is over: it was without a connection for too long, or the helper was started anew";
            let shared = all.get(&wish.session).cloned().ok_or(unknown)?;
            let epoch = shared.lock().resume(wish.received).map_err(|fault| fault.to_string())?;
            return Ok((wish.session, shared, epoch));
        }
        if all.len() >= config.sessions {
            return Err(format!("there are {} sessions already", all.len()));
        }
        let session = SessionId::random().map_err(|error| error.to_string())?;
        let shared = Shared::new(State::new(Role::Server { channels: config.channels }));
        let epoch = shared.lock().resume(wish.received).map_err(|fault| fault.to_string())?;
        all.insert(session, Arc::clone(&shared));
        Ok((session, shared, epoch))
    }

    fn end(&self, session: SessionId, shared: &Shared, over: Over) {
        self.shared.lock().remove(&session);
        shared.lock().end(over);
    }
}

/// Counts a session as connected.
struct Counted<'a>(&'a Listener);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.shared.connected.send_modify(|count| *count -= 1);
    }
}

/// Ends a session for which no other pipe comes in time.
struct Attendance {
    listener: Listener,
    session: SessionId,
    shared: Arc<Shared>,
    epoch: u64,
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let (listener, session, shared, epoch) =
            (self.listener.clone(), self.session, Arc::clone(&self.shared), self.epoch);
        let grace = listener.shared.config.grace;
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            sleep(grace).await;
            {
                // Held for both, so that a client that comes this very moment finds the session or does not, and not half of it.
                let mut all = listener.shared.lock();
                if shared.lock().pipe != epoch {
                    return;
                }
                all.remove(&session);
            }
            let reason = format!("the client was not connected for {grace:?}");
            shared.lock().end(Over::new(ErrorKind::Connection, reason));
        });
    }
}
