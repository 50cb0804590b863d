//! What goes out: first what is owed, then what a lost pipe may have swallowed, then the channels in turns.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{State, cost};
use crate::link::frame::{Fault, Frame};

/// How much may be on its way unconfirmed. With it a peer that grants room and confirms nothing holds up itself alone.
const UNCONFIRMED_BYTES: usize = 16 << 20;
/// See [`UNCONFIRMED_BYTES`].
const UNCONFIRMED_FRAMES: usize = 16 * 1024;
/// After how much a confirmation is due.
const CONFIRM_BYTES: usize = 512 << 10;
/// See [`CONFIRM_BYTES`].
const CONFIRM_FRAMES: u64 = 64;

impl State {
    /// A pipe takes over, whose other end has received `received` counted frames.
    pub(crate) fn resume(&mut self, received: u64) -> Result<u64, Fault> {
        self.confirm(received)?;
        self.resend = 0;
        self.received_told = self.received;
        self.received_bytes = 0;
        (self.ping, self.pong, self.renewing) = (false, false, false);
        self.pipe += 1;
        // Whoever drives the old pipe finds out.
        self.wake_driver();
        Ok(self.pipe)
    }

    /// Whether a confirmation should go out even if nothing else does.
    fn owes_confirmation(&self, idle: bool) -> bool {
        let frames = self.received - self.received_told;
        frames >= CONFIRM_FRAMES || self.received_bytes >= CONFIRM_BYTES || (idle && frames >= 16)
    }

    /// The next frame for the pipe, or none. `idle` when nothing more has arrived for now.
    pub(crate) fn next(&mut self, idle: bool) -> Option<Frame> {
        if std::mem::take(&mut self.pong) {
            return Some(Frame::Pong);
        }
        if std::mem::take(&mut self.ping) {
            return Some(Frame::Ping);
        }
        if self.owes_confirmation(idle) {
            self.received_told = self.received;
            self.received_bytes = 0;
            return Some(Frame::Ack { received: self.received });
        }
        if let Some(frame) = self.unconfirmed.get(self.resend) {
            self.resend += 1;
            return Some(frame.clone());
        }
        let frame = self.next_new()?;
        self.unconfirmed_bytes += frame.weight();
        self.unconfirmed.push_back(frame.clone());
        self.resend += 1;
        Some(frame)
    }

    fn next_new(&mut self) -> Option<Frame> {
        if self.unconfirmed_bytes >= UNCONFIRMED_BYTES || self.unconfirmed.len() >= UNCONFIRMED_FRAMES {
            return None;
        }
        if let Some(frame) = self.urgent.pop_front() {
            return Some(frame);
        }
        while let Some(channel) = self.turns.pop_front() {
            let Some(half) = self.channels.get_mut(&channel) else { continue };
            half.queued = false;
            let Some(frame) = half.outgoing.pop_front() else { continue };
            if let Frame::Data { bytes, .. } = &frame {
                half.waiting -= cost(bytes.len());
            }
            if half.outgoing.is_empty() {
                self.forget(channel);
            } else {
                half.queued = true;
                self.turns.push_back(channel);
            }
            return Some(frame);
        }
        // Last, when everything before it is out.
        let goodbye = self.closing && !std::mem::replace(&mut self.goodbye, self.closing);
        goodbye.then_some(Frame::Close)
    }
}

/// Appends a frame to what is written next; payloads above `copied` bytes stay where they are.
pub(crate) fn encode(frame: &Frame, copied: usize, into: &mut VecDeque<Bytes>, small: &mut BytesMut) {
    match frame.encode(small) {
        Some(payload) if payload.len() > copied => {
            into.push_back(small.split().freeze());
            into.push_back(payload);
        }
        Some(payload) => small.extend_from_slice(&payload),
        None => {}
    }
}
