//! Conversations: ends, breaks, room, and that they do not hold each other up.

use super::*;

#[tokio::test]
async fn what_is_said_comes_back_frame_by_frame() {
    let listener = server(ListenerConfig::new(token()).words(&b"hello"[..]));
    let (link, words) = Link::connect(Dialer::new(&listener, []), config()).await.expect("a link");
    assert_eq!(words, "hello");
    let mut channel = open(&link, "echo");
    for length in [1, 2, 1000, 65535, 65536] {
        let bytes = Bytes::from(vec![length as u8; length]);
        channel.sender.send(0, bytes.clone()).await.expect("room");
        assert_eq!(channel.receiver.next().await.expect("an echo"), Some((0, bytes)));
    }
    let Channel { sender, mut receiver } = channel;
    sender.finish();
    assert_eq!(receiver.next().await.expect("an end"), None);
    assert_eq!(receiver.next().await.expect("an end that stays"), None);
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_refused_here() {
    let listener = server(ListenerConfig::new(token()));
    let link = connect(&listener).await;
    let mut channel = open(&link, "echo");
    let error = channel.sender.send(0, Bytes::from(vec![0; 65537])).await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    assert_eq!(link.open(Bytes::from(vec![0; 65537])).expect_err("too large").kind(), ErrorKind::BadRequest);
}

#[tokio::test]
async fn megabytes_go_both_ways_at_once_in_many_channels() {
    let listener = server(ListenerConfig::new(token()));
    let link = connect(&listener).await;
    let mut tasks = Vec::new();
    for seed in 1..=16_u64 {
        let Channel { mut sender, mut receiver } = open(&link, "echo");
        let data: Vec<u8> = {
            let mut dice = Dice(seed);
            (0..3_000_000).map(|_| dice.roll(256) as u8).collect()
        };
        let sent = Bytes::from(data.clone());
        tasks.push(tokio::spawn(async move {
            sender.send_all(0, sent).await.expect("room");
            sender.finish();
        }));
        tasks.push(tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some((_, bytes)) = receiver.next().await.expect("an echo") {
                all.extend_from_slice(&bytes);
            }
            assert!(all == data, "channel {seed} came back changed");
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
}

#[tokio::test]
async fn each_way_of_a_channel_ends_by_itself() {
    let listener = server(ListenerConfig::new(token()));
    let link = connect(&listener).await;
    let Channel { sender, mut receiver } = open(&link, "end");
    sender.finish();
    assert_eq!(receiver.next().await.expect("its answer"), Some((0, Bytes::from_static(b"finished"))));
    let Channel { sender, mut receiver } = open(&link, "end");
    sender.reset("changed my mind");
    let answer = receiver.next().await.expect("its answer").expect("some words");
    assert_eq!(answer.1, "the other side broke off: changed my mind");
    let Channel { sender, mut receiver } = open(&link, "end");
    drop(sender);
    let answer = receiver.next().await.expect("its answer").expect("some words");
    assert_eq!(answer.1, "the other side broke off: the sender was dropped");
}

#[tokio::test]
async fn a_break_is_no_end() {
    let listener = server(ListenerConfig::new(token()));
    let link = connect(&listener).await;
    let mut channel = open(&link, "refuse");
    let error = channel.receiver.next().await.expect_err("a break");
    assert_eq!(error.message(), "the other side broke off: no such thing");
}

#[tokio::test]
async fn a_sender_hears_that_nobody_listens() {
    let listener = server(ListenerConfig::new(token()));
    let link = connect(&listener).await;
    let mut channel = open(&link, "deaf");
    channel.sender.stopped().await;
    let error = channel.sender.send(0, Bytes::from_static(b"x")).await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert_eq!(
        channel.receiver.next().await.expect("the other way is open"),
        Some((0, Bytes::from_static(b"deaf")))
    );
}

#[tokio::test]
async fn dropping_a_receiver_ends_the_flood() {
    let listener = server(ListenerConfig::new(token()).channels(1));
    let link = connect(&listener).await;
    let mut channel = open(&link, "flood");
    assert!(channel.receiver.next().await.expect("a flood").is_some());
    drop(channel);
    // There is one place: it is free again once the flood has ended.
    let mut channel = loop {
        match link.open(Bytes::from_static(b"echo")) {
            Ok(channel) => break channel,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}"),
        }
        tokio::task::yield_now().await;
    };
    channel.sender.send(0, Bytes::from_static(b"free")).await.expect("room");
    assert_eq!(channel.receiver.next().await.expect("an echo"), Some((0, Bytes::from_static(b"free"))));
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_its_own_channel_alone() {
    let listener = server(ListenerConfig::new(token()));
    let link = connect(&listener).await;
    let floods: Vec<_> = (0..4).map(|_| open(&link, "flood")).collect();
    let mut stuck = open(&link, "silent");
    // Fills what there is room for.
    let filled = tokio::time::timeout(Duration::from_millis(50), async {
        loop {
            stuck.sender.send(0, Bytes::from_static(&[1; 65536])).await.expect("room or waiting");
        }
    });
    filled.await.expect_err("there is no end of room");
    let mut channel = open(&link, "echo");
    for _ in 0..100 {
        channel.sender.send(0, Bytes::from_static(b"still there?")).await.expect("room");
        assert_eq!(
            channel.receiver.next().await.expect("an echo"),
            Some((0, Bytes::from_static(b"still there?")))
        );
    }
    drop(floods);
}

#[tokio::test]
async fn a_closed_link_tells_both_sides() {
    let listener = server(ListenerConfig::new(token()));
    let mut connected = listener.connected();
    let link = connect(&listener).await;
    connected.wait_for(|count| *count == 1).await.expect("a listener");
    let mut channel = open(&link, "silent");
    link.close();
    assert_eq!(channel.receiver.next().await.expect_err("closed").kind(), ErrorKind::Connection);
    assert!(link.lost().await.message().contains("closed"));
    let error = link.open(Bytes::new()).expect_err("closed");
    assert_eq!(error.what_happened(), grainchain_core::Effect::None);
    connected.wait_for(|count| *count == 0).await.expect("a listener");
}

#[tokio::test]
async fn what_was_said_before_the_close_arrives() {
    let (seen, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (listener, mut requests) = Listener::new(ListenerConfig::new(token()));
    tokio::spawn(async move {
        while let Some(mut request) = requests.recv().await {
            while let Ok(Some((_, bytes))) = request.channel.receiver.next().await {
                seen.send(bytes.len()).expect("a test that listens");
            }
        }
    });
    let link = connect(&listener).await;
    let mut channel = open(&link, "count");
    for _ in 0..10 {
        channel.sender.send(0, Bytes::from_static(&[0; 1000])).await.expect("room");
    }
    channel.sender.finish();
    drop(link);
    for _ in 0..10 {
        assert_eq!(told.recv().await, Some(1000));
    }
}
