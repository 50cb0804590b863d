//! One handle's view of a process.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use grainchain_core::{OutputStream, ProcessEvent, Result};

use super::Table;
use super::journal::{End, Next};
use super::record::Record;

/// The events of one attached handle. Dropping it detaches.
pub(super) struct Events {
    record: Arc<Record>,
    table: Arc<Table>,
    key: u64,
    started: bool,
    /// Still to be told, by stream.
    lost: [u64; 2],
    ended: bool,
}

impl Events {
    /// None when the result has been fetched already.
    pub(super) fn attach(record: &Arc<Record>, table: &Arc<Table>) -> Option<Self> {
        let mut journal = record.journal();
        if journal.fetched {
            return None;
        }
        let (key, lost) = journal.attach();
        drop(journal);
        let (record, table) = (Arc::clone(record), Arc::clone(table));
        Some(Self { record, table, key, started: false, lost, ended: false })
    }

    fn loss(&mut self) -> Option<ProcessEvent> {
        for (index, stream) in [OutputStream::Stdout, OutputStream::Stderr].into_iter().enumerate() {
            let bytes = std::mem::take(&mut self.lost[index]);
            if bytes > 0 {
                self.record.journal().admit_losses(stream);
                return Some(ProcessEvent::Dropped { stream, bytes });
            }
        }
        None
    }
}

impl Stream for Events {
    type Item = Result<ProcessEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if !std::mem::replace(&mut self.started, true) {
            return Poll::Ready(Some(Ok(ProcessEvent::Started)));
        }
        if let Some(loss) = self.loss() {
            return Poll::Ready(Some(Ok(loss)));
        }
        let mut journal = self.record.journal();
        let next = journal.next(self.key, context);
        self.record.wake_writer(journal);
        match next {
            Next::Event(event) => {
                if matches!(event, ProcessEvent::Exited(_)) {
                    self.table.fetched(&self.record);
                }
                Poll::Ready(Some(Ok(event)))
            }
            Next::End(end) => {
                self.ended = true;
                self.table.fetched(&self.record);
                match end {
                    End::Closed => Poll::Ready(None),
                    End::Failed(failure) => Poll::Ready(Some(Err(failure.to_error()))),
                }
            }
            Next::Nothing => Poll::Pending,
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut journal = self.record.journal();
        journal.detach(self.key);
        self.record.wake_writer(journal);
    }
}
