//! The task that follows one process: it reads its output, gives it its input, and notices its end.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use grainchain_core::{Error, ExitStatus, OutputStream, Result};
use tokio::time::{Instant, sleep_until};

use super::Table;
use super::journal::End;
use super::record::{Failure, Record};
use crate::drainer;
use crate::optional::if_any;
use crate::start::exit_status;
use crate::stdin::Feed;
use crate::sys::child::Child;
use crate::sys::pipe::Reader;

/// What is read in one step after the end.
const STEP_BYTES: usize = 64 * 1024;

/// Ends when the process has ended and everything has closed its output.
pub(super) struct Pump {
    pub(super) record: Arc<Record>,
    pub(super) table: Arc<Table>,
    pub(super) child: Child,
    pub(super) streams: [Stream; 2],
    pub(super) feed: Option<Feed>,
    pub(super) timeout: Option<(Instant, Duration)>,
}

pub(super) struct Stream {
    name: OutputStream,
    /// Absent once the end was seen.
    reader: Option<Reader>,
    buffer: BytesMut,
}

enum Happened {
    Exited,
    Overdue,
    InputFailed(Error),
}

impl Pump {
    pub(super) async fn run(mut self) {
        let end = match self.follow().await {
            Ok(end) => end,
            Err(error) => End::Failed(Failure::output(&error)),
        };
        self.table.finished(&self.record);
        self.record.journal().finish(end);
        // What could not be killed in time is still reaped here and nowhere else: signals rely on the status.
        if self.record.status().is_none()
            && let Err(error) = self.reap_at_its_end().await
        {
            tracing::warn!(%error, "a process that ran out of time cannot be reaped");
        }
    }

    async fn reap_at_its_end(&mut self) -> Result<()> {
        self.child.ended().await.map_err(|error| Error::io("wait for the process", error))?;
        self.reap().map(drop)
    }

    async fn follow(&mut self) -> Result<End> {
        let happened = self.until_it_ends().await?;
        self.feed = None;
        let failure = match happened {
            Happened::Exited => None,
            Happened::Overdue => {
                let (deadline, timeout) = self.timeout.unwrap_or_else(|| (Instant::now(), Duration::ZERO));
                let killed = self.record.tree.kill_overdue(deadline).await;
                Some(Failure::Overdue { timeout, left: killed.err().map(|error| error.to_string()) })
            }
            Happened::InputFailed(error) => {
                if let Err(error) = self.record.tree.kill_until_gone().await {
                    tracing::warn!(%error, "a process without input could not be killed");
                }
                Some(Failure::input(&error))
            }
        };
        for stream in &mut self.streams {
            stream.drain(&self.record)?;
        }
        let ended = self.reap()?;
        if let Some(failure) = failure {
            // A result or an error, never both: our own SIGKILL is no way that the command ended.
            return Ok(End::Failed(failure));
        }
        if let Some(ended) = ended {
            self.record.journal().push_exit(ended);
        }
        self.table.finished(&self.record);
        self.until_all_is_closed().await?;
        Ok(End::Closed)
    }

    async fn until_it_ends(&mut self) -> Result<Happened> {
        let Self { record, child, streams: [stdout, stderr], feed, timeout, .. } = self;
        let mut ended = pin!(child.ended());
        let mut expiry = pin!(timeout.map(|(deadline, _)| sleep_until(deadline)));
        let mut expiry = expiry.as_mut().as_pin_mut();
        let (mut first, mut second) = (stderr, stdout);
        loop {
            let room = record.journal().has_room_or_wait();
            tokio::select! {
                biased;
                result = &mut ended => {
                    result.map_err(|error| Error::io("wait for the process", error))?;
                    return Ok(Happened::Exited);
                }
                () = if_any(&mut expiry) => return Ok(Happened::Overdue),
                fed = if_any(feed) => {
                    *feed = None;
                    if let Err(error) = fed {
                        return Ok(Happened::InputFailed(error));
                    }
                }
                () = record.room.notified(), if !room => {}
                read = first.read(record), if room && first.reader.is_some() => read?,
                read = second.read(record), if room && second.reader.is_some() => read?,
            }
            // In turns: a flood on one stream must not hold back the other.
            std::mem::swap(&mut first, &mut second);
        }
    }

    /// What is left behind may write on.
    async fn until_all_is_closed(&mut self) -> Result<()> {
        let Self { record, streams: [stdout, stderr], .. } = self;
        let (mut first, mut second) = (stderr, stdout);
        while first.reader.is_some() || second.reader.is_some() {
            let room = record.journal().has_room_or_wait();
            tokio::select! {
                biased;
                () = record.room.notified(), if !room => {}
                read = first.read(record), if room && first.reader.is_some() => read?,
                read = second.read(record), if room && second.reader.is_some() => read?,
            }
            // In turns: a flood on one stream must not hold back the other.
            std::mem::swap(&mut first, &mut second);
        }
        Ok(())
    }

    fn reap(&mut self) -> Result<Option<ExitStatus>> {
        let mut status = self.record.status();
        let ended = self.child.try_wait().map_err(|error| Error::io("wait for the process", error))?;
        let Some(ended) = ended else { return Ok(None) };
        let ended = exit_status(ended)?;
        *status = Some(ended);
        Ok(Some(ended))
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        // A runtime that shuts down drops this task. The process is the sandbox's and lives on.
        for stream in &mut self.streams {
            if let Some(reader) = stream.reader.take() {
                drainer::adopt(reader, self.record.tree.clone());
            }
        }
        self.record.journal().finish(End::Failed(Failure::Unattended));
    }
}

impl Stream {
    pub(super) fn new(name: OutputStream, reader: Option<Reader>) -> Self {
        Self { name, reader, buffer: BytesMut::new() }
    }

    async fn read(&mut self, record: &Record) -> Result<()> {
        let Some(reader) = &mut self.reader else { return pending().await };
        if reader.read(&mut self.buffer).await.map_err(unreadable)? == 0 {
            self.reader = None;
        }
        record.journal().push(self.name, &mut self.buffer);
        Ok(())
    }

    /// Takes what is in the pipe at this moment, whether there is room or not: the end must not wait for a reader, and
    /// what the pipe holds is bounded.
    fn drain(&mut self, record: &Record) -> Result<()> {
        let Some(reader) = &self.reader else { return Ok(()) };
        // A terminal does not tell everything that it holds; at the end of a pipe this is zero.
        let mut left = usize::try_from(reader.available().map_err(unreadable)?).unwrap_or(usize::MAX);
        left = left.max(STEP_BYTES);
        while let Some(reader) = &mut self.reader {
            let step = left.min(STEP_BYTES);
            let drained = reader.drain_now(&mut self.buffer, step).map_err(unreadable)?;
            record.journal().push(self.name, &mut self.buffer);
            left -= drained.bytes;
            if drained.ended {
                self.reader = None;
            } else if drained.bytes < step || left == 0 {
                break;
            }
        }
        Ok(())
    }
}

fn unreadable(error: std::io::Error) -> Error {
    Error::io("read the process's output", error)
}
