//! JSON documents of any length within a channel.

use bytes::{Bytes, BytesMut};
use grainchain_core::{Effect, Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::link::Sender;

/// The longest document: a cell may display 64 MiB, and JSON may double that.
const LONGEST: usize = 160 << 20;

/// What the bytes of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mark {
    /// A document that goes on in the next frame.
    Part = 1,
    /// The end of a request's document.
    Request = 2,
    /// The end of an event's document.
    Event = 3,
    /// The end of the document that is the result.
    Answer = 4,
    /// The end of the document that says why there is none.
    Refusal = 5,
    /// Bytes of a file, an archive, a connection, or of standard input.
    Data = 6,
    /// Standard output.
    Stdout = 7,
    /// Standard error.
    Stderr = 8,
    /// The end of the data, where the channel stays open; the byte in it means nothing.
    End = 9,
}

impl Mark {
    fn of(mark: u8) -> Result<Self> {
        const ALL: [Mark; 9] = [
            Mark::Part,
            Mark::Request,
            Mark::Event,
            Mark::Answer,
            Mark::Refusal,
            Mark::Data,
            Mark::Stdout,
            Mark::Stderr,
            Mark::End,
        ];
        ALL.into_iter()
            .find(|known| *known as u8 == mark)
            .ok_or_else(|| malformed(format!("a frame marked {mark}")))
    }
}

/// Sends `document`, in as many frames as it takes.
///
/// # Errors
///
/// `Connection` when nobody wants it any more.
pub(crate) async fn send_document(
    sender: &mut Sender,
    mark: Mark,
    document: &(impl Serialize + Sync),
) -> Result<()> {
    let mut rest = Bytes::from(encode(document)?);
    while rest.len() > Sender::MAX {
        sender.send(Mark::Part as u8, rest.split_to(Sender::MAX)).await?;
    }
    sender.send(mark as u8, rest).await
}

/// `document` as JSON.
///
/// # Errors
///
/// `Unexpected` for what JSON cannot hold.
pub(crate) fn encode(document: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(document)
        .map_err(|error| Error::unexpected("a message cannot be written").caused_by(error))
}

/// Reads a document.
///
/// # Errors
///
/// `Connection` when it is not what was to be said here.
pub(crate) fn parse<T: DeserializeOwned>(document: &[u8]) -> Result<T> {
    serde_json::from_slice(document).map_err(|error| malformed(error.to_string()))
}

/// The other side does not keep to the protocol.
pub(crate) fn malformed(what: impl Into<String>) -> Error {
    Error::new(
        ErrorKind::Connection,
        format!("the other side of the link does not keep to the protocol: {}", what.into()),
    )
    .effect(Effect::Possible)
}

/// Puts the parts of documents together.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    parts: BytesMut,
}

impl Documents {
    /// Takes a frame; none when a document goes on.
    ///
    /// # Errors
    ///
    /// `Connection` for an unknown mark, for bytes in the middle of a document, and for one without end.
    pub(crate) fn take(&mut self, (mark, bytes): (u8, Bytes)) -> Result<Option<(Mark, Bytes)>> {
        let mark = Mark::of(mark)?;
        match mark {
            Mark::Part => {
                if self.parts.len() + bytes.len() > LONGEST {
                    return Err(malformed("a document without end"));
                }
                self.parts.extend_from_slice(&bytes);
                Ok(None)
            }
            Mark::Data | Mark::Stdout | Mark::Stderr | Mark::End if !self.parts.is_empty() => {
                Err(malformed("bytes in the middle of a document"))
            }
            _ if self.parts.is_empty() => Ok(Some((mark, bytes))),
            _ => {
                self.parts.extend_from_slice(&bytes);
                Ok(Some((mark, self.parts.split().freeze())))
            }
        }
    }
}
