//! The two halves of a channel.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use grainchain_core::{Effect, Error, ErrorKind, Result};

use super::drive::Shared;
use super::frame::{MAX_PAYLOAD, legible};
use super::state::{Ended, Over, cost};

/// One conversation within a session: bytes in frames, both ways, each way with an end of its own.
#[derive(Debug)]
pub struct Channel {
    /// What this side says.
    pub sender: Sender,
    /// What the other side says.
    pub receiver: Receiver,
}

impl Channel {
    pub(crate) fn new(shared: &Arc<Shared>, channel: u32) -> Self {
        Self {
            sender: Sender { shared: Arc::clone(shared), channel },
            receiver: Receiver { shared: Arc::clone(shared), channel },
        }
    }
}

/// The sending half. Dropped before [`finish`](Self::finish) it breaks off, which the other side can tell from an end.
#[derive(Debug)]
pub struct Sender {
    shared: Arc<Shared>,
    channel: u32,
}

impl Sender {
    /// The largest frame: 64 KiB.
    pub const MAX: usize = MAX_PAYLOAD;

    /// Sends `bytes` as one frame with this mark, once the other side has room for it; nothing when they are empty.
    ///
    /// # Errors
    ///
    /// `BadRequest` for more than [`MAX`](Self::MAX) bytes, `Connection` when the other side does not want any more or the session is
    /// over.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready means that nothing was sent.
    pub async fn send(&mut self, mark: u8, bytes: Bytes) -> Result<()> {
        if bytes.len() > Self::MAX {
            return Err(Error::bad_request(format!(
                "a frame of {} bytes, more than {}",
                bytes.len(),
                Self::MAX
            )));
        }
        poll_fn(|cx| self.poll_send(cx, mark, &bytes)).await
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, mark: u8, bytes: &Bytes) -> Poll<Result<()>> {
        let mut state = self.shared.lock();
        if let Some(over) = state.refusal() {
            return Poll::Ready(Err(over.to_error()));
        }
        let Some(half) = state.channels.get_mut(&self.channel) else { return Poll::Ready(Err(unwanted())) };
        if half.stopped || half.said_all {
            return Poll::Ready(Err(unwanted()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if half.credit < cost(bytes.len()) {
            half.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.send(self.channel, mark, bytes.clone());
        Poll::Ready(Ok(()))
    }

    /// Sends `bytes` in as many frames as it takes.
    ///
    /// # Errors
    ///
    /// As those of [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// After dropping the future it is unknown how much was sent.
    pub async fn send_all(&mut self, mark: u8, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(Self::MAX));
            self.send(mark, piece).await?;
        }
        Ok(())
    }

    /// Says that this was everything.
    pub fn finish(self) {
        self.shared.lock().finish(self.channel);
    }

    /// Breaks off, for this reason.
    pub fn reset(self, reason: &str) {
        self.shared.lock().reset(self.channel, reason);
    }

    /// Ready when the other side does not want any more, or can no longer be reached.
    pub async fn stopped(&mut self) {
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            if state.over.is_some() {
                return Poll::Ready(());
            }
            match state.channels.get_mut(&self.channel) {
                Some(half) if !half.stopped => {
                    half.writer = Some(cx.waker().clone());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
        .await;
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.lock().mute(self.channel);
    }
}

/// The receiving half. Dropping it tells the other side to stop.
#[derive(Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
    channel: u32,
}

impl Receiver {
    /// The next frame and its mark, as they were sent; none at the end.
    ///
    /// # Errors
    ///
    /// `Connection` when the other side broke off or can no longer be reached. What arrived before is handed out first.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<(u8, Bytes)>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(u8, Bytes)>>> {
        let mut state = self.shared.lock();
        if let Some(frame) = state.take(self.channel) {
            return Poll::Ready(Ok(Some(frame)));
        }
        let over = state.over.as_ref().map(Over::to_error);
        let Some(half) = state.channels.get_mut(&self.channel) else { return Poll::Ready(Ok(None)) };
        match (&half.ended, over) {
            (Some(Ended::Finished), _) => Poll::Ready(Ok(None)),
            (Some(Ended::Reset(reason)), _) => {
                let reason = legible(reason);
                Poll::Ready(Err(Error::new(
                    ErrorKind::Connection,
                    format!("the other side broke off: {reason}"),
                )))
            }
            (None, Some(over)) => Poll::Ready(Err(over)),
            (None, None) => {
                half.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.lock().deafen(self.channel);
    }
}

fn unwanted() -> Error {
    Error::new(ErrorKind::Connection, "the other side does not want any more").effect(Effect::Possible)
}
