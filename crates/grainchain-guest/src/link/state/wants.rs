//! What the handles of a session ask for.

use std::task::Waker;

use bytes::Bytes;
use grainchain_core::{Error, ErrorKind};

use super::{CLOSED, Half, Over, Role, State, WINDOW, cost};
use crate::link::frame::{Frame, MAX_PAYLOAD};

impl State {
    /// Why nothing new can be said.
    pub(crate) fn refusal(&self) -> Option<Over> {
        self.over.clone().or_else(|| self.closing.then(|| Over::new(ErrorKind::Connection, CLOSED)))
    }

    /// Opens a channel for `header`.
    pub(crate) fn open(&mut self, header: Bytes) -> Result<u32, Error> {
        if let Some(over) = self.refusal() {
            return Err(over.to_error());
        }
        if header.len() > MAX_PAYLOAD {
            let message = format!("a header of {} bytes, more than {MAX_PAYLOAD}", header.len());
            return Err(Error::bad_request(message));
        }
        let (Role::Client { channels } | Role::Server { channels }) = self.role;
        if self.channels.len() >= channels {
            let message = format!("{channels} channels are open on this link, and it has no more");
            return Err(Error::new(ErrorKind::Exhausted, message).hint("do fewer things at once"));
        }
        let Some(channel) = self.last_opened.checked_add(1) else {
            let message = "this link has opened all the channels it ever can";
            return Err(Error::new(ErrorKind::Exhausted, message).hint("connect again"));
        };
        self.last_opened = channel;
        self.channels.insert(channel, Half::new());
        self.say(channel, Frame::Open { channel, header });
        Ok(channel)
    }

    fn say(&mut self, channel: u32, frame: Frame) {
        let Some(half) = self.channels.get_mut(&channel) else { return };
        half.outgoing.push_back(frame);
        if !std::mem::replace(&mut half.queued, true) {
            self.turns.push_back(channel);
        }
        self.wake_driver();
    }

    /// Sends `bytes`, for which there is credit.
    pub(crate) fn send(&mut self, channel: u32, mark: u8, bytes: Bytes) {
        if let Some(half) = self.channels.get_mut(&channel) {
            half.credit = half.credit.saturating_sub(cost(bytes.len()));
            half.waiting += cost(bytes.len());
        }
        self.say(channel, Frame::Data { channel, mark, bytes });
    }

    pub(crate) fn finish(&mut self, channel: u32) {
        self.conclude(channel, None);
    }

    pub(crate) fn reset(&mut self, channel: u32, reason: &str) {
        self.conclude(channel, Some(reason));
    }

    fn conclude(&mut self, channel: u32, reason: Option<&str>) {
        let Some(half) = self.channels.get_mut(&channel) else { return };
        if std::mem::replace(&mut half.said_all, true) {
            return;
        }
        let frame = match reason {
            None => Frame::Finish { channel },
            Some(reason) => {
                // Bytes that were not sent yet are not worth sending.
                half.outgoing.retain(|frame| !matches!(frame, Frame::Data { .. }));
                half.waiting = 0;
                Frame::reset(channel, reason)
            }
        };
        self.say(channel, frame);
    }

    /// The sending handle is gone.
    pub(crate) fn mute(&mut self, channel: u32) {
        self.reset(channel, "the sender was dropped");
        if let Some(half) = self.channels.get_mut(&channel) {
            half.mute = true;
        }
        self.forget(channel);
    }

    /// The receiving handle is gone.
    pub(crate) fn deafen(&mut self, channel: u32) {
        let Some(half) = self.channels.get_mut(&channel) else { return };
        half.deaf = true;
        half.incoming.clear();
        if half.ended.is_none() {
            self.say_stop(channel);
        }
        self.forget(channel);
    }

    fn say_stop(&mut self, channel: u32) {
        // Behind the opening, if that is still to be sent.
        let Some(half) = self.channels.get_mut(&channel) else { return };
        if half.outgoing.is_empty() {
            self.urgent.push_back(Frame::Stop { channel });
            self.wake_driver();
        } else {
            let place = half.outgoing.iter().take_while(|frame| matches!(frame, Frame::Open { .. })).count();
            half.outgoing.insert(place, Frame::Stop { channel });
        }
    }

    /// Takes what arrived next, and grants room for more.
    pub(crate) fn take(&mut self, channel: u32) -> Option<(u8, Bytes)> {
        let half = self.channels.get_mut(&channel)?;
        let (mark, bytes) = half.incoming.pop_front()?;
        half.taken += cost(bytes.len());
        if half.taken >= WINDOW / 2 && half.ended.is_none() {
            let bytes = std::mem::take(&mut half.taken);
            half.room += bytes;
            self.urgent.push_back(Frame::Credit { channel, bytes });
            self.wake_driver();
        }
        Some((mark, bytes))
    }

    /// Ends the session on purpose: tells the other side, then it is over here.
    pub(crate) fn close(&mut self) {
        if self.over.is_none() {
            self.closing = true;
            self.wake_driver();
            self.wake_mourners();
        }
    }

    /// Whoever drives the present pipe shall leave it.
    pub(crate) fn renew(&mut self) {
        self.renewing = true;
        self.wake_driver();
    }

    /// Whether the present pipe was to be left; it is told once.
    pub(crate) fn take_renewing(&mut self) -> bool {
        std::mem::take(&mut self.renewing)
    }

    /// Whether it is to end on purpose.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// It is over: everybody who waits is told.
    pub(crate) fn end(&mut self, over: Over) {
        if self.over.is_some() {
            return;
        }
        self.over = Some(over);
        self.turns.clear();
        self.urgent.clear();
        self.unconfirmed.clear();
        for half in self.channels.values_mut() {
            half.outgoing.clear();
            half.wake();
        }
        self.wake_mourners();
        self.wake_driver();
    }

    fn wake_mourners(&mut self) {
        for mourner in self.mourners.drain(..) {
            mourner.wake();
        }
    }

    /// Has `mourner` woken at the goodbye and at the end.
    pub(crate) fn mourn(&mut self, mourner: &Waker) {
        self.mourners.retain(|waker| !waker.will_wake(mourner));
        self.mourners.push(mourner.clone());
    }

    /// A channel that is over on both sides, and that nobody here holds, is forgotten.
    pub(super) fn forget(&mut self, channel: u32) {
        let Some(half) = self.channels.get(&channel) else { return };
        let over = self.over.is_some();
        let silent = half.said_all && half.outgoing.is_empty() && half.ended.is_some();
        if half.mute && half.deaf && (silent || over) {
            self.channels.remove(&channel);
        }
    }
}
