//! What a command left behind: a document with lengths, and the bytes before it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use grainchain_core::{Capture, ExitStatus, Output, Result, Signal};
use serde::{Deserialize, Serialize};

use super::document::malformed;
use super::time::WireTime;

/// The bytes that a document speaks of, in its order.
#[derive(Debug, Default)]
pub(crate) struct Pieces(pub(crate) Vec<Bytes>);

/// How a command ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WireStatus {
    Code(i32),
    Signal(i32),
}

impl From<ExitStatus> for WireStatus {
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Signal(signal) => Self::Signal(signal.as_raw()),
            status => Self::Code(status.code().unwrap_or_default()),
        }
    }
}

impl TryFrom<WireStatus> for ExitStatus {
    type Error = grainchain_core::Error;

    fn try_from(status: WireStatus) -> Result<Self> {
        match status {
            WireStatus::Code(code) => Ok(Self::Code(code)),
            WireStatus::Signal(number) => Signal::new(number).map(Self::Signal),
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireCapture {
    head: u64,
    dropped: u64,
    tail: u64,
}

/// An output on its way.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireOutput {
    status: Option<WireStatus>,
    stdout: WireCapture,
    stderr: WireCapture,
    started_at: WireTime,
    execution_time: Duration,
    out_of_memory: bool,
}

impl WireOutput {
    /// The document, and the bytes that go before it.
    pub(crate) fn new(output: &Output) -> (Self, Pieces) {
        let mut pieces = Vec::with_capacity(4);
        let mut capture = |capture: &Capture| {
            pieces.extend([capture.head().clone(), capture.tail().clone()]);
            WireCapture {
                head: capture.head().len() as u64,
                dropped: capture.dropped(),
                tail: capture.tail().len() as u64,
            }
        };
        let wire = Self {
            status: output.status.map(Into::into),
            stdout: capture(&output.stdout),
            stderr: capture(&output.stderr),
            started_at: output.started_at.into(),
            execution_time: output.execution_time,
            out_of_memory: output.out_of_memory,
        };
        (wire, Pieces(pieces))
    }

    /// The output again.
    ///
    /// # Errors
    ///
    /// `Connection` when the bytes are not those that the document speaks of.
    pub(crate) fn into_output(self, mut bytes: Bytes) -> Result<Output> {
        let mut take = |length: u64| match usize::try_from(length) {
            Ok(length) if length <= bytes.len() => Ok(bytes.split_to(length)),
            _ => Err(malformed("an output without its bytes")),
        };
        let mut capture = |wire: WireCapture| {
            Ok::<_, grainchain_core::Error>(Capture::cut(take(wire.head)?, wire.dropped, take(wire.tail)?))
        };
        let (stdout, stderr) = (capture(self.stdout)?, capture(self.stderr)?);
        if !bytes.is_empty() {
            return Err(malformed("bytes beside an output"));
        }
        let status = self.status.map(TryInto::try_into).transpose()?;
        let output = Output::new(status, stdout, stderr, self.started_at.into(), self.execution_time);
        Ok(output.out_of_memory(self.out_of_memory))
    }
}

/// Bytes that come in frames, put together again up to a limit.
#[derive(Debug, Default)]
pub(crate) struct Gathered(BytesMut);

impl Gathered {
    /// Adds a frame.
    ///
    /// # Errors
    ///
    /// `Connection` when there are more than `limit`.
    pub(crate) fn push(&mut self, bytes: Bytes, limit: usize) -> Result<()> {
        if self.0.len() + bytes.len() > limit {
            return Err(malformed("more output than was asked for"));
        }
        self.0.extend_from_slice(&bytes);
        Ok(())
    }

    pub(crate) fn finish(self) -> Bytes {
        self.0.freeze()
    }
}
