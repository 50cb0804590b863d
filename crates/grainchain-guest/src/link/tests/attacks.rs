//! Peers that do not keep to the rules.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::link::handshake::{SessionId, VERSION, Wish, greet};

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

#[tokio::test]
async fn a_client_that_confirms_nothing_is_sent_no_more_than_it_may_keep() {
    let listener = server(ListenerConfig::new(token()));
    let (mut pipe, _driven) = greeted(&listener).await;
    pipe.write_all(&frame(1, 1, b"flood")).await.expect("a listener");
    // Grants more room all the time, reads everything, and never confirms.
    let mut total = 0_usize;
    let mut buffer = vec![0; 1 << 20];
    loop {
        pipe.write_all(&frame(6, 1, &(1_u32 << 20).to_le_bytes())).await.expect("a listener");
        match tokio::time::timeout(Duration::from_millis(200), pipe.read(&mut buffer)).await {
            Ok(read) => total += read.expect("a pipe"),
            Err(_silence) => break,
        }
        assert!(total < 64 << 20, "the server keeps {total} bytes for us");
    }
}
