//! What one side knows of a session: its channels, what is to be sent, and what was sent and not confirmed. No input, no output.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use grainchain_core::{Effect, Error, ErrorKind};

use super::frame::{Fault, Frame, MAX_PAYLOAD};

/// How many bytes a receiver takes before its reader has taken any: enough to keep a pipe full.
pub(crate) const WINDOW: u32 = 1 << 20;
/// What a frame costs beyond its bytes, so that a million frames of one byte are not cheap.
const OVERHEAD: u32 = 64;
/// How much may be on its way unconfirmed. With it a peer that grants room and confirms nothing holds up itself alone.
const UNCONFIRMED_BYTES: usize = 16 << 20;
/// See [`UNCONFIRMED_BYTES`].
const UNCONFIRMED_FRAMES: usize = 16 * 1024;
/// After how much a confirmation is due.
const CONFIRM_BYTES: usize = 512 << 10;
/// See [`CONFIRM_BYTES`].
const CONFIRM_FRAMES: u64 = 64;

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
    /// Who waits for the end.
    pub(crate) mourners: Vec<Waker>,
    pub(crate) over: Option<Over>,
    closing: bool,
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

    // ---- what this side wants -----------------------------------------------------------------------------------------

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
        }
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
        for mourner in self.mourners.drain(..) {
            mourner.wake();
        }
        self.wake_driver();
    }

    /// A channel that is over on both sides, and that nobody here holds, is forgotten.
    fn forget(&mut self, channel: u32) {
        let Some(half) = self.channels.get(&channel) else { return };
        let over = self.over.is_some();
        let silent = half.said_all && half.outgoing.is_empty() && half.ended.is_some();
        if half.mute && half.deaf && (silent || over) {
            self.channels.remove(&channel);
        }
    }

    // ---- what goes out ------------------------------------------------------------------------------------------------

    /// A pipe takes over, whose other end has received `received` counted frames.
    pub(crate) fn resume(&mut self, received: u64) -> Result<u64, Fault> {
        self.confirm(received)?;
        self.resend = 0;
        self.received_told = self.received;
        self.received_bytes = 0;
        (self.ping, self.pong) = (false, false);
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

    // ---- what comes in ------------------------------------------------------------------------------------------------

    /// A frame has arrived.
    pub(crate) fn arrive(&mut self, frame: Frame) -> Result<Arrived, Fault> {
        if frame.is_counted() {
            self.received += 1;
            self.received_bytes += frame.weight();
        }
        match frame {
            Frame::Open { channel, header } => return self.opened(channel, header),
            Frame::Data { channel, mark, bytes } => self.data(channel, mark, bytes)?,
            Frame::Finish { channel } => self.ended(channel, Ended::Finished)?,
            Frame::Reset { channel, reason } => self.ended(channel, Ended::Reset(reason))?,
            Frame::Stop { channel } => {
                if let Some(half) = self.known(channel)? {
                    half.stopped = true;
                    half.wake();
                    // Nothing that is still said would be heard. An end that was said already stands.
                    self.reset(channel, "the receiver does not want any more");
                }
            }
            Frame::Credit { channel, bytes } => {
                if let Some(half) = self.known(channel)? {
                    // Who reads grants room for what has arrived, so all room together is never more than at first.
                    let credit = half.credit.saturating_add(bytes);
                    if credit.saturating_add(half.waiting) > WINDOW {
                        return Err(Fault::Overrun);
                    }
                    half.credit = credit;
                    if let Some(writer) = half.writer.take() {
                        writer.wake();
                    }
                }
            }
            Frame::Close => {
                self.end(Over::new(
                    ErrorKind::Connection,
                    "the other side of the link has closed the session",
                ));
            }
            Frame::Ack { received } => self.confirm(received)?,
            Frame::Ping => {
                self.pong = true;
                self.wake_driver();
            }
            Frame::Pong => {}
        }
        Ok(Arrived::Nothing)
    }

    /// A channel, or none if it is over and forgotten: the other side may not know that yet.
    fn known(&mut self, channel: u32) -> Result<Option<&mut Half>, Fault> {
        if channel == 0 || channel > self.last_opened {
            return Err(Fault::Channel(channel));
        }
        Ok(self.channels.get_mut(&channel))
    }

    fn opened(&mut self, channel: u32, header: Bytes) -> Result<Arrived, Fault> {
        let Role::Server { channels } = self.role else { return Err(Fault::Opening(channel)) };
        if channel.checked_sub(1) != Some(self.last_opened) {
            return Err(Fault::Opening(channel));
        }
        // Those that were refused wait for the other side to hear of it.
        if self.channels.len() >= channels * 2 {
            return Err(Fault::Channels);
        }
        self.last_opened = channel;
        let refused = self.channels.len() >= channels;
        self.channels.insert(channel, Half::new());
        if !refused {
            return Ok(Arrived::Opened(channel, header));
        }
        self.reset(channel, "too many things at once on this link");
        self.deafen(channel);
        self.mute(channel);
        Ok(Arrived::Nothing)
    }

    fn data(&mut self, channel: u32, mark: u8, bytes: Bytes) -> Result<(), Fault> {
        let Some(half) = self.known(channel)? else { return Ok(()) };
        if half.ended.is_some() {
            return Err(Fault::AfterEnd(channel));
        }
        half.room = half.room.checked_sub(cost(bytes.len())).ok_or(Fault::Overrun)?;
        if !half.deaf {
            half.incoming.push_back((mark, bytes));
            if let Some(reader) = half.reader.take() {
                reader.wake();
            }
        }
        Ok(())
    }

    fn ended(&mut self, channel: u32, how: Ended) -> Result<(), Fault> {
        let Some(half) = self.known(channel)? else { return Ok(()) };
        if half.ended.is_some() {
            return Err(Fault::AfterEnd(channel));
        }
        half.ended = Some(how);
        half.wake();
        self.forget(channel);
        Ok(())
    }

    fn confirm(&mut self, received: u64) -> Result<(), Fault> {
        let fresh = received.checked_sub(self.confirmed).and_then(|count| usize::try_from(count).ok());
        let fresh = fresh.filter(|count| *count <= self.unconfirmed.len()).ok_or(Fault::Ack(received))?;
        for frame in self.unconfirmed.drain(..fresh) {
            self.unconfirmed_bytes -= frame.weight();
        }
        self.confirmed = received;
        self.resend = self.resend.saturating_sub(fresh);
        if fresh > 0 {
            self.wake_driver();
        }
        Ok(())
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
