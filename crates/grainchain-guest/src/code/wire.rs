//! The wire between this side and an interpreter's driver, without processes; `drivers/README.md` describes it.
//!
//! What a driver sends is hostile: the code of the user lives in the same process. So lengths are capped before
//! anything is kept for them, and everything that is not exactly as described is refused.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use super::launch::Language;

/// The longest line that starts a frame or a field.
const LINE_CAP: usize = 200;
/// The most entries of one frame: a bundle of MIME types has about a dozen.
const FIELD_CAP: usize = 64;
/// The default of [`Decoder::new`]'s cap: the largest plot is a few MiB.
pub(crate) const FRAME_CAP: usize = 64 * 1024 * 1024;

/// What ties the answers to one request, so that a late or forged answer to an earlier one is told apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Nonce([u8; 16]);

impl Nonce {
    /// The nonce of the greeting, which answers no request.
    pub(crate) const GREETING: Self = Self(*b"0000000000000000");

    /// A nonce that code in the sandbox cannot guess before its cell runs.
    ///
    /// # Errors
    ///
    /// When the system has no random bytes.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        Ok(Self::from_u64(getrandom::u64()?))
    }

    fn from_u64(value: u64) -> Self {
        let mut digits = [0; 16];
        for (place, digit) in digits.iter_mut().enumerate() {
            let nibble = (value >> (60 - 4 * place)) & 15;
            *digit = b"0123456789abcdef"[nibble as usize];
        }
        Self(digits)
    }

    fn parse(digits: &[u8]) -> Option<Self> {
        let lower_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        digits.try_into().ok().filter(|digits: &[u8; 16]| digits.iter().all(lower_hex)).map(Self)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The bytes of a request to run `code`, or why this language cannot be sent it.
///
/// # Errors
///
/// A shell has no way to hold a NUL byte.
pub(crate) fn request(language: Language, nonce: Nonce, code: &str) -> Result<Vec<u8>, Fault> {
    if language == Language::Bash && code.contains('\0') {
        return Err(Fault::NulInCode);
    }
    let mut bytes = format!("run {} {}\n", nonce.as_str(), code.len()).into_bytes();
    bytes.extend_from_slice(code.as_bytes());
    Ok(bytes)
}

/// One rich value: MIME types and their data, text as UTF-8 and images as they are, `text/plain` first if present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bundle(pub(crate) Vec<(String, Bytes)>);

impl Bundle {
    /// The data of one MIME type.
    #[cfg(test)]
    pub(crate) fn get(&self, mime: &str) -> Option<&Bytes> {
        self.0.iter().find(|(name, _)| name == mime).map(|(_, data)| data)
    }
}

/// What a driver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The driver is up and takes requests.
    Ready { version: String },
    /// The value of the cell's last expression.
    Result(Bundle),
    /// A value that the cell showed on its way.
    Display(Bundle),
    /// How the cell failed; at most one is expected, and always before `Done`.
    Error { name: String, value: String, traceback: String },
    /// The cell is over, and all that it wrote before lies in the pipes.
    Done { execution_count: u64 },
}

/// An event and the request that it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) nonce: Nonce,
    pub(crate) event: Event,
}

/// Why the wire cannot go on: the context is broken, or the request cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A shell has no way to hold a NUL byte.
    NulInCode,
    /// The driver speaks another version of the wire.
    Protocol { theirs: String },
    /// A frame is longer than the cap.
    TooLong { length: usize, cap: usize },
    /// A frame is not as described.
    Malformed(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NulInCode => {
                f.write_str("bash code cannot hold a NUL byte; take it out or decode it in the script")
            }
            Self::Protocol { theirs } => {
                write!(f, "the interpreter's driver speaks version {theirs:?} of the wire and not {PROTOCOL}")
            }
            Self::TooLong { length, cap } => {
                write!(f, "the interpreter sent a frame of {length} bytes, and the limit is {cap}")
            }
            Self::Malformed(what) => write!(f, "the interpreter broke the wire: {what}"),
        }
    }
}

impl std::error::Error for Fault {}

/// The version of the wire, sent in the greeting.
const PROTOCOL: &str = "1";

/// Turns the bytes of the response pipe into frames.
///
/// Holds at most one unfinished frame: after each [`Decoder::push`] call [`Decoder::next`] until it answers `None`.
#[derive(Debug)]
pub(crate) struct Decoder {
    buffer: BytesMut,
    cap: usize,
    /// Of the frame whose first line was read.
    pending: Option<(Kind, Nonce, usize)>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Ready,
    Result,
    Display,
    Error,
    Done,
}

impl Decoder {
    /// A decoder that refuses frames above `cap` bytes.
    pub(crate) fn new(cap: usize) -> Self {
        Self { buffer: BytesMut::new(), cap, pending: None }
    }

    /// Adds what was read from the pipe.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more is pushed.
    ///
    /// # Errors
    ///
    /// When the bytes are no frames of ours. The stream cannot be read on from there.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Fault> {
        if self.pending.is_none() {
            let Some(line) = take_line(&mut self.buffer)? else { return Ok(None) };
            let (kind, nonce, length) = parse_head(&line)?;
            if length > self.cap {
                return Err(Fault::TooLong { length, cap: self.cap });
            }
            self.pending = Some((kind, nonce, length));
        }
        match self.pending {
            Some((kind, nonce, length)) if self.buffer.len() >= length => {
                self.pending = None;
                let payload = self.buffer.split_to(length).freeze();
                Ok(Some(Frame { nonce, event: parse_event(kind, payload)? }))
            }
            _ => Ok(None),
        }
    }
}

/// Takes a line off the front, without its end.
fn take_line(buffer: &mut BytesMut) -> Result<Option<Bytes>, Fault> {
    let window = &buffer[..buffer.len().min(LINE_CAP)];
    if let Some(end) = window.iter().position(|&byte| byte == b'\n') {
        let line = buffer.split_to(end).freeze();
        buffer.advance(1);
        return Ok(Some(line));
    }
    if window.len() == LINE_CAP { Err(Fault::Malformed("a line is too long")) } else { Ok(None) }
}

fn parse_head(line: &[u8]) -> Result<(Kind, Nonce, usize), Fault> {
    let mut words = line.split(|&byte| byte == b' ');
    let kind = match words.next() {
        Some(b"ready") => Kind::Ready,
        Some(b"result") => Kind::Result,
        Some(b"display") => Kind::Display,
        Some(b"error") => Kind::Error,
        Some(b"done") => Kind::Done,
        _ => return Err(Fault::Malformed("a frame of an unknown kind")),
    };
    let nonce = words.next().and_then(Nonce::parse).ok_or(Fault::Malformed("a frame without a nonce"))?;
    let length = words.next().and_then(parse_number).ok_or(Fault::Malformed("a frame without a length"))?;
    if words.next().is_some() {
        return Err(Fault::Malformed("a frame's first line goes on after the length"));
    }
    Ok((kind, nonce, length))
}

/// Decimal digits only: no sign, no leading zero, so that a number has one spelling.
fn parse_number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    let canonical = digits == b"0" || (digits.first()? != &b'0' && digits.iter().all(u8::is_ascii_digit));
    if canonical { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

fn parse_fields(mut payload: Bytes) -> Result<Vec<(String, Bytes)>, Fault> {
    let mut fields: Vec<(String, Bytes)> = Vec::new();
    while !payload.is_empty() {
        let window = &payload[..payload.len().min(LINE_CAP)];
        let end = window
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or(Fault::Malformed("a field without a line"))?;
        let line = payload.split_to(end);
        payload.advance(1);
        let mut words = line.split(|&byte| byte == b' ');
        let name = words
            .next()
            .filter(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic))
            .and_then(|name| String::from_utf8(name.to_vec()).ok())
            .ok_or(Fault::Malformed("a field without a name"))?;
        let length: usize =
            words.next().and_then(parse_number).ok_or(Fault::Malformed("a field without a length"))?;
        if words.next().is_some() {
            return Err(Fault::Malformed("a field's line goes on after the length"));
        }
        if length > payload.len() {
            return Err(Fault::Malformed("a field is longer than its frame"));
        }
        if fields.len() == FIELD_CAP {
            return Err(Fault::Malformed("a frame has too many fields"));
        }
        if fields.iter().any(|(known, _)| *known == name) {
            return Err(Fault::Malformed("a frame has a field twice"));
        }
        fields.push((name, payload.split_to(length)));
    }
    Ok(fields)
}

fn parse_event(kind: Kind, payload: Bytes) -> Result<Event, Fault> {
    let fields = parse_fields(payload)?;
    match kind {
        Kind::Result => Ok(Event::Result(parse_bundle(fields)?)),
        Kind::Display => Ok(Event::Display(parse_bundle(fields)?)),
        Kind::Ready => {
            let [protocol, version] = exactly(fields, ["protocol", "version"])?;
            let protocol = text(&protocol)?;
            if protocol != PROTOCOL {
                return Err(Fault::Protocol { theirs: protocol.chars().take(20).collect() });
            }
            Ok(Event::Ready { version: text(&version)? })
        }
        Kind::Error => {
            let [name, value, traceback] = exactly(fields, ["name", "value", "traceback"])?;
            Ok(Event::Error { name: text(&name)?, value: text(&value)?, traceback: text(&traceback)? })
        }
        Kind::Done => {
            let [count] = exactly(fields, ["execution_count"])?;
            let execution_count =
                parse_number(&count).ok_or(Fault::Malformed("a count that is no number"))?;
            Ok(Event::Done { execution_count })
        }
    }
}

/// The values of fields that must be these, in this order, and no others.
fn exactly<const N: usize>(fields: Vec<(String, Bytes)>, names: [&str; N]) -> Result<[Bytes; N], Fault> {
    if !fields.iter().map(|(name, _)| name.as_str()).eq(names) {
        return Err(Fault::Malformed("a frame has other fields than its kind"));
    }
    let values: Vec<Bytes> = fields.into_iter().map(|(_, value)| value).collect();
    values.try_into().map_err(|_| Fault::Malformed("a frame has other fields than its kind"))
}

/// Whether data of this MIME type is text on the wire; all other is bytes of any kind.
pub(crate) fn is_text(mime: &str) -> bool {
    let (kind, _parameters) = mime.split_once(';').unwrap_or((mime, ""));
    kind.starts_with("text/") || ["json", "xml", "javascript"].iter().any(|end| kind.ends_with(end))
}

/// A driver never sends an empty bundle, and only images and the like may be other than text.
fn parse_bundle(fields: Vec<(String, Bytes)>) -> Result<Bundle, Fault> {
    if fields.is_empty() {
        return Err(Fault::Malformed("an empty bundle"));
    }
    for (mime, data) in &fields {
        if is_text(mime) && std::str::from_utf8(data).is_err() {
            return Err(Fault::Malformed("text that is not UTF-8"));
        }
    }
    Ok(Bundle(fields))
}

fn text(bytes: &Bytes) -> Result<String, Fault> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Fault::Malformed("text that is not UTF-8"))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
