//! Commands that run to their end.

use std::future::pending;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::BytesMut;
use grainchain_core::facet::Exec;
use grainchain_core::{
    ByteSize, Collector, Command, Effect, Error, ErrorKind, ExitStatus, Output, Result, Stdin,
};
use tokio::time::{Instant, sleep_until};

use crate::drainer;
use crate::ending::Tree;
use crate::guest::Guest;
use crate::optional::if_any;
use crate::start::{Input, Keyboard, Started, exit_status};
use crate::stdin::Feed;
use crate::sys::child::Child;
use crate::sys::pipe::{Capacity, Reader};

#[cfg(test)]
mod tests;

/// What is read before looking again at what else has happened.
const STEP_BYTES: usize = 64 * 1024;

#[async_trait]
impl Exec for Guest {
    /// Runs `command` to its end, which is the end of the command itself: children that it leaves behind run on, and what
    /// they write later is read and forgotten.
    ///
    /// Each command has a session and a process group of its own. On a terminal without input the end-of-file character is
    /// typed at once, and behind any input after it, then again and again at growing distances of up to a second.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the whole tree before the drop returns.
    async fn execute(&self, command: Command) -> Result<Output> {
        if matches!(command.stdin, Stdin::Piped) {
            return Err(Error::bad_request("a command that is run to its end has no piped stdin")
                .hint("give it content, or use spawn")
                .option("stdin"));
        }
        let (limit, timeout) = (command.output_limit, command.timeout);
        let kills = self.shared.kills.count();
        let started = self.start_in_turn(command, Capacity::Default, Keyboard::Ended).await?;
        // A limit beyond what the clock can hold is none.
        let deadline = timeout.and_then(|timeout| Instant::from_std(started.begun).checked_add(timeout));
        let mut running = Running::new(started, limit);
        match running.until_it_ends(deadline).await {
            Ok(End::Exited) => {
                running.drain()?;
                let status = running.reap()?;
                let ran_out = self.shared.kills.count() > kills;
                Ok(running.finish(Some(status)).out_of_memory(ran_out))
            }
            Ok(End::Overdue) => Err(running.overdue(timeout.unwrap_or_default(), deadline).await),
            Err(error) => Err(error),
        }
    }
}

/// A command under way. The order of the fields is the order of their end: first the tree, then what it used.
struct Running {
    guard: Guard,
    child: Child,
    stdout: Stream,
    stderr: Stream,
    feed: Option<Feed>,
    started_at: SystemTime,
    begun: std::time::Instant,
}

/// Kills the tree when it is dropped, unless the command has ended by itself.
struct Guard {
    tree: Tree,
    armed: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.armed {
            self.tree.kill_now();
        }
    }
}

enum End {
    Exited,
    Overdue,
}

impl Running {
    fn new(started: Started, limit: ByteSize) -> Self {
        let Started { child, tree, stdout, stderr, input, terminal: _, started_at, begun } = started;
        Self {
            guard: Guard { tree, armed: true },
            child,
            stdout: Stream::new(Some(stdout), limit),
            stderr: Stream::new(stderr, limit),
            feed: match input {
                Input::Feed(feed) => Some(feed),
                Input::Done | Input::Open(_) => None,
            },
            started_at,
            begun,
        }
    }

    /// Moves bytes both ways until the command itself has ended or its time has run out.
    async fn until_it_ends(&mut self, deadline: Option<Instant>) -> Result<End> {
        let Self { child, stdout, stderr, feed, .. } = self;
        let mut ended = pin!(child.ended());
        let mut expiry = pin!(deadline.map(sleep_until));
        let mut expiry = expiry.as_mut().as_pin_mut();
        let (mut first, mut second) = (stderr, stdout);
        loop {
            tokio::select! {
                biased;
                result = &mut ended => {
                    result.map_err(|error| Error::io("wait for the command", error))?;
                    return Ok(End::Exited);
                }
                () = if_any(&mut expiry) => return Ok(End::Overdue),
                fed = if_any(feed) => {
                    *feed = None;
                    fed?;
                }
                read = first.read(), if first.reader.is_some() => read?,
                read = second.read(), if second.reader.is_some() => read?,
            }
            // In turns: a flood on one stream must not hold back the other.
            std::mem::swap(&mut first, &mut second);
        }
    }

    /// Takes what is in the pipes at this moment.
    fn drain(&mut self) -> Result<()> {
        self.stdout.drain()?;
        self.stderr.drain()
    }

    fn reap(&mut self) -> Result<ExitStatus> {
        let status = self.child.try_wait().map_err(|error| Error::io("wait for the command", error))?;
        let status = status.ok_or_else(|| Error::unexpected("a command that has ended cannot be reaped"))?;
        exit_status(status)
    }

    /// Ends it and tells how far it came.
    async fn overdue(mut self, timeout: Duration, deadline: Option<Instant>) -> Error {
        let killed = self.guard.tree.kill_overdue(deadline.unwrap_or_else(Instant::now)).await;
        // Whoever kills goes on without us if something is left.
        self.guard.armed = false;
        let message = format!("the command was killed because it ran longer than its timeout of {timeout:?}");
        let error = match killed {
            Ok(_) => Error::new(ErrorKind::Timeout, message).hint("raise the timeout"),
            Err(error) => Error::new(ErrorKind::Timeout, format!("{message}, but not completely: {error}"))
                .caused_by(error),
        };
        let error = error.effect(Effect::Done);
        match self.drain() {
            Ok(()) => error.output(self.finish(None)),
            Err(unread) => error.caused_by(unread),
        }
    }

    /// The result. Whatever still holds the pipes may go on writing to them.
    fn finish(mut self, status: Option<ExitStatus>) -> Output {
        self.guard.armed = false;
        let execution_time = self.begun.elapsed();
        for stream in [&mut self.stdout, &mut self.stderr] {
            if let Some(reader) = stream.reader.take() {
                drainer::adopt(reader, self.guard.tree.clone());
            }
        }
        let (stdout, stderr) = (self.stdout.collector.finish(), self.stderr.collector.finish());
        Output::new(status, stdout, stderr, self.started_at, execution_time)
    }
}

/// One of its streams, and what was read from it.
struct Stream {
    /// Absent once the end was seen.
    reader: Option<Reader>,
    buffer: BytesMut,
    collector: Collector,
}

impl Stream {
    fn new(reader: Option<Reader>, limit: ByteSize) -> Self {
        Self { reader, buffer: BytesMut::new(), collector: Collector::new(limit) }
    }

    async fn read(&mut self) -> Result<()> {
        let Some(reader) = &mut self.reader else { return pending().await };
        if reader.read(&mut self.buffer).await.map_err(unreadable)? == 0 {
            self.reader = None;
        }
        self.collect();
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        let mut left = STEP_BYTES as u64;
        let mut measured = false;
        while let Some(reader) = &mut self.reader {
            let step = left.min(STEP_BYTES as u64) as usize;
            let drained = reader.drain_now(&mut self.buffer, step).map_err(unreadable)?;
            left -= drained.bytes as u64;
            if left == 0 && !drained.ended && !measured {
                // More than usual. What is there by now counts, and not what somebody goes on writing.
                left = reader.available().map_err(unreadable)?.max(1);
                measured = true;
            } else if drained.ended {
                self.reader = None;
            } else if drained.bytes < step || left == 0 {
                break;
            }
            self.collect();
        }
        self.collect();
        Ok(())
    }

    fn collect(&mut self) {
        self.collector.push(&self.buffer);
        self.buffer.clear();
    }
}

fn unreadable(error: std::io::Error) -> Error {
    Error::io("read the command's output", error)
}
