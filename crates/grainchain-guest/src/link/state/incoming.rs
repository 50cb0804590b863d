//! What comes in, of which nothing is believed that an honest peer does not say.

use bytes::Bytes;
use grainchain_core::ErrorKind;

use super::{Arrived, Ended, Half, Over, Role, State, WINDOW, cost};
use crate::link::frame::{Fault, Frame};

impl State {
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

    pub(super) fn confirm(&mut self, received: u64) -> Result<(), Fault> {
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
