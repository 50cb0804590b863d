//! Takes the engine's framed stream apart: standard output and standard error of a container or an exec.

use bytes::{Buf, Bytes, BytesMut};
use grainchain_core::{Error, ErrorKind, Result};

/// The largest frame that we take. Engines send 32 KiB; one that claims more is none, or its stream is broken.
const LARGEST: usize = 16 << 20;

const HEADER: usize = 8;

/// Whose bytes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output; also what the engine itself says when a command cannot be started.
    Stdout,
    /// Standard error.
    Stderr,
    /// The engine's own complaint about the stream.
    Engine,
}

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Whose bytes they are.
    pub(crate) stream: Stream,
    /// The bytes. A frame may arrive in several pieces.
    pub(crate) bytes: Bytes,
    /// Whether a frame begins with them.
    pub(crate) first: bool,
}

/// Takes bytes as they come and gives out the pieces in them, without copying and without waiting for the end of a frame.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    current: Option<Stream>,
    left: usize,
    first: bool,
}

impl Frames {
    /// The next piece in `buffer`, taken out of it; none when more bytes are needed.
    ///
    /// # Errors
    ///
    /// `Server` for what no engine sends.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Piece>> {
        loop {
            if let Some(stream) = self.current.filter(|_| self.left > 0) {
                if buffer.is_empty() {
                    return Ok(None);
                }
                let bytes = buffer.split_to(self.left.min(buffer.len())).freeze();
                self.left -= bytes.len();
                return Ok(Some(Piece { stream, bytes, first: std::mem::take(&mut self.first) }));
            }
            if buffer.len() < HEADER {
                return Ok(None);
            }
            let length = usize::try_from(u32::from_be_bytes([buffer[4], buffer[5], buffer[6], buffer[7]]))
                .unwrap_or(usize::MAX);
            let stream = match buffer[0] {
                1 => Stream::Stdout,
                2 => Stream::Stderr,
                3 => Stream::Engine,
                other => return Err(broken(format_args!("stream {other}"))),
            };
            if buffer[1..4] != [0, 0, 0] || length > LARGEST {
                return Err(broken(format_args!("a frame of {length} bytes")));
            }
            buffer.advance(HEADER);
            (self.current, self.left, self.first) = (Some(stream), length, true);
        }
    }

    /// Whether the stream may end here: between two frames, with nothing left over.
    pub(crate) fn is_whole(&self, buffer: &BytesMut) -> bool {
        self.left == 0 && buffer.is_empty()
    }
}

fn broken(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Server, format!("the engine's stream is broken: it announces {what}"))
        .hint("check that nothing between here and the engine changes the stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, bytes: &[u8]) -> Vec<u8> {
        let mut all = vec![stream, 0, 0, 0];
        all.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
        all.extend(bytes);
        all
    }

    /// Feeds `wire` in chunks whose sizes come from `seed`, and joins what comes out.
    fn feed(wire: &[u8], mut seed: u32) -> (Vec<u8>, Vec<u8>, usize) {
        let (mut frames, mut buffer) = (Frames::default(), BytesMut::new());
        let (mut out, mut err, mut begun) = (Vec::new(), Vec::new(), 0);
        let mut rest = wire;
        while !rest.is_empty() {
            seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12345);
            let (chunk, later) = rest.split_at((1 + (seed >> 16) as usize % 23).min(rest.len()));
            rest = later;
            buffer.extend_from_slice(chunk);
            while let Some(piece) = frames.next(&mut buffer).unwrap() {
                begun += usize::from(piece.first);
                match piece.stream {
                    Stream::Stdout => out.extend(&piece.bytes),
                    _ => err.extend(&piece.bytes),
                }
            }
        }
        assert!(frames.is_whole(&buffer));
        (out, err, begun)
    }

    #[test]
    fn frames_come_out_the_same_however_the_bytes_were_split() {
        let mut wire = Vec::new();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        for number in 0_u8..60 {
            let bytes = vec![number; usize::from(number) * 3 % 50 + 1];
            let stream = 1 + number % 2;
            wire.extend(frame(stream, &bytes));
            if stream == 1 { out.extend(&bytes) } else { err.extend(&bytes) }
        }
        for seed in 0..200 {
            assert_eq!(feed(&wire, seed), (out.clone(), err.clone(), 60), "seed {seed}");
        }
    }

    #[test]
    fn an_empty_frame_is_no_piece() {
        let wire = [frame(1, b""), frame(2, b"x")].concat();
        let (mut frames, mut buffer) = (Frames::default(), BytesMut::from(&wire[..]));
        assert_eq!(frames.next(&mut buffer).unwrap().unwrap().stream, Stream::Stderr);
        assert!(frames.next(&mut buffer).unwrap().is_none() && frames.is_whole(&buffer));
    }

    #[test]
    fn what_no_engine_sends_is_an_error() {
        for wire in [
            &b"HTTP/1.1 200"[..],
            &[1, 0, 0, 0, 0xff, 0, 0, 0],
            &[9, 0, 0, 0, 0, 0, 0, 1],
            &[1, 1, 0, 0, 0, 0, 0, 1],
        ] {
            let error = Frames::default().next(&mut BytesMut::from(wire)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Server);
        }
    }

    #[test]
    fn a_stream_that_ends_within_a_frame_is_not_whole() {
        let wire = frame(1, b"hello");
        let (mut frames, mut buffer) = (Frames::default(), BytesMut::from(&wire[..10]));
        while frames.next(&mut buffer).unwrap().is_some() {}
        assert!(!frames.is_whole(&buffer));
    }
}
