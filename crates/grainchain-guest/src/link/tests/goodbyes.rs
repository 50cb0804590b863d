//! A goodbye reaches the other side, however fast its sender goes away.

use std::sync::atomic::AtomicBool;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, mpsc};

use super::servers::{Single, against};
use super::*;
use crate::link::Request;
use crate::link::handshake::{SessionId, Wish, greet};

/// A listener that keeps a lost session for a moment only, so that a goodbye that got lost fails in time.
fn listener() -> (Listener, mpsc::UnboundedReceiver<Request>) {
    Listener::new(ListenerConfig::new(token()).grace(Duration::from_secs(1)))
}

fn serve_on(listener: &Listener, pipe: impl Pipe) {
    let listener = listener.clone();
    tokio::spawn(async move { listener.drive(Box::new(pipe)).await });
}

async fn end_of(requests: &mut mpsc::UnboundedReceiver<Request>) -> Error {
    let request = tokio::time::timeout(Duration::from_secs(30), requests.recv()).await;
    let mut request = request.expect("in time").expect("a request");
    request.channel.receiver.next().await.expect_err("broken off")
}

#[tokio::test]
async fn a_client_whose_runtime_ends_right_after_it_closed_has_said_goodbye() {
    let (listener, mut requests) = listener();
    let (ours, theirs) = duplex(64 * 1024);
    serve_on(&listener, theirs);
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _kept = runtime.block_on(async {
            let dial = Single(Mutex::new(Some(ours)));
            let (link, _) = Link::connect(Arc::new(dial), config()).await.expect("a link");
            let channel = open(&link, "silent");
            link.close();
            channel
        });
        drop(runtime);
    });
    let end = end_of(&mut requests).await;
    assert!(end.message().contains("has closed the session"), "{end}");
    client.join().expect("no panic");
}

/// While `racing` nothing that arrived is seen, up to the first write, which fails: as when the other side says something and goes away
/// in the moment between a read and a write.
struct Racing {
    inner: DuplexStream,
    racing: Arc<AtomicBool>,
}

impl AsyncRead for Racing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.racing.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

impl AsyncWrite for Racing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.racing.swap(false, Ordering::Relaxed) {
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_goodbye_is_heard_by_a_server_that_was_about_to_write() {
    let (listener, mut requests) = listener();
    let (mut ours, theirs) = duplex(64 * 1024);
    let racing = Arc::new(AtomicBool::new(false));
    serve_on(&listener, Racing { inner: theirs, racing: Arc::clone(&racing) });
    greet(&mut ours, &token(), Wish { session: SessionId::NEW, received: 0 }).await.expect("a greeting");
    ours.write_all(&[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]).await.expect("a listener");
    let mut request = requests.recv().await.expect("a request");
    racing.store(true, Ordering::Relaxed);
    ours.write_all(&[7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.expect("a listener");
    drop(ours);
    request.channel.sender.send(0, Bytes::from_static(b"too late")).await.expect("room");
    let end = request.channel.receiver.next().await.expect_err("broken off");
    assert!(end.message().contains("has closed the session"), "{end}");
}

#[tokio::test]
async fn a_client_that_said_goodbye_reads_until_the_other_side_lets_go() {
    let (link, mut theirs) = against(1024).await;
    drop(link);
    let mut goodbye = [0; 12];
    theirs.read_exact(&mut goodbye).await.expect("a goodbye");
    assert_eq!(goodbye, [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(theirs.read(&mut goodbye).await.expect("an end"), 0);
    // More than the pipe holds: somebody reads it.
    theirs.write_all(&[0; 64 * 1024]).await.expect("a reader");
}
