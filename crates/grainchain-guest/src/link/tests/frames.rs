//! The codec alone.

use bytes::{Bytes, BytesMut};

use super::Dice;
use crate::link::frame::{Fault, Frame, HEADER, MAX_PAYLOAD, decode};

fn encoded(frame: &Frame) -> BytesMut {
    let mut bytes = BytesMut::new();
    if let Some(payload) = frame.encode(&mut bytes) {
        bytes.extend_from_slice(&payload);
    }
    bytes
}

fn every_kind() -> Vec<Frame> {
    vec![
        Frame::Open { channel: 1, header: Bytes::new() },
        Frame::Open { channel: u32::MAX, header: Bytes::from(vec![1; MAX_PAYLOAD]) },
        Frame::Data { channel: 7, mark: 200, bytes: Bytes::from_static(b"x") },
        Frame::Data { channel: 7, mark: 200, bytes: Bytes::from(vec![0; MAX_PAYLOAD]) },
        Frame::Finish { channel: 3 },
        Frame::reset(3, "why"),
        Frame::reset(3, &"ü".repeat(600)),
        Frame::Stop { channel: 9 },
        Frame::Credit { channel: 9, bytes: u32::MAX },
        Frame::Close,
        Frame::Ack { received: u64::MAX },
        Frame::Ping,
        Frame::Pong,
    ]
}

#[test]
fn frames_survive_any_split() {
    let frames = every_kind();
    let mut dice = Dice(42);
    for _ in 0..200 {
        let order: Vec<_> = (0..20).map(|_| frames[dice.roll(frames.len())].clone()).collect();
        let wire: Vec<u8> = order.iter().flat_map(|frame| encoded(frame).to_vec()).collect();
        let (mut buffer, mut seen, mut at) = (BytesMut::new(), Vec::new(), 0);
        while at < wire.len() {
            let step = if dice.roll(2) == 0 { 1 + dice.roll(20) } else { 1 + dice.roll(100_000) };
            let end = wire.len().min(at + step);
            buffer.extend_from_slice(&wire[at..end]);
            at = end;
            while let Some(frame) = decode(&mut buffer).expect("valid frames") {
                seen.push(frame);
            }
        }
        assert_eq!(seen, order);
        assert!(buffer.is_empty());
    }
}

#[test]
fn random_bytes_never_panic_and_never_ask_for_much() {
    let mut dice = Dice(7);
    let small: Vec<_> = every_kind().into_iter().filter(|frame| frame.weight() < 2000).collect();
    for _ in 0..20_000 {
        let mut buffer = BytesMut::new();
        let valid = dice.roll(2) == 0;
        if valid {
            buffer.extend_from_slice(&encoded(&small[dice.roll(small.len())]));
        }
        for _ in 0..dice.roll(40) {
            buffer.extend_from_slice(&[dice.roll(256) as u8]);
        }
        if !buffer.is_empty() {
            let at = dice.roll(buffer.len());
            buffer[at] ^= 1 << dice.roll(8);
        }
        while let Ok(Some(_)) = decode(&mut buffer) {}
        assert!(buffer.capacity() < 3 * MAX_PAYLOAD);
    }
}

#[test]
fn what_no_honest_peer_says_is_a_fault() {
    let header = |kind: u8, reserved: u8, channel: u32, length: u32| {
        let mut bytes = BytesMut::from(&[kind, reserved, 0, 0][..]);
        bytes.extend_from_slice(&channel.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        assert_eq!(bytes.len(), HEADER);
        bytes
    };
    for (bytes, fault) in [
        (header(0, 0, 1, 0), Fault::Kind(0)),
        (header(11, 0, 1, 0), Fault::Kind(11)),
        (header(3, 1, 1, 0), Fault::Reserved),
        (header(2, 0, 1, MAX_PAYLOAD as u32 + 1), Fault::Oversize(MAX_PAYLOAD as u32 + 1)),
        (header(2, 0, 1, u32::MAX), Fault::Oversize(u32::MAX)),
        (header(2, 0, 1, 0), Fault::Malformed("data without bytes")),
        (header(3, 0, 1, 1), Fault::Malformed("its length is not that of its kind")),
        (header(4, 0, 1, 1025), Fault::Malformed("its length is not that of its kind")),
        (header(6, 0, 1, 8), Fault::Malformed("its length is not that of its kind")),
        (header(9, 0, 1, 0), Fault::Malformed("it names a channel and belongs to none")),
    ] {
        let mut bytes = bytes;
        assert_eq!(decode(&mut bytes), Err(fault));
    }
}

#[test]
fn a_small_payload_does_not_keep_the_large_buffer_it_came_in() {
    let mut buffer = BytesMut::with_capacity(1 << 18);
    buffer.extend_from_slice(&encoded(&Frame::Data { channel: 1, mark: 0, bytes: Bytes::from_static(b"x") }));
    let held = decode(&mut buffer).expect("a valid frame");
    assert!(buffer.try_reclaim(1 << 18), "{held:?} keeps 256 KiB");
}
