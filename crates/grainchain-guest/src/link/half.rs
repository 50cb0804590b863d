//! One channel as one side knows it, and how a session is over.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::Bytes;
use grainchain_core::{Effect, Error, ErrorKind};

use super::frame::Frame;

/// How many bytes a receiver takes before its reader has taken any: enough to keep a pipe full.
pub(crate) const WINDOW: u32 = 1 << 20;
/// What a frame costs beyond its bytes, so that a million frames of one byte are not cheap.
const OVERHEAD: u32 = 64;
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
    pub(super) outgoing: VecDeque<Frame>,
    /// Whether it stands in the queue of those that have something to send.
    pub(super) queued: bool,
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
    pub(super) room: u32,
    /// How many were taken since room was last granted.
    pub(super) taken: u32,
    /// Nobody here wants any more.
    pub(super) deaf: bool,
    /// Nobody here can say any more.
    pub(super) mute: bool,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
}

impl Half {
    pub(super) fn new() -> Self {
        Self { credit: WINDOW, room: WINDOW, ..Self::default() }
    }

    pub(super) fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}
