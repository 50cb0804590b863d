//! Transfers are bounded by progress, not by a total time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use crate::client::overdue;
use crate::error::{Error, ErrorKind, Result};
use crate::types::content::{ByteStream, Content};

/// Slower than this nobody copies a file on one machine: what a file may take in all, where its progress cannot be seen.
const SLOWEST_COPY_PER_SECOND: u64 = 4 << 20;

/// The bytes that a transfer has moved so far.
#[derive(Debug, Default)]
pub struct TransferProgress {
    bytes: AtomicU64,
}

impl TransferProgress {
    /// The bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Watches over one upload.
pub(super) struct Observed {
    begun: Instant,
    /// When something was last taken, in microseconds since it began; zero for never.
    moved: Arc<AtomicU64>,
    /// The bytes that move where nobody sees it: of a file, or in memory already.
    unseen: u64,
}

/// Notes when something is taken from `content`.
pub(super) fn observe(content: Content) -> (Content, Observed) {
    let (begun, moved) = (Instant::now(), Arc::<AtomicU64>::default());
    let mut unseen = content.len().unwrap_or(0);
    let content = content.map_stream(|stream| {
        unseen = 0;
        let moved = Arc::clone(&moved);
        Box::pin(stream.inspect(move |_| {
            let now = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            moved.store(now.max(1), Ordering::Relaxed);
        }))
    });
    (content, Observed { begun, moved, unseen })
}

/// Counts what passes in `progress`.
pub(super) fn count(content: Content, progress: Option<Arc<TransferProgress>>) -> Content {
    match progress {
        Some(progress) => content.map_stream(|stream| counted(stream, progress)),
        None => content,
    }
}

fn counted(stream: ByteStream, progress: Arc<TransferProgress>) -> ByteStream {
    Box::pin(stream.inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            progress.add(chunk.len());
        }
    }))
}

impl Observed {
    /// Waits for `work` as long as it goes on, and no longer than `idle` while it does not.
    pub(super) async fn enforce<T>(
        self,
        idle: Duration,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        tokio::pin!(work);
        let first = idle.saturating_add(Duration::from_secs(self.unseen / SLOWEST_COPY_PER_SECOND));
        // The limit is counted from the beginning, and moves on with the data.
        let (mut limit, mut allowed) = (first, first);
        loop {
            let rest = limit.saturating_sub(self.begun.elapsed());
            if let Ok(result) = timeout(rest, &mut work).await {
                return result;
            }
            let moved = Duration::from_micros(self.moved.load(Ordering::Relaxed));
            let next = moved.saturating_add(idle);
            if moved.is_zero() || next <= limit {
                return Err(overdue(allowed));
            }
            (limit, allowed) = (next, idle);
        }
    }
}

/// Ends `stream` with an error when nothing comes for `idle`, or when it ends before the `length` that was announced.
pub(super) fn bounded(
    stream: ByteStream,
    length: Option<u64>,
    idle: Duration,
    complete: impl Fn(Error) -> Error + Clone + Send + 'static,
) -> ByteStream {
    Box::pin(futures_util::stream::unfold(Some((stream, 0)), move |state| {
        let complete = complete.clone();
        async move {
            let (mut stream, got) = state?;
            let error = match timeout(idle, stream.next()).await {
                Ok(Some(Ok(chunk))) => {
                    let got = got + chunk.len() as u64;
                    return Some((Ok(chunk), Some((stream, got))));
                }
                Ok(Some(Err(error))) => error,
                Ok(None) => broken_off(got, length?)?,
                Err(_) => overdue(idle),
            };
            Some((Err(complete(error)), None))
        }
    }))
}

fn broken_off(got: u64, announced: u64) -> Option<Error> {
    (got < announced).then(|| {
        let message = format!("the data broke off after {got} of {announced} bytes");
        Error::new(ErrorKind::Connection, message).hint("read it again")
    })
}
