//! The client's end: dials, and dials again.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use grainchain_core::{Effect, Error, ErrorKind, Result};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::channel::Channel;
use super::drive::{Driver, Shared, Stopped};
use super::handshake::{self, Grant, SessionId, Token, Wish};
use super::pipe::{Dial, Pipe};
use super::state::{CLOSED, Over, Role, State};

/// How long the other side may take to greet.
const GREETING: Duration = Duration::from_secs(10);
/// How long what was said before a goodbye may take to go out, with the goodbye; after that the link is closed without.
const GOODBYE: Duration = Duration::from_secs(5);
/// The first pause before dialling again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// See [`FIRST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How a link behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LinkConfig {
    /// What both sides know.
    pub token: Token,
    /// How long another pipe is sought after one was lost; 20 s by default. Longer than the other side keeps a session is of no use.
    pub patience: Duration,
    /// After how much silence the other side is asked whether it is there; 10 s by default. Four times as long without a word, and the
    /// pipe counts as lost.
    pub ping: Duration,
}

impl LinkConfig {
    /// The defaults, with this token.
    pub fn new(token: Token) -> Self {
        Self { token, patience: Duration::from_secs(20), ping: Duration::from_secs(10) }
    }

    /// Sets how long another pipe is sought.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets after how much silence the other side is asked whether it is there.
    #[must_use]
    pub fn ping(mut self, ping: Duration) -> Self {
        self.ping = ping;
        self
    }
}

/// A session with the other side, over one pipe after the other. Clones share it. When the last one is gone it is closed, and its
/// channels break off.
#[derive(Clone, Debug)]
pub struct Link {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().close();
    }
}

impl Link {
    /// Dials and greets. Answers with the other side's words of welcome.
    ///
    /// From then on a task of the present runtime keeps the session: it dials again when a pipe breaks, and everything goes on where it
    /// was, without loss or repetition.
    ///
    /// # Errors
    ///
    /// `Auth` when the other side does not know the token, `Unsupported` when it speaks another version, and what dialling fails with.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn connect(dial: Arc<dyn Dial>, config: LinkConfig) -> Result<(Self, Bytes)> {
        let wish = Wish { session: SessionId::NEW, received: 0 };
        let (pipe, grant) = greet(dial.dial().await?, &config.token, wish).await?;
        let shared = Shared::new(State::new(Role::Client { channels: grant.channels }));
        let epoch = shared.lock().resume(grant.received).map_err(|fault| broken(&fault))?;
        let keeper = Keeper { shared: Arc::clone(&shared), dial, config, session: grant.session };
        // Made before the task runs: one that never does says goodbye as well.
        let driver = Driver::new(&shared, pipe, epoch);
        tokio::spawn(keeper.keep(driver));
        Ok((Self { handle: Arc::new(Handle(shared)) }, grant.words))
    }

    /// Opens a channel for `header`, at most 64 KiB. Nothing is waited for: the other side answers in the channel.
    ///
    /// # Errors
    ///
    /// `BadRequest` when the header is too long, `Exhausted` when as many channels are open as the other side allows, `Connection` when
    /// the session is over.
    pub fn open(&self, header: Bytes) -> Result<Channel> {
        let shared = &self.handle.0;
        let channel = shared.lock().open(header).map_err(|error| error.effect(Effect::None))?;
        Ok(Channel::new(shared, channel))
    }

    /// Ends the session: what is still open in it breaks off on both sides. What was said before still goes out, if the other side
    /// takes it within 5 s.
    pub fn close(&self) {
        self.handle.0.lock().close();
    }

    /// Leaves the present pipe for another one, which is dialled at once: a better one may be there. What is under way goes on over it.
    pub fn renew(&self) {
        self.handle.0.lock().renew();
    }

    /// Ready when the session is over, with the reason.
    pub async fn lost(&self) -> Error {
        poll_fn(|cx| {
            let mut state = self.handle.0.lock();
            if let Some(over) = &state.over {
                return Poll::Ready(over.to_error());
            }
            state.mourn(cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Whether the session is over.
    pub fn is_lost(&self) -> bool {
        self.handle.0.lock().over.is_some()
    }
}

fn broken(fault: &dyn std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Connection,
        format!("the other side of the link does not keep to the protocol: {fault}"),
    )
}

async fn greet(mut pipe: Box<dyn Pipe>, token: &Token, wish: Wish) -> Result<(Box<dyn Pipe>, Grant)> {
    let greeted = timeout(GREETING, handshake::greet(&mut *pipe, token, wish)).await;
    let grant = greeted.map_err(|_elapsed| {
        Error::new(
            ErrorKind::Timeout,
            format!("the other side of the link did not greet within {GREETING:?}"),
        )
        .effect(Effect::None)
    })??;
    Ok((pipe, grant))
}

/// The task that keeps a session.
struct Keeper {
    shared: Arc<Shared>,
    dial: Arc<dyn Dial>,
    config: LinkConfig,
    session: SessionId,
}

impl Keeper {
    async fn keep(self, mut driver: Driver) {
        let _ended = EndWhenDropped(Arc::clone(&self.shared));
        loop {
            let driven = driver.drive(self.config.ping, |_, _| {});
            let stopped = tokio::select! {
                biased;
                stopped = driven => stopped,
                () = self.goodbye_overdue() => Stopped::Over,
            };
            let redialled = match stopped {
                Stopped::Broken(error) => self.redial(error, false).await,
                Stopped::Renewed => self.redial(std::io::Error::other("another pipe was wanted"), true).await,
                Stopped::Fault(fault) => Err(Over::new(
                    ErrorKind::Connection,
                    format!("the other side of the link does not keep to the protocol: {fault}"),
                )),
                Stopped::Over | Stopped::Replaced => Err(Over::new(ErrorKind::Connection, CLOSED)),
            };
            let over = match redialled {
                Ok((pipe, epoch)) => {
                    driver = Driver::new(&self.shared, pipe, epoch);
                    continue;
                }
                Err(over) => over,
            };
            self.shared.lock().end(over);
            timeout(GOODBYE, driver.linger()).await.ok();
            return;
        }
    }

    /// Ready when the goodbye was asked for.
    async fn closing(&self) {
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            if state.is_closing() {
                return Poll::Ready(());
            }
            state.mourn(cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Ready when the goodbye was asked for and has not gone out in time.
    async fn goodbye_overdue(&self) {
        self.closing().await;
        sleep(GOODBYE).await;
    }

    /// Another pipe for the same session. `is_awake` says that the other side is known not to stand still.
    async fn redial(&self, lost: std::io::Error, mut is_awake: bool) -> Result<(Box<dyn Pipe>, u64), Over> {
        tracing::debug!(%lost, "a link has lost its pipe");
        let mut deadline = Instant::now() + self.config.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let asleep = Instant::now();
            let is_renewal = std::mem::take(&mut is_awake);
            if !is_renewal {
                tokio::select! {
                    () = self.dial.awake() => deadline += asleep.elapsed(),
                    () = self.closing() => {}
                }
            }
            let wish = {
                let state = self.shared.lock();
                if let Some(over) = &state.over {
                    return Err(over.clone());
                }
                // A goodbye that was asked for meanwhile is said over the next pipe.
                if state.is_closing() && !is_renewal {
                    return Err(Over::new(ErrorKind::Connection, CLOSED));
                }
                Wish { session: self.session, received: state.received() }
            };
            let mut is_gone = false;
            let attempt = async {
                let dialled = self.dial.dial().await;
                // Only the one who dials can tell that there is nobody any more.
                is_gone = dialled.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound);
                greet(dialled?, &self.config.token, wish).await
            };
            let error = match timeout_at(deadline, attempt).await {
                Ok(Ok((pipe, grant))) => {
                    let resumed = self.shared.lock().resume(grant.received);
                    let epoch =
                        resumed.map_err(|fault| Over::new(ErrorKind::Connection, fault.to_string()))?;
                    return Ok((pipe, epoch));
                }
                Ok(Err(error)) => Some(error),
                Err(_elapsed) => None,
            };
            // Who answered and said no will say no again.
            let last = error.as_ref().is_some_and(|error| {
                matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Auth | ErrorKind::Unsupported)
            });
            if last || Instant::now() + pause >= deadline {
                let reason = error.map_or_else(|| lost.to_string(), |error| error.message().to_owned());
                return Err(if is_gone {
                    Over::new(ErrorKind::NotFound, reason)
                } else {
                    Over::new(ErrorKind::Connection, format!("the link was lost ({lost}): {reason}"))
                });
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// A runtime that ends takes the task with it, and whoever waits elsewhere has to hear of that.
struct EndWhenDropped(Arc<Shared>);

impl Drop for EndWhenDropped {
    fn drop(&mut self) {
        self.0.lock().end(Over::new(ErrorKind::Connection, "the runtime that kept the link has ended"));
    }
}
