//! Keeps the head and the tail of a stream within a limit.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::types::output::Capture;
use crate::types::size::ByteSize;

/// Collects a stream in memory that never exceeds the limit: the first half of it from the beginning, the other from the end.
#[derive(Debug)]
pub struct Collector {
    limit: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

impl Collector {
    /// Keeps at most `limit` bytes.
    pub fn new(limit: ByteSize) -> Self {
        Self { limit: limit.as_usize(), head: Vec::new(), tail: VecDeque::new(), total: 0 }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.total += bytes.len() as u64;
        // Up to the whole limit goes into the head; only when that overflows is its second half turned into the tail.
        if self.tail.is_empty() && self.head.len() + bytes.len() <= self.limit {
            self.head.extend_from_slice(bytes);
            return;
        }
        let half = self.limit / 2;
        let room = self.limit - half;
        if self.head.len() > half {
            self.tail.extend(self.head.drain(half..));
        } else {
            let missing = (half - self.head.len()).min(bytes.len());
            let (first, rest) = bytes.split_at(missing);
            self.head.extend_from_slice(first);
            bytes = rest;
        }
        if bytes.len() >= room {
            self.tail.clear();
            bytes = &bytes[bytes.len() - room..];
        }
        let excess = (self.tail.len() + bytes.len()).saturating_sub(room);
        self.tail.drain(..excess);
        self.tail.extend(bytes);
    }

    /// How many bytes came so far, dropped ones included.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// What was kept.
    pub fn finish(self) -> Capture {
        let kept = self.head.len() + self.tail.len();
        let tail = Bytes::from(Vec::from(self.tail));
        Capture::cut(self.head, self.total - kept as u64, tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(limit: u64, chunks: &[&[u8]]) -> Capture {
        let mut collector = Collector::new(ByteSize::bytes(limit));
        chunks.iter().for_each(|chunk| collector.push(chunk));
        collector.finish()
    }

    #[test]
    fn what_fits_is_kept_whole() {
        let capture = collect(10, &[b"01234", b"56789"]);
        assert_eq!((capture.head().as_ref(), capture.dropped()), (&b"0123456789"[..], 0));
    }

    #[test]
    fn what_does_not_fit_keeps_head_and_tail_however_it_is_split() {
        let data: Vec<u8> = (0..=255).collect();
        for size in [1, 2, 3, 7, 64, 100, 256] {
            let chunks: Vec<&[u8]> = data.chunks(size).collect();
            let capture = collect(10, &chunks);
            assert_eq!(capture.head().as_ref(), &data[..5], "chunks of {size}");
            assert_eq!(capture.tail().as_ref(), &data[251..], "chunks of {size}");
            assert_eq!((capture.dropped(), capture.total()), (246, 256));
        }
    }

    #[test]
    fn odd_and_tiny_limits_never_exceed_themselves() {
        for limit in [0, 1, 2, 3, 11] {
            let capture = collect(limit, &[b"hello ", b"wonderful ", b"world"]);
            assert_eq!(capture.bytes().len() as u64, limit);
            assert_eq!(capture.total(), 21);
        }
    }
}
