//! One cell under way: a stream that reads the interpreter's pipes when it is asked, and nothing in between.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use grainchain_core::{CodeEvent, Effect, Error, ErrorKind, Result};
use tokio::time::{Instant, Sleep, sleep_until};

use super::bundle;
use super::cancel::cancel;
use super::context::Live;
use super::wire::{Event, Fault, Nonce};
use crate::sys::tree::TreeError;

/// How long code may take to stop after the first interrupt that nobody waits for.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// How much longer than its timeout a run may take to answer, below the 200 ms that are promised.
const PATIENCE: Duration = Duration::from_millis(170);
/// How often it is interrupted meanwhile: a driver may miss one, and may need time for one.
pub(super) const REPEAT: Duration = Duration::from_millis(250);
/// How long a thread of the runtime waits for the answer itself. Most small cells are over by then, and to be woken through
/// the runtime would take longer than they do.
const LINGER: Duration = Duration::from_micros(50);
/// How long an interpreter that has closed its channel may take to end, so that the end can be told by its status.
const FAREWELL: Duration = Duration::from_millis(500);
/// What one cell may display, the value of its last expression included.
const DISPLAYS: usize = 10_000;
/// See [`DISPLAYS`].
const DISPLAY_BYTES: usize = 64 * 1024 * 1024;

/// The events of one run. Dropped before its end it interrupts the code.
#[derive(Debug)]
pub(super) struct Run {
    /// Until the code is over.
    live: Option<Live>,
    /// From then on, if it could not be left alone.
    ending: Option<Ending>,
    nonce: Nonce,
    /// The request and how much of it was sent.
    request: Vec<u8>,
    sent: usize,
    /// Whether [`LINGER`] is over.
    lingered: bool,
    count: u64,
    /// What is to be handed out next.
    events: VecDeque<Result<CodeEvent>>,
    /// How long it may take, and when that is over.
    timeout: Option<(Duration, Instant)>,
    stop: Option<Stop>,
    /// Since when the channel is closed.
    deaf: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    seen: Seen,
}

/// What the cell has sent so far.
#[derive(Debug, Default)]
struct Seen {
    value: bool,
    raised: bool,
    displays: usize,
    bytes: usize,
}

/// The code is being interrupted.
#[derive(Debug)]
struct Stop {
    reason: Reason,
    next: Instant,
    /// When it is no longer waited for.
    end: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Reason {
    Timeout(Duration),
    Displays,
}

/// The interpreter is being killed, and this error is the last that the run says.
struct Ending {
    kill: Pin<Box<dyn Future<Output = std::result::Result<usize, TreeError>> + Send>>,
    error: Error,
    live: Live,
}

impl std::fmt::Debug for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ending").field("error", &self.error).finish_non_exhaustive()
    }
}

impl Run {
    pub(super) fn new(
        live: Live,
        nonce: Nonce,
        request: Vec<u8>,
        sent: usize,
        count: u64,
        timeout: Option<(Duration, Instant)>,
    ) -> Self {
        Self {
            live: Some(live),
            ending: None,
            nonce,
            request,
            sent,
            lingered: false,
            count,
            events: VecDeque::new(),
            timeout,
            stop: None,
            deaf: None,
            timer: None,
            seen: Seen::default(),
        }
    }

    /// One step, after which there may be an event; pending when there is nothing to do.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(ending) = &mut self.ending {
            let killed = ready!(ending.kill.as_mut().poll(cx));
            self.ended(killed.err());
            return Poll::Ready(());
        }
        let alarm = self.alarm();
        if alarm.is_some_and(|alarm| Instant::now() >= alarm) {
            self.ring();
            return Poll::Ready(());
        }
        let Some(live) = &mut self.live else { return Poll::Ready(()) };
        let interpreter = &mut live.interpreter;
        while self.sent < self.request.len() {
            match interpreter.requests.poll_write(cx, &self.request[self.sent..]) {
                Poll::Ready(Ok(length)) => self.sent += length,
                // Nobody reads it: the interpreter ends, which is noticed below, or is killed for its silence.
                Poll::Ready(Err(_)) => {
                    self.sent = self.request.len();
                    self.deaf.get_or_insert_with(Instant::now);
                }
                Poll::Pending => break,
            }
        }
        if !std::mem::replace(&mut self.lingered, true)
            && let Ok(1..) = interpreter.responses_within(LINGER)
        {
            self.decode();
            return Poll::Ready(());
        }
        if self.deaf.is_none() {
            match interpreter.poll_responses(cx) {
                Poll::Ready(Ok(1..)) => {
                    self.decode();
                    return Poll::Ready(());
                }
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.deaf = Some(Instant::now());
                    return Poll::Ready(());
                }
                Poll::Pending => {}
            }
        }
        if interpreter.child.poll_ended(cx).is_ready() {
            self.died();
            return Poll::Ready(());
        }
        let [stdout, stderr] = interpreter.output.poll(cx);
        let pending = stdout.is_none() && stderr.is_none();
        self.output([stdout, stderr]);
        if !pending {
            return Poll::Ready(());
        }
        let Some(alarm) = alarm else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(alarm)));
        if timer.deadline() != alarm {
            timer.as_mut().reset(alarm);
        }
        timer.as_mut().poll(cx)
    }

    /// When something is to be done though nothing has happened.
    fn alarm(&self) -> Option<Instant> {
        let farewell = self.deaf.map(|since| since + FAREWELL);
        let stop = match &self.stop {
            Some(stop) => Some(stop.next),
            None => self.timeout.map(|(_, deadline)| deadline),
        };
        farewell.into_iter().chain(stop).min()
    }

    /// The time has come for something.
    fn ring(&mut self) {
        let now = Instant::now();
        if self.deaf.is_some_and(|since| now >= since + FAREWELL) {
            let message = "the interpreter has closed its channel, so it was killed; its variables are lost";
            self.kill(lost(message));
            return;
        }
        match (&mut self.stop, self.timeout) {
            (None, Some((timeout, _))) => self.interrupt(Reason::Timeout(timeout)),
            (None, None) => {}
            (Some(stop), _) if now >= stop.end => {
                let error = stop.reason.error(Fate::Running);
                if let Some(live) = &mut self.live {
                    let output = live.interpreter.output.drain();
                    self.output(output);
                }
                self.leave();
                self.events.push_back(Err(error));
            }
            (Some(stop), _) => {
                stop.next = stop.end.min(now + REPEAT);
                if let Some(live) = &mut self.live {
                    live.interpreter.interrupt();
                }
            }
        }
    }

    fn interrupt(&mut self, reason: Reason) {
        let now = Instant::now();
        let end = now
            + match reason {
                Reason::Timeout(_) => PATIENCE,
                Reason::Displays => GRACE,
            };
        self.stop = Some(Stop { reason, next: end.min(now + REPEAT), end });
        if let Some(live) = &mut self.live {
            live.interpreter.interrupt();
        }
    }

    /// Hands on every frame that has arrived, and before the first of them what was written before it was.
    fn decode(&mut self) {
        let mut drained = false;
        while let Some(live) = &mut self.live {
            let frame = match live.interpreter.decoder.next() {
                Ok(None) => return,
                Ok(Some(frame)) if frame.nonce != self.nonce => continue,
                Ok(Some(frame)) => frame,
                Err(fault) => return self.broken(fault),
            };
            if !drained {
                drained = true;
                let output = live.interpreter.output.drain();
                self.output(output);
            }
            if let Err(fault) = self.accept(frame.event) {
                return self.broken(fault);
            }
        }
    }

    fn accept(&mut self, event: Event) -> std::result::Result<(), Fault> {
        match event {
            Event::Ready { .. } => return Err(Fault::Malformed("a second greeting")),
            Event::Result(_) if std::mem::replace(&mut self.seen.value, true) => {
                return Err(Fault::Malformed("two results of one cell"));
            }
            Event::Error { .. } if std::mem::replace(&mut self.seen.raised, true) => {
                return Err(Fault::Malformed("two errors of one cell"));
            }
            Event::Result(values) => {
                if self.fits(&values.0) {
                    self.events.push_back(Ok(CodeEvent::Value(bundle::shown(values))));
                }
            }
            Event::Display(values) => {
                if self.fits(&values.0) {
                    self.events.push_back(Ok(CodeEvent::Display(bundle::shown(values))));
                }
            }
            Event::Error { name, value, traceback } => {
                let raised = bundle::raised(name, value, &traceback);
                self.events.push_back(Ok(CodeEvent::Raised(raised)));
            }
            // Counted on this side: the code can make the driver say any number.
            Event::Done { execution_count: _ } => {
                let last = match &self.stop {
                    None => Ok(CodeEvent::Done { count: self.count }),
                    Some(stop) => Err(stop.reason.error(Fate::Interrupted)),
                };
                self.events.push_back(last);
                if let Some(live) = self.live.take() {
                    live.give_back();
                }
            }
        }
        Ok(())
    }

    /// Whether one more value may be shown; interrupts the code when it may not.
    fn fits(&mut self, bundle: &[(String, Bytes)]) -> bool {
        self.seen.displays += 1;
        self.seen.bytes += bundle.iter().map(|(_, data)| data.len()).sum::<usize>();
        let fits = self.seen.displays <= DISPLAYS && self.seen.bytes <= DISPLAY_BYTES;
        if !fits && self.stop.is_none() {
            self.interrupt(Reason::Displays);
        }
        fits
    }

    fn output(&mut self, [stdout, stderr]: [Option<Bytes>; 2]) {
        self.events.extend(stdout.map(|bytes| Ok(CodeEvent::Stdout(bytes))));
        self.events.extend(stderr.map(|bytes| Ok(CodeEvent::Stderr(bytes))));
    }

    fn broken(&mut self, fault: Fault) {
        let message = format!("{fault}; so it was killed, and its variables are lost");
        self.kill(lost(message).caused_by(fault));
    }

    /// The interpreter has ended. It may have finished the code before that.
    fn died(&mut self) {
        if let Some(live) = &mut self.live
            && let Ok(1..) = live.interpreter.responses_now()
        {
            self.decode();
        }
        let Some(live) = &mut self.live else { return };
        if live.place.is_closed() {
            let message = "the context was restarted or deleted while the code ran; its variables are lost";
            return self.kill(Error::new(ErrorKind::Connection, message).effect(Effect::Done));
        }
        let status = live.interpreter.status();
        let how = status.map_or_else(|| "in an unknown way".to_owned(), |status| status.to_string());
        self.kill(lost(format!("the interpreter ended ({how}) before the code did; its variables are lost")));
    }

    /// Ends the interpreter and all that it has started; `error` is said when they are gone.
    fn kill(&mut self, error: Error) {
        let Some(mut live) = self.live.take() else { return };
        // The kill goes on whether it is waited for or not.
        live.interpreter.busy = false;
        let tree = live.interpreter.tree.clone();
        let kill = Box::pin(async move { tree.kill_until_gone().await });
        self.ending = Some(Ending { kill, error, live });
    }

    /// Leaves the interpreter to a thread that stops what it does, or ends it.
    fn leave(&mut self) {
        let Some(live) = self.live.take() else { return };
        // A request that was sent in part cannot be taken back: the interpreter, which is busy, is killed by the drop.
        if self.sent == self.request.len() {
            cancel(live, self.nonce);
        }
    }

    fn ended(&mut self, survivors: Option<TreeError>) {
        let Some(Ending { error, mut live, .. }) = self.ending.take() else { return };
        let output = live.interpreter.output.drain();
        self.output(output);
        let error = match survivors {
            None => error,
            Some(survivors) => {
                tracing::warn!(error = %survivors, "a context is not completely gone");
                error.caused_by(survivors)
            }
        };
        self.events.push_back(Err(error));
    }
}

impl Stream for Run {
    type Item = Result<CodeEvent>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let run = self.get_mut();
        loop {
            if let Some(event) = run.events.pop_front() {
                return Poll::Ready(Some(event));
            }
            if run.live.is_none() && run.ending.is_none() {
                return Poll::Ready(None);
            }
            ready!(run.advance(cx));
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What became of the interpreter.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It has stopped.
    Interrupted,
    /// It has not stopped yet.
    Running,
}

impl Reason {
    fn error(self, fate: Fate) -> Error {
        let (kind, why, hint) = match self {
            Self::Timeout(timeout) => (
                ErrorKind::Timeout,
                format!("the code ran longer than its timeout of {timeout:?}"),
                "raise the timeout",
            ),
            Self::Displays => (
                ErrorKind::Exhausted,
                format!("the code displayed more than {DISPLAYS} values or {} MiB", DISPLAY_BYTES >> 20),
                "print, or write files instead",
            ),
        };
        let outcome = match fate {
            Fate::Interrupted => "was interrupted; the context lives on and keeps its variables",
            Fate::Running => {
                "has not stopped yet; unless it does so within a second it is killed, and the variables of its context are lost"
            }
        };
        Error::new(kind, format!("{why} and {outcome}")).hint(hint).effect(Effect::Done)
    }
}

fn lost(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Connection, message)
        .hint("the context starts afresh at the next run")
        .effect(Effect::Done)
}
