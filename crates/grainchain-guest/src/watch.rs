//! Changes of files as they happen.
//!
//! The kernel tells of one directory at a time, by number and name. Everything here serves to make of that what is true of a
//! whole tree: directories are watched before they are looked through, so that nothing falls in between, and every answer that
//! may be out of date by the time it is read is compared with the directory itself.

mod growth;
mod inotify;
mod nodes;
mod renames;
mod resolve;
#[cfg(test)]
mod tests;
mod tracker;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream;
use grainchain_core::{Error, Result, WatchEvent, WatchPath, WatchStream, blocking, facet};
use tokio::io::{Interest, unix::AsyncFd};

use crate::guest::Guest;
use inotify::Queue;
use tracker::Tracker;

#[async_trait]
impl facet::Watch for Guest {
    /// Directories that cannot be read are not watched, nor are the kernel's own file systems inside. Files that a write of ours
    /// makes on its way are not told of: the file appears, as `Created`, when it is complete. When what is watched is removed or
    /// renamed, the stream ends after `Removed` with an empty path; a file that is replaced by a rename, as editors do it, is
    /// `Modified` and watched on.
    ///
    /// Nothing is read ahead: while nobody asks for events, the kernel keeps some thousands of them and then says `Overflow`.
    async fn watch(&self, request: WatchPath) -> Result<WatchStream> {
        let path = self.file_path(&request.path)?;
        let guest = self.clone();
        let tracker =
            blocking::run(move || Tracker::start(&guest.shared.root, &path, request.recursive)).await?;
        let ready = register(tracker.descriptor()).map_err(|error| Error::io("watch files", error))?;
        let watching = Watching { ready, tracker: Some(tracker) };
        Ok(Box::pin(stream::unfold(Some(watching), |watching| async move {
            let mut watching = watching?;
            let event = watching.next().await.transpose()?;
            let more = event.is_ok().then_some(watching);
            Some((event, more))
        })))
    }
}

#[expect(unsafe_code, reason = "tokio wants the descriptor to stay what it is")]
fn register(descriptor: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: the descriptor is owned by the value that is handed over, stays open as long as that lives, and never changes.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

struct Watching {
    ready: AsyncFd<Arc<OwnedFd>>,
    /// Away only while it works on the blocking pool.
    tracker: Option<Tracker>,
}

impl Watching {
    async fn next(&mut self) -> Result<Option<WatchEvent>> {
        while let Some(mut tracker) = self.tracker.take() {
            if let Some(event) = tracker.take() {
                self.tracker = Some(tracker);
                return Ok(Some(event));
            }
            if tracker.has_ended() {
                break;
            }
            let until = tracker.awaits_second_half();
            self.tracker = Some(tracker);
            let ready = match until {
                Some(until) => tokio::time::timeout_at(until.into(), self.ready.readable()).await.ok(),
                None => Some(self.ready.readable().await),
            };
            let ready = ready.transpose().map_err(|error| Error::io("wait for changes", error))?;
            let Some(mut tracker) = self.tracker.take() else { break };
            let (tracker, queue) = blocking::run(move || {
                let queue = tracker.advance()?;
                Ok((tracker, queue))
            })
            .await?;
            self.tracker = Some(tracker);
            if let Some(mut ready) = ready {
                match queue {
                    Queue::Empty => ready.clear_ready(),
                    Queue::More => ready.retain_ready(),
                }
            }
        }
        Ok(None)
    }
}
