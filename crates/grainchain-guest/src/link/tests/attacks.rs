//! Peers that do not keep to the rules.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::link::frame::{Frame, decode};
use crate::link::handshake::{SessionId, VERSION, Wish, greet};
use crate::link::state::cost;

/// A pipe to `listener` on which we have greeted with `token`, and how `drive` ended.
async fn greeted(listener: &Listener) -> (DuplexStream, tokio::task::JoinHandle<Result<()>>) {
    let (mut ours, theirs) = duplex(1 << 20);
    let driving = listener.clone();
    let driven = tokio::spawn(async move { driving.drive(Box::new(theirs)).await });
    greet(&mut ours, &token(), Wish { session: SessionId::NEW, received: 0 }).await.expect("a greeting");
    (ours, driven)
}

fn frame(kind: u8, channel: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend_from_slice(&channel.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

#[tokio::test]
async fn whoever_breaks_the_rules_loses_the_session_and_nobody_else_does() {
    let listener = server(ListenerConfig::new(token()).channels(4));
    let good = connect(&listener).await;
    let open = frame(1, 1, b"silent");
    let overrun: Vec<u8> =
        open.iter().copied().chain((0..20).flat_map(|_| frame(2, 1, &[0; 65536]))).collect();
    let flood: Vec<u8> = (1..100).flat_map(|channel| frame(1, channel, b"silent")).collect();
    for (bytes, why) in [
        (frame(2, 1, b"x"), "channel 1, which is not open"),
        (frame(99, 1, b""), "unknown kind"),
        (frame(1, 2, b""), "cannot be opened"),
        ([open.clone(), open.clone()].concat(), "cannot be opened"),
        ([open.clone(), frame(3, 1, b""), frame(2, 1, b"x")].concat(), "after the end"),
        ([open.clone(), frame(3, 1, b""), frame(3, 1, b"")].concat(), "after the end"),
        (overrun, "more bytes than there was room for"),
        (flood, "too many channels"),
        (frame(8, 0, &9_u64.to_le_bytes()), "more than were sent"),
        ([open, frame(6, 1, &u32::MAX.to_le_bytes())].concat(), "more bytes than there was room for"),
        (vec![2, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255], "4294967295 bytes"),
    ] {
        let (mut pipe, driven) = greeted(&listener).await;
        // It may hang up in the middle of it.
        pipe.write_all(&bytes).await.ok();
        let error = driven.await.expect("no panic").expect_err("refused");
        assert!(error.message().contains(why), "{why}: {error}");
    }
    let mut channel = super::open(&good, "echo");
    channel.sender.send(0, Bytes::from_static(b"unharmed")).await.expect("room");
    assert_eq!(channel.receiver.next().await.expect("an echo"), Some((0, Bytes::from_static(b"unharmed"))));
}

#[tokio::test]
async fn without_the_token_nothing_can_be_done() {
    let listener = server(ListenerConfig::new(token()));
    let guess = Token::new(&b"0123456789abcdeF"[..]).expect("long enough");
    let error = Link::connect(Dialer::new(&listener, []), LinkConfig::new(guess)).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    // Whoever goes on without looking at the server's proof is refused by the server.
    let (mut ours, theirs) = duplex(1024);
    let driven = tokio::spawn(async move { listener.drive(Box::new(theirs)).await });
    let mut hello = b"grnchain".to_vec();
    hello.extend_from_slice(&VERSION.to_le_bytes());
    hello.extend_from_slice(&[0; 56]);
    ours.write_all(&hello).await.expect("a listener");
    ours.read_exact(&mut [0; 76]).await.expect("its hello");
    ours.write_all(&[0; 32]).await.expect("a listener");
    assert_eq!(driven.await.expect("no panic").expect_err("refused").kind(), ErrorKind::Auth);
    assert_eq!(ours.read(&mut [0; 1]).await.expect("an end"), 0, "it says something to a stranger");
}

#[tokio::test]
async fn a_helper_without_the_token_is_found_out() {
    let other = Token::new(&b"an impostor's own"[..]).expect("long enough");
    let listener = server(ListenerConfig::new(other));
    let error = Link::connect(Dialer::new(&listener, []), config()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.message().contains("does not know the token"), "{error}");
}

#[tokio::test]
async fn another_version_is_refused_with_both_named() {
    let listener = server(ListenerConfig::new(token()));
    let (mut ours, theirs) = duplex(1024);
    let driven = tokio::spawn(async move { listener.drive(Box::new(theirs)).await });
    let mut hello = b"grnchain".to_vec();
    hello.extend_from_slice(&77_u32.to_le_bytes());
    hello.extend_from_slice(&[0; 56]);
    ours.write_all(&hello).await.expect("a listener");
    let error = driven.await.expect("no panic").expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("77") && error.message().contains(&VERSION.to_string()), "{error}");
}

#[tokio::test]
async fn a_stranger_is_no_client() {
    let listener = server(ListenerConfig::new(token()));
    let (mut ours, theirs) = duplex(1024);
    let driven = tokio::spawn(async move { listener.drive(Box::new(theirs)).await });
    ours.write_all(&[b'G'; 68]).await.expect("a listener");
    assert!(driven.await.expect("no panic").expect_err("refused").message().contains("no client"));
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_greet_is_not_waited_for() {
    let listener = server(ListenerConfig::new(token()));
    let (_ours, theirs) = duplex(1024);
    assert_eq!(listener.drive(Box::new(theirs)).await.expect_err("refused").kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn there_are_no_more_sessions_than_allowed() {
    let listener = server(ListenerConfig::new(token()).sessions(2));
    let _two = (connect(&listener).await, connect(&listener).await);
    let error = Link::connect(Dialer::new(&listener, []), config()).await.expect_err("refused");
    assert!(error.message().contains("2 sessions"), "{error}");
}

#[tokio::test]
async fn an_unknown_session_is_not_found() {
    let listener = server(ListenerConfig::new(token()));
    let (mut ours, theirs) = duplex(1024);
    tokio::spawn(async move { listener.drive(Box::new(theirs)).await });
    let wish = Wish { session: SessionId([1; 16]), received: 0 };
    assert_eq!(greet(&mut ours, &token(), wish).await.expect_err("refused").kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_confirms_nothing_is_sent_no_more_than_it_may_keep() {
    let listener = server(ListenerConfig::new(token()));
    let (mut pipe, _driven) = greeted(&listener).await;
    pipe.write_all(&frame(1, 1, b"flood")).await.expect("a listener");
    // Reads everything, grants room for all of it, and never confirms.
    let (mut total, mut buffer) = (0_usize, BytesMut::new());
    let listening = async {
        loop {
            while let Some(frame) = decode(&mut buffer).expect("an honest server") {
                let Frame::Data { bytes, .. } = frame else { continue };
                total += bytes.len();
                let room = cost(bytes.len()).to_le_bytes();
                pipe.write_all(&super::attacks::frame(6, 1, &room)).await.expect("a listener");
                assert!(total < 64 << 20, "the server keeps {total} bytes for us");
            }
            pipe.read_buf(&mut buffer).await.expect("a pipe");
        }
    };
    // The clock stands still until nothing moves any more.
    let silence = tokio::time::timeout(Duration::from_secs(9), listening).await;
    silence.expect_err("the server stopped at some point");
    assert!(total > 8 << 20, "stopped after {total} bytes already");
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_welcome_never_arrives_does_not_stay() {
    let grace = Duration::from_secs(5);
    let listener = server(ListenerConfig::new(token()).sessions(1).grace(grace));
    // The server's words fit no pipe of a client that has gone before they came.
    let cut = 68 + 76 + 32;
    let error = Link::connect(Dialer::new(&listener, [cut]), config()).await.expect_err("a broken pipe");
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    assert!(Link::connect(Dialer::new(&listener, []), config()).await.is_err(), "its place is taken");
    tokio::time::sleep(grace * 2).await;
    Link::connect(Dialer::new(&listener, []), config()).await.expect("its place is free again");
}

#[tokio::test]
async fn who_asks_for_too_much_at_once_is_told_and_keeps_what_it_has() {
    let listener = server(ListenerConfig::new(token()).channels(4));
    let link = connect(&listener).await;
    let mut first = open(&link, "echo");
    let many: Vec<_> = (0..100).map(|_| link.open(Bytes::from_static(b"silent"))).collect();
    let refused = many.iter().filter_map(|opened| opened.as_ref().err()).collect::<Vec<_>>();
    assert_eq!(refused.len(), 97);
    assert!(refused.iter().all(|error| error.kind() == ErrorKind::Exhausted), "{refused:?}");
    first.sender.send(0, Bytes::from_static(b"unharmed")).await.expect("room");
    assert_eq!(first.receiver.next().await.expect("an echo"), Some((0, Bytes::from_static(b"unharmed"))));
}

#[tokio::test]
async fn whoever_only_knows_a_session_can_neither_resume_nor_end_it() {
    let (listener, mut requests) = Listener::new(ListenerConfig::new(token()));
    let link = connect(&listener).await;
    let mut channel = open(&link, "anything");
    let mut request = requests.recv().await.expect("a request");
    for received in [0, 1, u64::MAX] {
        let (mut ours, theirs) = duplex(1024);
        let driving = listener.clone();
        let driven = tokio::spawn(async move { driving.drive(Box::new(theirs)).await });
        let mut hello = b"grnchain".to_vec();
        hello.extend_from_slice(&VERSION.to_le_bytes());
        hello.extend_from_slice(&[9; 32]);
        hello.extend_from_slice(&request.session.0);
        hello.extend_from_slice(&u64::to_le_bytes(received));
        ours.write_all(&hello).await.expect("a listener");
        let mut theirs = [0; 76];
        ours.read_exact(&mut theirs).await.expect("its hello");
        // The best guess without the token: what the server itself has proved.
        ours.write_all(&theirs[44..]).await.expect("a listener");
        assert_eq!(driven.await.expect("no panic").expect_err("refused").kind(), ErrorKind::Auth);
    }
    channel.sender.send(0, Bytes::from_static(b"still here")).await.expect("room");
    let arrived = request.channel.receiver.next().await.expect("an unharmed session");
    assert_eq!(arrived, Some((0, Bytes::from_static(b"still here"))));
}
