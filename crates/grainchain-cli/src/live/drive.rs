//! Starts a command and stands between it and us until one of the two ends.

use std::sync::Arc;

use bytes::Bytes;
use grainchain::types::process::ProcessControl;
use std::future::IntoFuture;

use grainchain::{Command, Error, ExitStatus, Operation, Output, Process, PtySize, Sandbox, Signal};
use tokio::time::Instant;

use super::input::{self, Input};
use super::pump::pump;
use crate::exit::{Failure, Outcome};
use crate::output::Printer;
use crate::signals::{Event, Signals};
use crate::terminal::{self, RawMode};

/// Where the command's streams come from and go to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stdio {
    /// Whether our stdin goes to the command.
    pub(crate) input: bool,
    /// Whether the command gets a terminal.
    pub(crate) terminal: bool,
}

/// How the command ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By itself, or by a signal that we passed on.
    Status(ExitStatus),
    /// We were told to end, and it was killed.
    Told(Signal),
}

impl Ended {
    /// The code that we end with.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Status(status) => Ok(crate::exit::Code::of_shell(status.shell_code())),
            Self::Told(signal) => Err(Failure::Signal(signal.as_raw())),
        }
    }
}

/// A command and its surroundings here.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) sandbox: Sandbox,
    pub(crate) command: Command,
    pub(crate) stdio: Stdio,
    pub(crate) printer: Printer,
}

/// Runs a command with live output; Ctrl-C goes to it, a second one kills it, and whatever else ends us kills it.
pub(crate) async fn drive(setup: Setup, signals: &mut Signals) -> Result<Ended, Failure> {
    let Setup { sandbox, mut command, stdio, printer } = setup;
    if stdio.terminal {
        command = command.pty(terminal::size().unwrap_or_default());
        if let Some(kind) = grainchain::config::environment("TERM") {
            command.environment.entry("TERM".to_owned()).or_insert(kind);
        }
    }
    if stdio.input {
        command = command.piped_stdin();
    }
    // A command without a timeout of its own has that of its sandbox, as `execute` would give it; at a terminal people decide.
    if command.timeout.is_none() && !stdio.terminal {
        command.timeout = sandbox.default_timeout();
    }
    let expiry = command.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let process = start(&sandbox, command, signals).await?;
    let raw = if stdio.terminal && stdio.input { RawMode::enter()? } else { None };
    let input = if stdio.input { Some(input::read()?) } else { None };
    let ended = follow(process, expiry, input, printer, signals).await;
    drop(raw);
    ended
}

async fn start(sandbox: &Sandbox, command: Command, signals: &mut Signals) -> Result<Process, Failure> {
    tokio::select! {
        process = sandbox.spawn(command) => process.map_err(Failure::Start),
        signal = signals.end() => Err(Failure::Signal(signal.as_raw())),
    }
}

/// Stands between a process and us until one of the two ends.
async fn follow(
    process: Process,
    expiry: Option<Instant>,
    input: Option<Input>,
    printer: Printer,
    signals: &mut Signals,
) -> Result<Ended, Failure> {
    let (events, control) = process.into_parts();
    let mut output = tokio::spawn(pump(events, expiry, printer));
    let feeder = input.map(|input| tokio::spawn(feed(input, Arc::clone(&control), printer)));
    let ended = supervise(&mut output, &control, signals).await;
    if let Some(feeder) = feeder {
        feeder.abort();
    }
    if !matches!(ended, Ok(Ended::Status(_))) {
        output.abort();
        // The reason why we end it comes first; that it could not be ended is said beside it.
        if let Err(error) = control.kill().await {
            printer.warn(error);
        }
    }
    ended
}

async fn supervise(
    output: &mut tokio::task::JoinHandle<Result<ExitStatus, Failure>>,
    control: &Arc<dyn ProcessControl>,
    signals: &mut Signals,
) -> Result<Ended, Failure> {
    let mut interrupted = false;
    loop {
        let event = tokio::select! {
            ended = &mut *output => return joined(ended).map(Ended::Status),
            event = signals.next() => event,
        };
        match event {
            Event::Interrupt if interrupted => return Ok(Ended::Told(Signal::INT)),
            Event::Interrupt => {
                interrupted = true;
                // It may have ended in this moment; then its status is on the way.
                control.signal(Signal::INT).await.ok();
            }
            Event::End(signal) => return Ok(Ended::Told(signal)),
            Event::Resize => {
                if let Some(size) = terminal::size() {
                    resize(control, size).await;
                }
            }
        }
    }
}

async fn resize(control: &Arc<dyn ProcessControl>, size: PtySize) {
    // A command without a terminal refuses; then there is nothing to resize.
    control.resize(size).await.ok();
}

fn joined(ended: Result<Result<ExitStatus, Failure>, tokio::task::JoinError>) -> Result<ExitStatus, Failure> {
    match ended {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::unexpected("the runtime is shutting down").caused_by(error).into()),
    }
}

/// Gives our stdin to the command, then its end.
async fn feed(mut input: Input, control: Arc<dyn ProcessControl>, printer: Printer) {
    loop {
        let chunk: Bytes = match input.recv().await {
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) => {
                printer.warn(error);
                break;
            }
            None => break,
        };
        // A command that reads no more is no fault: `yes | grainchain run -- head -1` ends like this.
        if control.write(chunk).await.is_err() {
            return;
        }
    }
    control.close_stdin().await.ok();
}

/// Runs a command to its end and hands over everything at once.
pub(crate) async fn to_end(setup: Setup, signals: &mut Signals) -> Result<Output, Failure> {
    let Setup { sandbox, mut command, stdio, .. } = setup;
    if stdio.input {
        command = command.stdin(input::read_all()?);
    }
    command.timeout = command.timeout.or(sandbox.default_timeout());
    let mut run = sandbox.execute(command).into_future();
    tokio::select! {
        output = &mut run => output.map_err(|error| match error.failed_operation() {
            Some(Operation::Execute) => Failure::Start(error),
            _ => Failure::Error(error),
        }),
        // Dropping the future kills the command.
        signal = signals.end() => Err(Failure::Signal(signal.as_raw())),
    }
}
