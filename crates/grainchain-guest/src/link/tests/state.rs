//! The bookkeeping alone: order, turns, and what is kept.

use super::*;
use crate::link::frame::{Fault, Frame};
use crate::link::state::{Arrived, Role, State, WINDOW};

fn client() -> State {
    State::new(Role::Client { channels: 4 })
}

fn server() -> State {
    State::new(Role::Server { channels: 4 })
}

fn everything(state: &mut State) -> Vec<Frame> {
    std::iter::from_fn(|| state.next(true)).collect()
}

/// Carries frames from one to the other until both are quiet.
fn exchange(one: &mut State, other: &mut State) {
    loop {
        let (there, back) = (everything(one), everything(other));
        if there.is_empty() && back.is_empty() {
            return;
        }
        for frame in there {
            other.arrive(frame).expect("an honest frame");
        }
        for frame in back {
            one.arrive(frame).expect("an honest frame");
        }
    }
}

fn data(channel: u32, length: usize) -> Frame {
    Frame::Data { channel, mark: 0, bytes: Bytes::from(vec![0; length]) }
}

#[test]
fn whichever_half_is_dropped_first_both_ends_are_told_behind_the_opening() {
    for receiver_first in [true, false] {
        let mut state = client();
        let channel = state.open(Bytes::new()).expect("an open session");
        state.send(channel, 0, Bytes::from_static(b"never read"));
        if receiver_first {
            state.deafen(channel);
            state.mute(channel);
        } else {
            state.mute(channel);
            state.deafen(channel);
        }
        let frames = everything(&mut state);
        assert_eq!(
            frames,
            [
                Frame::Open { channel, header: Bytes::new() },
                Frame::Stop { channel },
                Frame::reset(channel, "the sender was dropped"),
            ],
            "receiver first: {receiver_first}"
        );
    }
}

#[test]
fn a_channel_that_both_sides_dropped_leaves_nothing_behind() {
    let (mut client, mut server) = (client(), server());
    for _ in 0..100 {
        let channel = client.open(Bytes::new()).expect("room for one");
        exchange(&mut client, &mut server);
        client.send(channel, 0, Bytes::from_static(b"x"));
        client.deafen(channel);
        client.mute(channel);
        exchange(&mut client, &mut server);
        server.mute(channel);
        server.deafen(channel);
        exchange(&mut client, &mut server);
        assert_eq!((client.channels.len(), server.channels.len()), (0, 0));
    }
}

#[test]
fn large_frames_of_one_channel_let_all_others_through_after_each() {
    let mut state = client();
    let (first, second) = (state.open(Bytes::new()).expect("open"), state.open(Bytes::new()).expect("open"));
    everything(&mut state);
    for _ in 0..10 {
        state.send(first, 0, Bytes::from(vec![0; 65536]));
    }
    assert_eq!(state.next(false), Some(data(first, 65536)));
    state.send(second, 0, Bytes::from_static(&[0]));
    state.arrive(Frame::Ping).expect("an honest frame");
    assert_eq!(state.next(false), Some(Frame::Pong));
    assert_eq!(state.next(false), Some(data(first, 65536)));
    assert_eq!(state.next(false), Some(data(second, 1)));
    assert_eq!(state.next(false), Some(data(first, 65536)));
}

#[test]
fn room_that_no_honest_reader_has_is_a_fault() {
    // More than a reader ever has, at once.
    let mut state = server();
    assert_eq!(
        state.arrive(Frame::Open { channel: 1, header: Bytes::new() }),
        Ok(Arrived::Opened(1, Bytes::new()))
    );
    assert_eq!(state.arrive(Frame::Credit { channel: 1, bytes: 1 }), Err(Fault::Overrun));
    // Room again for what has not even been sent: else a peer could make us queue without end.
    let mut state = server();
    state.arrive(Frame::Open { channel: 1, header: Bytes::new() }).expect("an honest frame");
    state.send(1, 0, Bytes::from(vec![0; 65536]));
    assert_eq!(state.arrive(Frame::Credit { channel: 1, bytes: 65536 }), Err(Fault::Overrun));
    // Room for what was read is granted.
    let mut state = server();
    state.arrive(Frame::Open { channel: 1, header: Bytes::new() }).expect("an honest frame");
    state.send(1, 0, Bytes::from(vec![0; 65536]));
    assert_eq!(everything(&mut state), [data(1, 65536)]);
    assert_eq!(state.arrive(Frame::Credit { channel: 1, bytes: 65536 }), Ok(Arrived::Nothing));
}

#[test]
fn a_reader_that_reads_everything_is_always_written_to() {
    let (mut client, mut server) = (client(), server());
    let channel = client.open(Bytes::new()).expect("open");
    let (mut dice, mut sent, mut taken) = (Dice(5), 0_u64, 0_u64);
    for _ in 0..20_000 {
        let length = if dice.roll(2) == 0 { 1 + dice.roll(100) } else { 1 + dice.roll(65536) };
        if client.channels[&channel].credit >= WINDOW / 4 {
            client.send(channel, 0, Bytes::from(vec![0; length]));
            sent += 1;
        }
        exchange(&mut client, &mut server);
        if dice.roll(3) > 0 {
            while server.take(channel).is_some() {
                taken += 1;
            }
        }
    }
    assert!(sent > 15_000, "it was let send {sent} times only, {taken} were read");
}

#[test]
fn nothing_new_begins_in_a_session_that_is_closing() {
    let mut state = client();
    let channel = state.open(Bytes::new()).expect("open");
    state.send(channel, 0, Bytes::from_static(&[0]));
    state.close();
    assert!(state.open(Bytes::new()).is_err());
    // Else a sender that never rests would keep the goodbye back for ever.
    assert!(state.refusal().is_some());
    assert_eq!(
        everything(&mut state),
        [Frame::Open { channel, header: Bytes::new() }, data(channel, 1), Frame::Close]
    );
    assert!(state.refusal().is_some() && state.open(Bytes::new()).is_err());
}
