//! One interpreter process and our ends of its pipes.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use grainchain_core::tree::Root;
use grainchain_core::{ByteSize, Collector, Command, Effect, Error, ErrorKind, ExitStatus, Output, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process_group};

use super::launch::Language;
use super::wire::{Decoder, Event, FRAME_CAP, Frame, Nonce};
use crate::ending::Tree;
use crate::guest::Guest;
use crate::start::{exit_status, refused, search_path};
use crate::sys::child::Child;
use crate::sys::pipe::{self, Capacity, Reader, Writer};
use crate::sys::spawn::Spawn;

/// How much of what an interpreter says is kept when it does not start.
const COMPLAINT: ByteSize = ByteSize::kib(16);
/// Up to here a copy is cheaper than the memory that a larger buffer would hold for as long as its content is kept.
const COPIED_BYTES: usize = 16 * 1024;

/// A living interpreter, or one whose end was not noticed yet.
#[derive(Debug)]
pub(super) struct Interpreter {
    pub(super) child: Child,
    pub(super) tree: Tree,
    pub(super) requests: Writer,
    pub(super) responses: Reader,
    pub(super) output: Outputs,
    pub(super) decoder: Decoder,
    /// Somebody has to end what it does, or it itself, before it can be left alone.
    pub(super) busy: bool,
    scratch: BytesMut,
}

/// What its code writes. A stream is absent once its end was seen: cells may close descriptors.
#[derive(Debug)]
pub(super) struct Outputs {
    pub(super) stdout: Option<Reader>,
    pub(super) stderr: Option<Reader>,
    scratch: BytesMut,
}

impl Interpreter {
    /// Starts it; [`greeted`](Self::greeted) says whether that worked.
    pub(super) fn launch(
        guest: &Guest,
        language: Language,
        directory: Option<&Root>,
        surroundings: &Command,
    ) -> Result<Self> {
        let pipes = |error| Error::io("open the interpreter's pipes", error);
        let (requests, request) = pipe::for_writing(Capacity::Default).map_err(pipes)?;
        let (responses, response) = pipe::for_reading(Capacity::Default).map_err(pipes)?;
        let (stdout, out) = pipe::for_reading(Capacity::Default).map_err(pipes)?;
        let (stderr, err) = pipe::for_reading(Capacity::Default).map_err(pipes)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let null: OwnedFd = rustix::fs::openat(CWD, c"/dev/null", flags, Mode::empty())
            .map_err(|error| Error::io("open /dev/null", error.into()))?;

        let arguments: Vec<_> = language.arguments(FRAME_CAP).into_iter().map(Into::into).collect();
        let environment = guest.environment(surroundings);
        for program in language.programs() {
            let stdio = [null.as_fd(), out.as_fd(), err.as_fd()];
            let mut spawn = Spawn::new(program.as_ref(), &arguments, &environment, stdio);
            spawn.channel = Some([request.as_fd(), response.as_fd()]);
            spawn.working_directory = Some(directory.unwrap_or(&guest.shared.root).as_fd());
            match guest.launch(spawn)? {
                Ok((child, tree)) => {
                    return Ok(Self {
                        child,
                        tree,
                        requests,
                        responses,
                        output: Outputs {
                            stdout: Some(stdout),
                            stderr: Some(stderr),
                            scratch: BytesMut::new(),
                        },
                        decoder: Decoder::new(FRAME_CAP),
                        busy: true,
                        scratch: BytesMut::new(),
                    });
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(refused(error, &Command::argv([*program]), &environment)),
            }
        }
        let names = language.programs().join(" nor ");
        let message = match language.programs() {
            [_] => format!("no interpreter for {}: there is no program {names}", language.name()),
            _ => format!("no interpreter for {}: there is neither {names}", language.name()),
        };
        let path = search_path(&environment);
        Err(Error::not_found(message)
            .hint(format!("install one, or add its folder to PATH={path:?}"))
            .effect(Effect::None))
    }

    /// Waits until it takes requests. What it prints until then belongs to no cell and is forgotten.
    pub(super) async fn greeted(&mut self, language: Language) -> Result<()> {
        let (started_at, begun) = (SystemTime::now(), Instant::now());
        let mut said = [Collector::new(COMPLAINT), Collector::new(COMPLAINT)];
        let failure = poll_fn(|cx| self.poll_greeting(cx, &mut said)).await;
        let Err(Failure { what, status }) = failure else {
            self.busy = false;
            return Ok(());
        };
        let [stdout, stderr] = said.map(Collector::finish);
        let text = stderr.text();
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        let reason = last.map_or_else(String::new, |line| format!(": {}", line.trim()));
        let message = format!("the interpreter for {} did not start: {what}{reason}", language.name());
        let output = Output::new(status, stdout, stderr, started_at, begun.elapsed());
        Err(Error::new(ErrorKind::Unexpected, message)
            .hint(match language {
                Language::Python => "code contexts need Python 3.7 or later",
                Language::JavaScript => "code contexts need Node.js 16 or later, built with its inspector",
                Language::Bash => "code contexts need bash 4.4 or later",
            })
            .output(output)
            .effect(Effect::None))
    }

    fn poll_greeting(
        &mut self,
        cx: &mut Context<'_>,
        said: &mut [Collector; 2],
    ) -> Poll<std::result::Result<(), Failure>> {
        let failure = |what: String, status| Poll::Ready(Err(Failure { what, status }));
        loop {
            let mut progress = false;
            let ended = match self.child.poll_ended(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(error)) => return failure(error.to_string(), None),
                Poll::Pending => false,
            };
            let read = self.poll_responses(cx);
            match self.decoder.next() {
                Ok(Some(Frame { nonce: Nonce::GREETING, event: Event::Ready { .. } })) => {
                    // What a program says at its start, of a missing locale for example, is no output of the first cell.
                    self.output.drain();
                    return Poll::Ready(Ok(()));
                }
                Ok(Some(_)) => return failure("it sent something else than a greeting".to_owned(), None),
                Err(fault) => return failure(fault.to_string(), None),
                Ok(None) => {}
            }
            for (collector, bytes) in said.iter_mut().zip(self.output.poll(cx)) {
                progress |= bytes.is_some();
                collector.push(&bytes.unwrap_or_default());
            }
            if ended {
                for (collector, bytes) in said.iter_mut().zip(self.output.drain()) {
                    collector.push(&bytes.unwrap_or_default());
                }
                let status = self.status();
                let how =
                    status.map_or_else(|| "it ended".to_owned(), |status| format!("it ended ({status})"));
                return failure(how, status);
            }
            match read {
                Poll::Ready(Err(error)) => return failure(error.to_string(), None),
                Poll::Ready(Ok(1..)) => {}
                // A closed channel is most likely the first sign of its end, which comes with a reason.
                Poll::Ready(Ok(0)) | Poll::Pending if !progress => return Poll::Pending,
                Poll::Ready(Ok(0)) | Poll::Pending => {}
            }
        }
    }

    /// Reads what the driver says into the decoder; 0 at the end.
    pub(super) fn poll_responses(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.scratch.clear();
        let read = self.responses.poll_read(cx, &mut self.scratch);
        self.decoder.push(&self.scratch);
        read
    }

    /// Reads what the driver has said by now into the decoder; 0 when that is nothing, an error when it will say no more.
    pub(super) fn responses_now(&mut self) -> io::Result<usize> {
        self.scratch.clear();
        let read = self.responses.read_now(&mut self.scratch);
        self.decoder.push(&self.scratch);
        match read {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            read => read,
        }
    }

    /// As [`responses_now`](Self::responses_now), again and again for `most` at the longest.
    pub(super) fn responses_within(&mut self, most: Duration) -> io::Result<usize> {
        let begun = Instant::now();
        loop {
            let read = self.responses_now()?;
            if read > 0 || begun.elapsed() >= most {
                return Ok(read);
            }
            // To whoever else wants this processor, the interpreter before all.
            std::thread::yield_now();
        }
    }

    /// Whether it can be sent requests: false once it has ended.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How it ended, if it has.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        exit_status(self.child.try_wait().ok()??).ok()
    }

    /// `SIGINT` to it and to what it runs in the foreground, as a terminal does.
    pub(super) fn interrupt(&mut self) {
        // Once it is reaped its number may belong to somebody else.
        if self.is_alive()
            && let Some(group) = Pid::from_raw(self.child.pid())
        {
            // Only fails for a group that has just ended, or whose user has changed: the kill that follows tells.
            let _kill_follows = kill_process_group(group, Signal::INT);
        }
    }

    /// Waits in the kernel until something has happened, `most` at the longest.
    pub(super) fn wait_blocking(&self, most: Duration) {
        let handle = self.child.handle();
        let outputs = [&self.output.stdout, &self.output.stderr].into_iter().flatten().map(AsFd::as_fd);
        let sources = [self.responses.as_fd(), handle.descriptor()].into_iter().chain(outputs);
        let mut sources: Vec<_> = sources.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let most = Timespec::try_from(most).unwrap_or_default();
        // An error is as good as an event: the caller looks again, and the time is limited.
        let _looks_again = poll(&mut sources, Some(&most));
    }

    /// Forgets the runtime: the next run may be in another one.
    pub(super) fn leave_runtime(&mut self) {
        self.child.leave_runtime();
        self.requests.leave_runtime();
        for reader in [Some(&mut self.responses), self.output.stdout.as_mut(), self.output.stderr.as_mut()]
            .into_iter()
            .flatten()
        {
            reader.leave_runtime();
        }
    }
}

impl Drop for Interpreter {
    /// Left alone it reads the end of its requests and goes by itself; in the middle of a cell it would not.
    fn drop(&mut self) {
        if self.busy {
            self.tree.kill_now();
        }
    }
}

/// Why it does not greet, and how it ended if it did.
struct Failure {
    what: String,
    status: Option<ExitStatus>,
}

impl Outputs {
    /// What one read of stdout and one of stderr give. Wakes the task when there is more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> [Option<Bytes>; 2] {
        let Self { stdout, stderr, scratch } = self;
        [stdout, stderr].map(|stream| {
            scratch.clear();
            let reader = stream.as_mut()?;
            match reader.poll_read(cx, scratch) {
                Poll::Pending => None,
                Poll::Ready(Ok(length @ 1..)) => Some(taken(scratch, length)),
                Poll::Ready(Ok(0) | Err(_)) => {
                    *stream = None;
                    None
                }
            }
        })
    }

    /// What lies in the pipes at this moment, and not what somebody goes on writing.
    pub(super) fn drain(&mut self) -> [Option<Bytes>; 2] {
        let Self { stdout, stderr, scratch } = self;
        [stdout, stderr].map(|stream| {
            scratch.clear();
            let reader = stream.as_mut()?;
            let available = reader.available().unwrap_or(0) as usize;
            if available == 0 {
                return None;
            }
            match reader.drain_now(scratch, available) {
                Ok(drained) if drained.bytes > 0 => Some(taken(scratch, drained.bytes)),
                Ok(_) => None,
                Err(_) => {
                    *stream = None;
                    None
                }
            }
        })
    }
}

fn taken(scratch: &mut BytesMut, length: usize) -> Bytes {
    if length <= COPIED_BYTES { Bytes::copy_from_slice(scratch) } else { scratch.split().freeze() }
}
