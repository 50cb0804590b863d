//! What a command left behind.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use serde::{Serialize, Serializer};

use crate::types::signal::Signal;

/// How a process ended: by an exit code or by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExitStatus {
    /// It ended by itself with this code.
    Code(i32),
    /// A signal ended it.
    Signal(Signal),
}

impl ExitStatus {
    /// The exit code, unless a signal ended it.
    pub const fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal(_) => None,
        }
    }

    /// The signal that ended it.
    pub const fn signal(self) -> Option<Signal> {
        match self {
            Self::Code(_) => None,
            Self::Signal(signal) => Some(signal),
        }
    }

    /// Whether it ended with code 0.
    pub const fn success(self) -> bool {
        matches!(self, Self::Code(0))
    }

    /// The code that a shell would show: the exit code, or 128 plus the signal.
    pub const fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal.as_raw(),
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "{signal}"),
        }
    }
}

impl Serialize for ExitStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form {
            exit_code: Option<i32>,
            signal: Option<Signal>,
        }
        Form { exit_code: self.code(), signal: self.signal() }.serialize(serializer)
    }
}

/// One captured stream: all of it, or its head and tail with a count of what lay between.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Capture {
    head: Bytes,
    tail: Bytes,
    dropped: u64,
}

impl Capture {
    /// A stream that was kept whole.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { head: bytes.into(), tail: Bytes::new(), dropped: 0 }
    }

    /// A stream of which `dropped` bytes between `head` and `tail` are gone.
    pub fn cut(head: impl Into<Bytes>, dropped: u64, tail: impl Into<Bytes>) -> Self {
        Self { head: head.into(), tail: tail.into(), dropped }
    }

    /// What was kept from the beginning; everything, when nothing was dropped.
    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// What was kept from the end, when something was dropped.
    pub fn tail(&self) -> &Bytes {
        &self.tail
    }

    /// How many bytes were dropped in the middle.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many bytes the stream had in all.
    pub fn total(&self) -> u64 {
        self.head.len() as u64 + self.tail.len() as u64 + self.dropped
    }

    /// What was kept, head and tail joined without a mark.
    pub fn bytes(&self) -> Bytes {
        if self.tail.is_empty() {
            return self.head.clone();
        }
        let mut joined = BytesMut::with_capacity(self.head.len() + self.tail.len());
        joined.extend_from_slice(&self.head);
        joined.extend_from_slice(&self.tail);
        joined.freeze()
    }

    /// What was kept as text, invalid UTF-8 replaced and a line in place of what was dropped.
    pub fn text(&self) -> Cow<'_, str> {
        if self.dropped == 0 && self.tail.is_empty() {
            return String::from_utf8_lossy(&self.head);
        }
        let gap = if self.dropped > 0 {
            format!("\n[… {} bytes dropped …]\n", self.dropped)
        } else {
            String::new()
        };
        Cow::Owned(format!(
            "{}{gap}{}",
            String::from_utf8_lossy(&self.head),
            String::from_utf8_lossy(&self.tail)
        ))
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture")
            .field("kept", &(self.head.len() + self.tail.len()))
            .field("dropped", &self.dropped)
            .finish()
    }
}

/// The result of a command that ran: its status, its streams and its times.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// How it ended. Absent only in the partial output of an error, where the command had not ended by itself.
    pub status: Option<ExitStatus>,
    /// Standard output.
    pub stdout: Capture,
    /// Standard error.
    pub stderr: Capture,
    /// When it was started.
    pub started_at: SystemTime,
    /// How long it ran, as seen where it ran.
    pub execution_time: Duration,
    /// Whether the kernel killed a process of the sandbox, this command's or another's, for lack of memory while it ran. False where
    /// nobody can tell.
    pub out_of_memory: bool,
}

impl Output {
    /// An output of `status` and these streams.
    pub fn new(
        status: Option<ExitStatus>,
        stdout: Capture,
        stderr: Capture,
        started_at: SystemTime,
        execution_time: Duration,
    ) -> Self {
        Self { status, stdout, stderr, started_at, execution_time, out_of_memory: false }
    }

    /// Says whether memory ran out while it ran.
    #[must_use]
    pub fn out_of_memory(mut self, out_of_memory: bool) -> Self {
        self.out_of_memory = out_of_memory;
        self
    }

    /// Whether it ended with code 0.
    pub fn success(&self) -> bool {
        self.status.is_some_and(ExitStatus::success)
    }

    /// Whether it ended in any other way than code 0.
    pub fn failed(&self) -> bool {
        !self.success()
    }

    /// The exit code; none when a signal ended it.
    pub fn exit_code(&self) -> Option<i32> {
        self.status.and_then(ExitStatus::code)
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<Signal> {
        self.status.and_then(ExitStatus::signal)
    }

    /// Standard output as text, invalid UTF-8 replaced.
    pub fn stdout(&self) -> Cow<'_, str> {
        self.stdout.text()
    }

    /// Standard error as text, invalid UTF-8 replaced.
    pub fn stderr(&self) -> Cow<'_, str> {
        self.stderr.text()
    }

    /// Both streams as text, stdout first, trimmed.
    pub fn combined(&self) -> String {
        format!("{}\n{}", self.stdout(), self.stderr()).trim().to_owned()
    }

    /// How long it ran.
    pub const fn execution_time(&self) -> Duration {
        self.execution_time
    }

    /// Whether anything was dropped from either stream.
    pub const fn truncated(&self) -> bool {
        self.stdout.dropped() > 0 || self.stderr.dropped() > 0
    }
}

impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form<'a> {
            exit_code: Option<i32>,
            signal: Option<Signal>,
            success: bool,
            stdout: Cow<'a, str>,
            stderr: Cow<'a, str>,
            stdout_dropped: u64,
            stderr_dropped: u64,
            execution_time: f64,
            out_of_memory: bool,
            timestamp: String,
        }
        Form {
            exit_code: self.exit_code(),
            signal: self.signal(),
            success: self.success(),
            stdout: self.stdout(),
            stderr: self.stderr(),
            stdout_dropped: self.stdout.dropped(),
            stderr_dropped: self.stderr.dropped(),
            execution_time: self.execution_time.as_secs_f64(),
            out_of_memory: self.out_of_memory,
            timestamp: super::timestamp::format(self.started_at),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_stream_says_so_in_text_and_counts_everything() {
        let capture = Capture::cut("head", 5, "tail");
        assert_eq!(capture.text(), "head\n[… 5 bytes dropped …]\ntail");
        assert_eq!(capture.bytes(), "headtail");
        assert_eq!(capture.total(), 13);
    }

    #[test]
    fn a_signal_is_not_an_exit_code() {
        let status = ExitStatus::Signal(Signal::KILL);
        assert_eq!((status.code(), status.shell_code(), status.success()), (None, 137, false));
    }
}
