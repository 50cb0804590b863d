//! One pipe of one session: frames out, frames in, until it breaks.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use super::frame::{self, Fault, Frame};
use super::pipe::Pipe;
use super::state::{Arrived, State, encode};

/// How much is read at once at least.
const READ: usize = 256 * 1024;
/// After how much has arrived whoever waits for it gets a turn: read up to the end of a window first, both sides would wait in turns.
const TURN: usize = 128 * 1024;
/// How much is gathered before it is written: about one large frame, because what is gathered cannot be overtaken.
const GATHER: usize = 64 * 1024;
/// Down to where that has to be written before more is gathered, so that it does not become two.
const REST: usize = 4 * 1024;
/// Up to here a copy costs less than another piece of a vectored write. A pipe without those is spared a write of each header.
const COPIED: usize = 1024;
/// How many pieces one write takes.
const PIECES: usize = 32;
/// How many pings stay unanswered before a pipe counts as broken.
const MISSED: u32 = 3;

/// A session's state, shared by its handles and whoever drives its pipe.
#[derive(Debug)]
pub(crate) struct Shared(Mutex<State>);

impl Shared {
    pub(crate) fn new(state: State) -> Arc<Self> {
        Arc::new(Self(Mutex::new(state)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a pipe is no longer driven.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The pipe is of no use; the session may go on over another one.
    Broken(io::Error),
    /// Another pipe has taken over.
    Replaced,
    /// Another pipe is wanted.
    Renewed,
    /// The other side says what no honest one says: the session is over.
    Fault(Fault),
    /// The session is over.
    Over,
}

/// Drives one pipe of a session.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    /// Which pipe of the session this is.
    epoch: u64,
    pipe: Box<dyn Pipe>,
    /// Up to which length payloads are copied to what is written with them.
    copied: usize,
    incoming: BytesMut,
    small: BytesMut,
    pieces: VecDeque<Bytes>,
    /// The goodbye is among the pieces.
    closed: bool,
    unflushed: bool,
}

struct Progress {
    arrived: bool,
}

impl Driver {
    /// For `pipe`, which is the pipe number `epoch` of the session.
    pub(crate) fn new(shared: &Arc<Shared>, pipe: Box<dyn Pipe>, epoch: u64) -> Self {
        let copied = if pipe.is_write_vectored() { COPIED } else { frame::MAX_PAYLOAD };
        Self {
            shared: Arc::clone(shared),
            epoch,
            pipe,
            copied,
            incoming: BytesMut::new(),
            small: BytesMut::new(),
            pieces: VecDeque::new(),
            closed: false,
            unflushed: false,
        }
    }

    /// Drives it. `opened` hears of channels that the other side opens.
    pub(crate) async fn drive(&mut self, ping: Duration, mut opened: impl FnMut(u32, Bytes)) -> Stopped {
        let mut heard = Instant::now();
        let mut missed = 0;
        let mut alarm = Box::pin(sleep_until(heard + ping));
        poll_fn(|cx| {
            loop {
                match self.step(cx, &mut opened) {
                    Ok(Progress { arrived: true }) => {
                        heard = Instant::now();
                        missed = 0;
                    }
                    Ok(Progress { arrived: false }) => {}
                    Err(stopped) => return Poll::Ready(stopped),
                }
                if alarm.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let quiet_until = heard + ping * (missed + 1);
                if Instant::now() >= quiet_until {
                    missed += 1;
                    if missed > MISSED {
                        let silent = io::Error::new(io::ErrorKind::TimedOut, "the other side is silent");
                        return Poll::Ready(Stopped::Broken(silent));
                    }
                    self.shared.lock().ping = true;
                }
                alarm.as_mut().reset(heard + ping * (missed + 1));
            }
        })
        .await
    }

    /// After a goodbye of ours: reads until the other side has let go of the pipe as well. A socket that is closed with something
    /// unread in it may take back what was written last.
    pub(crate) async fn linger(mut self) {
        let said = self.closed && self.pieces.is_empty();
        if !said || self.pipe.shutdown().await.is_err() {
            return;
        }
        loop {
            self.incoming.clear();
            if !matches!(self.pipe.read_buf(&mut self.incoming).await, Ok(1..)) {
                return;
            }
        }
    }

    /// Reads and writes until neither goes on; both will wake the task.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        opened: &mut impl FnMut(u32, Bytes),
    ) -> Result<Progress, Stopped> {
        let mut arrived = 0;
        loop {
            let read = self.read(cx)?;
            arrived += read.unwrap_or_default();
            let (read, idle) = (read.is_some(), read.is_none());
            if read {
                self.take(opened)?;
            }
            let shared = Arc::clone(&self.shared);
            let mut state = shared.lock();
            if state.pipe != self.epoch {
                return Err(Stopped::Replaced);
            }
            if state.over.is_some() && !self.closed {
                return Err(Stopped::Over);
            }
            if state.take_renewing() && !state.is_closing() {
                return Err(Stopped::Renewed);
            }
            self.gather(&mut state, idle);
            let quiet = self.pieces.is_empty() && self.small.is_empty();
            if quiet && idle {
                state.driver = Some(cx.waker().clone());
            }
            drop(state);
            let wrote = match self.write(cx) {
                Ok(wrote) => wrote,
                Err(broken) => {
                    // Who has gone may have said so before, and that can still be read.
                    while let Ok(Some(_)) = self.read(cx) {
                        self.take(opened)?;
                    }
                    return Err(if shared.lock().over.is_some() { Stopped::Over } else { broken });
                }
            };
            if self.closed && self.pieces.is_empty() && !self.unflushed {
                return Err(Stopped::Over);
            }
            if !wrote && idle {
                if !quiet {
                    // The pipe is full: what happens meanwhile waits until it is not, and the pipe will say so.
                    let mut state = shared.lock();
                    if state.pipe != self.epoch {
                        return Err(Stopped::Replaced);
                    }
                    state.driver = Some(cx.waker().clone());
                }
                return Ok(Progress { arrived: arrived > 0 });
            }
            if arrived >= TURN {
                cx.waker().wake_by_ref();
                return Ok(Progress { arrived: true });
            }
        }
    }

    /// Takes in what was read.
    fn take(&mut self, opened: &mut impl FnMut(u32, Bytes)) -> Result<(), Stopped> {
        let mut fresh = Vec::new();
        {
            let mut state = self.shared.lock();
            if state.pipe != self.epoch {
                return Err(Stopped::Replaced);
            }
            while let Some(frame) = frame::decode(&mut self.incoming).map_err(Stopped::Fault)? {
                if let Arrived::Opened(channel, header) = state.arrive(frame).map_err(Stopped::Fault)? {
                    fresh.push((channel, header));
                }
            }
        }
        // Also what was asked right before a goodbye.
        for (channel, header) in fresh {
            opened(channel, header);
        }
        Ok(())
    }

    /// How much was read, none when nothing is there now.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<Option<usize>, Stopped> {
        if self.incoming.capacity() - self.incoming.len() < frame::MAX_PAYLOAD {
            self.incoming.reserve(READ);
        }
        // A future of one poll: a read that is not ready has taken nothing.
        let read = pin!(self.pipe.read_buf(&mut self.incoming));
        match read.poll(cx) {
            Poll::Pending => Ok(None),
            Poll::Ready(Ok(0)) => Err(Stopped::Broken(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(count)) => Ok(Some(count)),
            Poll::Ready(Err(error)) => Err(Stopped::Broken(error)),
        }
    }

    /// Takes frames from the session, if little of the last ones waits to be written.
    fn gather(&mut self, state: &mut State, idle: bool) {
        let mut waiting: usize = self.pieces.iter().map(Bytes::len).sum();
        if waiting > REST {
            return;
        }
        while waiting + self.small.len() < GATHER {
            let Some(frame) = state.next(idle) else { break };
            self.closed |= frame == Frame::Close;
            let before = self.pieces.len();
            encode(&frame, self.copied, &mut self.pieces, &mut self.small);
            waiting += self.pieces.range(before..).map(Bytes::len).sum::<usize>();
        }
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Stopped> {
        let mut wrote = false;
        while !self.pieces.is_empty() {
            let slices: Vec<_> = self.pieces.iter().take(PIECES).map(|piece| IoSlice::new(piece)).collect();
            match Pin::new(&mut self.pipe).poll_write_vectored(cx, &slices) {
                Poll::Pending => return Ok(wrote),
                Poll::Ready(Ok(0)) => return Err(Stopped::Broken(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(mut count)) => {
                    wrote = true;
                    self.unflushed = true;
                    while let Some(piece) = self.pieces.front_mut()
                        && count > 0
                    {
                        let taken = count.min(piece.len());
                        piece.advance(taken);
                        count -= taken;
                        if piece.is_empty() {
                            self.pieces.pop_front();
                        }
                    }
                }
                Poll::Ready(Err(error)) => return Err(Stopped::Broken(error)),
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.pipe).poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Err(Stopped::Broken(error)),
            }
        }
        Ok(wrote)
    }
}

impl Drop for Driver {
    /// A runtime that ends may drop this before the goodbye that was asked for was said: then it is said now, if the pipe takes it at
    /// once.
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            let mut state = shared.lock();
            if !state.is_closing() || state.over.is_some() || state.pipe != self.epoch {
                return;
            }
            if !self.closed {
                self.gather(&mut state, true);
            }
            drop(state);
            if !matches!(self.write(&mut cx), Ok(true)) {
                return;
            }
        }
    }
}
