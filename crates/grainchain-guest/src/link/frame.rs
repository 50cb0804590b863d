//! Frames: what travels once both sides know each other.
//!
//! A frame is a header of twelve bytes (kind, mark, two zeros, channel, length; numbers in little-endian order) and a payload. The mark
//! belongs to whoever uses the channel: it says what the bytes are. It is zero where there are none.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The largest payload: 64 KiB.
pub(crate) const MAX_PAYLOAD: usize = 64 * 1024;
/// The length of a header.
pub(crate) const HEADER: usize = 12;
/// The longest reason of a reset; the rest is cut.
const MAX_REASON: usize = 1024;
/// Up to here a payload is copied. Else a peer could make us keep a large buffer for each of many bytes that nobody reads.
const COPIED: usize = 4096;

/// One frame. All but the last three are counted, and sent again after a lost pipe until the other side has confirmed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A new channel, with what it is for.
    Open { channel: u32, header: Bytes },
    /// Bytes in a channel.
    Data { channel: u32, mark: u8, bytes: Bytes },
    /// The sender of these bytes has said everything.
    Finish { channel: u32 },
    /// The sender breaks off.
    Reset { channel: u32, reason: Bytes },
    /// The receiver does not want any more.
    Stop { channel: u32 },
    /// The receiver has room for so many more bytes.
    Credit { channel: u32, bytes: u32 },
    /// The session is over, on purpose.
    Close,
    /// How many counted frames have arrived.
    Ack { received: u64 },
    /// Are you there?
    Ping,
    /// I am.
    Pong,
}

/// Why a peer cannot be listened to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No such kind of frame.
    Kind(u8),
    /// Reserved bytes are set.
    Reserved,
    /// The payload is larger than it may be.
    Oversize(u32),
    /// The payload does not have the form that its kind asks for.
    Malformed(&'static str),
    /// More bytes than there was room for.
    Overrun,
    /// A frame for a channel that is not there.
    Channel(u32),
    /// A channel opened twice, out of order, or by the side that opens none.
    Opening(u32),
    /// Something after the end of a channel.
    AfterEnd(u32),
    /// More channels than can be refused one by one.
    Channels,
    /// It confirms what was never sent.
    Ack(u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "a frame of the unknown kind {kind}"),
            Self::Reserved => f.write_str("a frame whose reserved bytes are set"),
            Self::Oversize(length) => write!(f, "a frame of {length} bytes, more than {MAX_PAYLOAD}"),
            Self::Malformed(what) => write!(f, "a malformed frame: {what}"),
            Self::Overrun => f.write_str("more bytes than there was room for"),
            Self::Channel(channel) => write!(f, "a frame for channel {channel}, which is not open"),
            Self::Opening(channel) => write!(f, "channel {channel} cannot be opened"),
            Self::AfterEnd(channel) => write!(f, "a frame after the end of channel {channel}"),
            Self::Channels => f.write_str("too many channels opened beyond the limit"),
            Self::Ack(received) => write!(f, "a confirmation of {received} frames, more than were sent"),
        }
    }
}

impl std::error::Error for Fault {}

impl Frame {
    /// A reset with as much of `reason` as fits.
    pub(crate) fn reset(channel: u32, reason: &str) -> Self {
        let mut end = reason.len().min(MAX_REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Self::Reset { channel, reason: Bytes::copy_from_slice(&reason.as_bytes()[..end]) }
    }

    /// Whether it counts, and is sent again after a lost pipe.
    pub(crate) fn is_counted(&self) -> bool {
        !matches!(self, Self::Ack { .. } | Self::Ping | Self::Pong)
    }

    /// How much memory it holds until it is confirmed.
    pub(crate) fn weight(&self) -> usize {
        HEADER + self.payload().map_or(0, Bytes::len)
    }

    fn payload(&self) -> Option<&Bytes> {
        match self {
            Self::Open { header: payload, .. }
            | Self::Data { bytes: payload, .. }
            | Self::Reset { reason: payload, .. } => Some(payload),
            _ => None,
        }
    }

    /// Appends the header, and the payload where it is a number. Returns the payload that has to follow.
    pub(crate) fn encode(&self, into: &mut BytesMut) -> Option<Bytes> {
        let (kind, channel) = match self {
            Self::Open { channel, .. } => (1, *channel),
            Self::Data { channel, .. } => (2, *channel),
            Self::Finish { channel } => (3, *channel),
            Self::Reset { channel, .. } => (4, *channel),
            Self::Stop { channel } => (5, *channel),
            Self::Credit { channel, .. } => (6, *channel),
            Self::Close => (7, 0),
            Self::Ack { .. } => (8, 0),
            Self::Ping => (9, 0),
            Self::Pong => (10, 0),
        };
        let payload = self.payload();
        let length = match self {
            Self::Credit { .. } => 4,
            Self::Ack { .. } => 8,
            _ => payload.map_or(0, Bytes::len),
        };
        into.put_slice(&[kind, if let Self::Data { mark, .. } = self { *mark } else { 0 }, 0, 0]);
        into.put_u32_le(channel);
        into.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
        match self {
            Self::Credit { bytes, .. } => into.put_u32_le(*bytes),
            Self::Ack { received } => into.put_u64_le(*received),
            _ => {}
        }
        payload.filter(|payload| !payload.is_empty()).cloned()
    }
}

/// The next frame in `buffer`, which loses its bytes, or none while it is not complete. Large payloads share the buffer's memory.
///
/// # Errors
///
/// When no honest peer says that. The buffer is useless then.
pub(crate) fn decode(buffer: &mut BytesMut) -> Result<Option<Frame>, Fault> {
    let Some(mut header) = buffer.get(..HEADER) else { return Ok(None) };
    let (kind, channel, length) = (header.get_u32_le(), header.get_u32_le(), header.get_u32_le());
    let [kind, mark, reserved @ ..] = kind.to_le_bytes();
    if reserved != [0; 2] || (mark != 0 && kind != 2) {
        return Err(Fault::Reserved);
    }
    if !(1..=10).contains(&kind) {
        return Err(Fault::Kind(kind));
    }
    let wanted = match kind {
        1 | 2 => 0..=MAX_PAYLOAD,
        4 => 0..=MAX_REASON,
        6 => 4..=4,
        8 => 8..=8,
        _ => 0..=0,
    };
    let size = length as usize;
    if size > MAX_PAYLOAD {
        return Err(Fault::Oversize(length));
    }
    if !wanted.contains(&size) {
        return Err(Fault::Malformed("its length is not that of its kind"));
    }
    if kind >= 7 && channel != 0 {
        return Err(Fault::Malformed("it names a channel and belongs to none"));
    }
    if buffer.len() < HEADER + size {
        buffer.reserve(HEADER + size - buffer.len());
        return Ok(None);
    }
    buffer.advance(HEADER);
    let mut payload = if size <= COPIED {
        let copy = Bytes::copy_from_slice(&buffer[..size]);
        buffer.advance(size);
        copy
    } else {
        buffer.split_to(size).freeze()
    };
    Ok(Some(match kind {
        1 => Frame::Open { channel, header: payload },
        2 if payload.is_empty() => return Err(Fault::Malformed("data without bytes")),
        2 => Frame::Data { channel, mark, bytes: payload },
        3 => Frame::Finish { channel },
        4 => Frame::Reset { channel, reason: payload },
        5 => Frame::Stop { channel },
        6 => Frame::Credit { channel, bytes: payload.get_u32_le() },
        7 => Frame::Close,
        8 => Frame::Ack { received: payload.get_u64_le() },
        9 => Frame::Ping,
        _ => Frame::Pong,
    }))
}

/// Words of the other side for a message of ours: as much as a reset may say, on one line, and nothing that a terminal would obey.
pub(crate) fn legible(words: &[u8]) -> String {
    let words = String::from_utf8_lossy(&words[..words.len().min(MAX_REASON)]);
    words.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
