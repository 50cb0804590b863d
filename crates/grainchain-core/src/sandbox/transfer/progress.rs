//! Transfers are bounded by progress, not by a total time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;

use crate::client::overdue;
use crate::error::{Error, Result};
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
    progress: Arc<TransferProgress>,
    unseen: u64,
}

/// Counts what is taken from `content`.
pub(super) fn observe(content: Content) -> (Content, Observed) {
    let progress = Arc::<TransferProgress>::default();
    let unseen = content.len().unwrap_or(0);
    let counter = Arc::clone(&progress);
    let content = content.map_stream(|stream| counted(stream, counter));
    (content, Observed { progress, unseen })
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
        let (mut limit, mut seen) = (first, 0);
        loop {
            if let Ok(result) = timeout(limit, &mut work).await {
                return result;
            }
            let now = self.progress.bytes();
            if now == seen {
                return Err(overdue(limit));
            }
            (limit, seen) = (idle, now);
        }
    }
}

/// Ends `stream` with an error when nothing comes for `idle`.
pub(super) fn bounded(
    stream: ByteStream,
    idle: Duration,
    complete: impl Fn(Error) -> Error + Clone + Send + 'static,
) -> ByteStream {
    Box::pin(futures_util::stream::unfold(Some(stream), move |stream| {
        let complete = complete.clone();
        async move {
            let mut stream = stream?;
            match timeout(idle, stream.next()).await {
                Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(stream))),
                Ok(Some(Err(error))) => Some((Err(complete(error)), None)),
                Ok(None) => None,
                Err(_) => Some((Err(complete(overdue(idle))), None)),
            }
        }
    }))
}
