//! What one side knows of a session: its channels, what is to be sent, and what was sent and not confirmed. No input, no output.
//!
//! What this side wants stands in `wants`, what goes out in `outgoing`, what comes in in `incoming`.

mod incoming;
mod outgoing;
mod wants;

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use bytes::Bytes;
use grainchain_core::{Effect, Error, ErrorKind};

use super::frame::Frame;
pub(crate) use outgoing::encode;

/// How many bytes a receiver takes before its reader has taken any: enough to keep a pipe full.
pub(crate) const WINDOW: u32 = 1 << 20;
/// What a frame costs beyond its bytes, so that a million frames of one byte are not cheap.
const OVERHEAD: u32 = 64;

/// Why nothing goes on after a goodbye of ours.
pub(crate) const CLOSED: &str = "the link was closed";

/// How much of a window `length` bytes take.
pub(crate) fn cost(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX).saturating_add(OVERHEAD)
}

/// Why nothing will arrive any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Over {
    pub(crate) kind: ErrorKind,
    pub(crate) reason: String,
}

impl Over {
    pub(crate) fn new(kind: ErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }

    /// As an error of something that may have been carried out.
    pub(crate) fn to_error(&self) -> Error {
        Error::new(self.kind, self.reason.clone())
            .hint("connect again; look whether it was carried out before repeating it")
            .effect(Effect::Possible)
    }
}

/// Which side this is, and how many channels there may be at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Opens channels.
    Client { channels: usize },
    /// Is asked for them.
    Server { channels: usize },
}

/// How the bytes of a channel ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Finished,
    Reset(Bytes),
}

/// One channel, seen from one side.
#[derive(Debug, Default)]
pub(crate) struct Half {
    /// To be sent, in this order.
    outgoing: VecDeque<Frame>,
    /// How much of the other side's room the bytes among those take.
    waiting: u32,
    /// Whether it stands in the queue of those that have something to send.
    queued: bool,
    /// How many bytes the other side has room for.
    pub(crate) credit: u32,
    /// Finish or reset is said.
    pub(crate) said_all: bool,
    /// The other side does not want any more.
    pub(crate) stopped: bool,
    /// Arrived and not taken yet.
    pub(crate) incoming: VecDeque<(u8, Bytes)>,
    /// How it ended, once everything before that has arrived.
    pub(crate) ended: Option<Ended>,
    /// How many bytes may still arrive.
    room: u32,
    /// How many were taken since room was last granted.
    taken: u32,
    /// Nobody here wants any more.
    deaf: bool,
    /// Nobody here can say any more.
    mute: bool,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
}

impl Half {
    fn new() -> Self {
        Self { credit: WINDOW, room: WINDOW, ..Self::default() }
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// A session as one side knows it.
#[derive(Debug)]
pub(crate) struct State {
    role: Role,
    pub(crate) channels: BTreeMap<u32, Half>,
    last_opened: u32,
    /// Channels with something to send, in turns.
    turns: VecDeque<u32>,
    /// Sent before any of those: each of them is owed once per channel at most.
    urgent: VecDeque<Frame>,
    /// Counted frames that were sent, from the first that is not confirmed.
    unconfirmed: VecDeque<Frame>,
    unconfirmed_bytes: usize,
    confirmed: u64,
    /// Where in `unconfirmed` the present pipe is.
    resend: usize,
    received: u64,
    received_told: u64,
    received_bytes: usize,
    pong: bool,
    pub(crate) ping: bool,
    /// Who writes into the pipe.
    pub(crate) driver: Option<Waker>,
    /// Who waits for the goodbye or the end.
    mourners: Vec<Waker>,
    pub(crate) over: Option<Over>,
    closing: bool,
    /// The present pipe is to be left for another one.
    renewing: bool,
    /// The goodbye is among the frames that were sent.
    goodbye: bool,
    /// Which pipe is the present one: an older one must not touch anything any more.
    pub(crate) pipe: u64,
}

/// What a frame that arrived asks its owner to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    Nothing,
    /// A channel was opened, for this.
    Opened(u32, Bytes),
}

impl State {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            channels: BTreeMap::new(),
            last_opened: 0,
            turns: VecDeque::new(),
            urgent: VecDeque::new(),
            unconfirmed: VecDeque::new(),
            unconfirmed_bytes: 0,
            confirmed: 0,
            resend: 0,
            received: 0,
            received_told: 0,
            received_bytes: 0,
            pong: false,
            ping: false,
            driver: None,
            mourners: Vec::new(),
            over: None,
            closing: false,
            renewing: false,
            goodbye: false,
            pipe: 0,
        }
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    fn wake_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }
}
