//! Streams of JSON lines: how pulls and builds tell their progress.

use bytes::{Buf, BytesMut};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use grainchain_core::{Error, ErrorKind, Result};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

/// The longest line that we take: the log of one build step comes in pieces far below that.
const LONGEST: usize = 16 << 20;

/// Splits bytes at line ends, however they arrive.
#[derive(Debug, Default)]
struct Lines {
    buffer: BytesMut,
}

impl Lines {
    /// The next whole line, or at the `end` of the data also an unfinished one.
    fn next(&mut self, end: bool) -> Result<Option<Value>> {
        loop {
            let line = match self.buffer.iter().position(|byte| *byte == b'\n') {
                Some(at) => {
                    let line = self.buffer.split_to(at);
                    self.buffer.advance(1);
                    line
                }
                None if end && !self.buffer.is_empty() => self.buffer.split(),
                None if self.buffer.len() > LONGEST => return Err(broken("a line without an end")),
                None => return Ok(None),
            };
            if !line.trim_ascii().is_empty() {
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|cause| broken("a line that is no JSON").caused_by(cause));
            }
        }
    }
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Server, format!("the engine's stream is broken: {what}"))
        .hint("check that nothing between here and the engine changes the stream")
}

/// The JSON lines of `body`. Ends with the first error, also one that the engine tells in a line.
pub(super) fn lines(what: &'static str, body: Incoming) -> impl Stream<Item = Result<Value>> + Send {
    try_unfold((body, Lines::default(), false), move |(mut body, mut lines, mut end)| async move {
        loop {
            if let Some(line) = lines.next(end)? {
                let complaint = line["errorDetail"]["message"].as_str().or_else(|| line["error"].as_str());
                if let Some(said) = complaint {
                    return Err(crate::error::told(what, None, said));
                }
                return Ok(Some((line, (body, lines, end))));
            }
            if end {
                return Ok(None);
            }
            match body.frame().await {
                Some(frame) => {
                    let frame = frame.map_err(|cause| {
                        Error::new(
                            ErrorKind::Connection,
                            format!("{what}: the connection to the engine broke"),
                        )
                        .caused_by(cause)
                    })?;
                    if let Some(data) = frame.data_ref() {
                        lines.buffer.extend_from_slice(data);
                    }
                }
                None => end = true,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_the_same_however_they_were_split_and_ended() {
        let wire = b"{\"a\":1}\r\n\r\n{\"a\":\"x\\ny\"}\n{\"a\":3}";
        for size in 1..wire.len() {
            let (mut lines, mut seen) = (Lines::default(), Vec::new());
            for chunk in wire.chunks(size) {
                lines.buffer.extend_from_slice(chunk);
                while let Some(line) = lines.next(false).unwrap() {
                    seen.push(line["a"].clone());
                }
            }
            seen.extend(lines.next(true).unwrap().map(|line| line["a"].clone()));
            assert_eq!(seen, [Value::from(1), Value::from("x\ny"), Value::from(3)], "chunks of {size}");
        }
    }

    #[test]
    fn a_line_that_is_cut_off_is_an_error_and_not_the_end() {
        let mut lines = Lines { buffer: BytesMut::from(&b"{\"a\":"[..]) };
        assert!(lines.next(false).unwrap().is_none());
        assert_eq!(lines.next(true).unwrap_err().kind(), ErrorKind::Server);
    }
}
