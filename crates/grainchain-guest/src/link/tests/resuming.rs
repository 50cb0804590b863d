//! Pipes that break.

use super::*;

/// A conversation with every kind of frame in it. Panics unless it goes as if nothing had happened.
async fn converse(link: &Link) {
    let mut echo = open(link, "echo");
    for round in 0..5_u8 {
        let bytes = Bytes::from(vec![round; 100 * usize::from(round) + 1]);
        echo.sender.send(0, bytes.clone()).await.expect("room");
        assert_eq!(echo.receiver.next().await.expect("an echo"), Some((0, bytes)));
    }
    let Channel { sender, receiver: mut answers } = open(link, "end");
    sender.reset("enough");
    assert_eq!(
        answers.next().await.expect("its answer"),
        Some((0, Bytes::from_static(b"the other side broke off: enough")))
    );
    let Channel { sender, mut receiver } = echo;
    sender.finish();
    assert_eq!(receiver.next().await.expect("an end"), None);
}

#[tokio::test(start_paused = true)]
async fn a_pipe_that_breaks_at_any_byte_loses_nothing_and_repeats_nothing() {
    // As long as the greeting fails, connecting fails: that is told, and nothing hangs.
    let mut greeted = 0;
    for cut in 0..6000 {
        let listener = server(ListenerConfig::new(token()));
        let dialer = Dialer::new(&listener, [cut, 5000]);
        let dial: Arc<dyn Dial> = Arc::clone(&dialer) as _;
        match Link::connect(dial, config()).await {
            Ok((link, _)) => {
                greeted += 1;
                let conversed = tokio::time::timeout(HOUR, converse(&link)).await;
                conversed.unwrap_or_else(|_| panic!("stuck after a break at byte {cut}"));
                assert!(dialer.dialled() <= 3, "broke {} times", dialer.dialled());
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Connection, "{error}"),
        }
    }
    assert!(greeted > 5000, "{greeted}");
}

#[tokio::test(start_paused = true)]
async fn a_pipe_that_is_left_for_another_one_loses_nothing_and_repeats_nothing() {
    let listener = server(ListenerConfig::new(token()));
    let dialer = Dialer::new(&listener, []);
    let (link, _) = Link::connect(Arc::clone(&dialer) as _, config()).await.unwrap();
    let mut echo = open(&link, "echo");
    for round in 1..50_u8 {
        let bytes = Bytes::from(vec![round; 1000 * usize::from(round)]);
        echo.sender.send(0, bytes.clone()).await.unwrap();
        link.renew();
        assert_eq!(echo.receiver.next().await.unwrap(), Some((0, bytes)));
        assert_eq!(dialer.dialled(), 1 + usize::from(round));
    }
    converse(&link).await;
    link.renew();
    link.close();
    link.lost().await;
    assert_eq!(dialer.dialled(), 50, "a link that is closed dials again");
}

#[tokio::test(start_paused = true)]
async fn a_large_transfer_survives_many_breaks() {
    let listener = server(ListenerConfig::new(token()));
    let mut dice = Dice(99);
    let cuts: Vec<_> = (0..200).map(|_| 500 + dice.roll(200_000)).collect();
    let dialer = Dialer::new(&listener, cuts);
    let dial: Arc<dyn Dial> = Arc::clone(&dialer) as _;
    let link = loop {
        if let Ok((link, _)) = Link::connect(Arc::clone(&dial), config()).await {
            break link;
        }
    };
    let data: Bytes = (0..4_000_000_u32).map(|number| (number >> 8) as u8).collect::<Vec<_>>().into();
    let Channel { mut sender, mut receiver } = open(&link, "echo");
    let sent = data.clone();
    let sending = tokio::spawn(async move {
        sender.send_all(0, sent).await.expect("room");
        sender.finish();
    });
    let mut all = Vec::new();
    let reading = async {
        while let Some((_, bytes)) = receiver.next().await.expect("an echo") {
            all.extend_from_slice(&bytes);
        }
    };
    tokio::time::timeout(HOUR, reading).await.expect("no break that is never got over");
    sending.await.expect("no panic");
    assert!(all == data, "came back changed");
    assert!(dialer.dialled() > 20, "broke only {} times", dialer.dialled());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_resumes_ends_on_both_sides() {
    let (listener, mut requests) = Listener::new(ListenerConfig::new(token()).grace(Duration::from_secs(5)));
    // The greeting takes 217 bytes; nobody answers the second call.
    #[derive(Debug)]
    struct Once(Arc<Dialer>);
    #[async_trait]
    impl Dial for Once {
        async fn dial(&self) -> Result<Box<dyn Pipe>> {
            if self.0.dialled() > 0 {
                return Err(Error::new(ErrorKind::Connection, "nobody answers"));
            }
            self.0.dial().await
        }
    }
    let dial = Once(Dialer::new(&listener, [400]));
    let (link, _) =
        Link::connect(Arc::new(dial), config().patience(Duration::from_secs(3))).await.expect("a link");
    let mut channel = open(&link, "silent");
    let mut request = requests.recv().await.expect("a request");
    channel.sender.send(0, Bytes::from_static(&[0; 300])).await.expect("room");
    let lost = link.lost().await;
    assert!(lost.message().contains("nobody answers"), "{lost}");
    assert_eq!(channel.receiver.next().await.expect_err("lost").kind(), ErrorKind::Connection);
    let told = loop {
        match request.channel.receiver.next().await {
            Ok(Some(_)) => {}
            other => break other.expect_err("lost as well"),
        }
    };
    assert!(told.message().contains("not connected for 5s"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_over_is_not_resumed() {
    let listener = server(ListenerConfig::new(token()).grace(Duration::from_secs(1)));
    #[derive(Debug)]
    struct Late(Arc<Dialer>);
    #[async_trait]
    impl Dial for Late {
        async fn dial(&self) -> Result<Box<dyn Pipe>> {
            if self.0.dialled() > 0 {
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            self.0.dial().await
        }
    }
    let (link, _) =
        Link::connect(Arc::new(Late(Dialer::new(&listener, [400]))), config()).await.expect("a link");
    let mut channel = open(&link, "echo");
    channel.sender.send(0, Bytes::from_static(&[0; 300])).await.expect("room");
    assert!(link.lost().await.message().contains("the session is over"));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_noticed() {
    let listener = server(ListenerConfig::new(token()));
    // Greets, then takes everything and says nothing.
    #[derive(Debug)]
    struct Mute(Arc<Dialer>);
    #[async_trait]
    impl Dial for Mute {
        async fn dial(&self) -> Result<Box<dyn Pipe>> {
            if self.0.dialled() > 0 {
                return Err(Error::new(ErrorKind::Connection, "nobody answers"));
            }
            let (ours, mut outer) = duplex(1024);
            let mut inner = self.0.dial().await?;
            tokio::spawn(async move {
                let (mut there, mut back) = ([0; 512], [0; 512]);
                let mut answered = 0;
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                loop {
                    // The greeting alone goes through.
                    let (count, answer) = tokio::select! {
                        read = outer.read(&mut there) => (read.unwrap_or(0), false),
                        read = inner.read(&mut back) => (read.unwrap_or(0), true),
                    };
                    if count == 0 {
                        break;
                    }
                    if answered < 76 + 33 {
                        if answer {
                            answered += count;
                            outer.write_all(&back[..count]).await.ok();
                        } else {
                            inner.write_all(&there[..count]).await.ok();
                        }
                    }
                }
            });
            Ok(Box::new(ours))
        }
    }
    let config = config().ping(Duration::from_secs(1)).patience(Duration::from_millis(1));
    let (link, _) = Link::connect(Arc::new(Mute(Dialer::new(&listener, []))), config).await.expect("a link");
    let lost = tokio::time::timeout(HOUR, link.lost()).await.expect("noticed");
    assert!(lost.message().contains("silent"), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn silence_alone_loses_nothing() {
    let listener = server(ListenerConfig::new(token()).ping(Duration::from_secs(1)));
    let dialer = Dialer::new(&listener, []);
    let (link, _) =
        Link::connect(Arc::clone(&dialer) as _, config().ping(Duration::from_secs(1))).await.expect("a link");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    converse(&link).await;
    assert_eq!(dialer.dialled(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_resumed_outlives_the_grace_of_its_first_pipe() {
    let listener = server(ListenerConfig::new(token()).grace(Duration::from_secs(5)));
    let dialer = Dialer::new(&listener, [600]);
    let (link, _) = Link::connect(Arc::clone(&dialer) as _, config()).await.expect("a link");
    converse(&link).await;
    assert_eq!(dialer.dialled(), 2);
    tokio::time::sleep(Duration::from_secs(60)).await;
    converse(&link).await;
    assert_eq!(dialer.dialled(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_second_pipe_takes_over_from_one_that_still_stands() {
    use tokio::io::AsyncWriteExt;

    use crate::link::handshake::{SessionId, Wish, greet};

    let (listener, mut requests) = Listener::new(ListenerConfig::new(token()));
    let pipe = || {
        let (ours, theirs) = duplex(1024);
        let listener = listener.clone();
        (ours, tokio::spawn(async move { listener.drive(Box::new(theirs)).await }))
    };
    let ((mut first, replaced), (mut second, _driven)) = (pipe(), pipe());
    let new = Wish { session: SessionId::NEW, received: 0 };
    let session = greet(&mut first, &token(), new).await.expect("a greeting").session;
    first.write_all(&[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]).await.expect("a listener");
    let mut request = requests.recv().await.expect("a request");
    let grant = greet(&mut second, &token(), Wish { session, received: 0 }).await.expect("a greeting");
    assert_eq!((grant.session, grant.received), (session, 1));
    // What still comes through the first would arrive twice.
    first.write_all(&[2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, b'1']).await.ok();
    second.write_all(&[2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, b'2']).await.expect("a listener");
    let ended = tokio::time::timeout(HOUR, replaced).await.expect("it has been replaced");
    ended.expect("no panic").expect("which is no fault");
    let arrived = request.channel.receiver.next().await.expect("a session");
    assert_eq!(arrived, Some((0, Bytes::from_static(b"2"))));
    second.write_all(&[3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]).await.expect("a listener");
    assert_eq!(request.channel.receiver.next().await.expect("a session"), None);
}
