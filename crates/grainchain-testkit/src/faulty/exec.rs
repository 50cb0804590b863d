//! Mistakes in running commands.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use grainchain_core::facet::Exec;
use grainchain_core::types::command::Stdin;
use grainchain_core::{
    ByteSize, Capture, Collector, Command, Content, Error, ErrorKind, ExitStatus, Output, Program, Result,
    Signal,
};
use tokio::sync::Mutex;

use super::provider::bare;
use super::{Fault, Spoiled};

/// Whose turn it is where commands run one after the other.
static TURN: Mutex<()> = Mutex::const_new(());

#[async_trait]
impl Exec for Spoiled<dyn Exec> {
    async fn execute(&self, mut command: Command) -> Result<Output> {
        match self.fault {
            Fault::IgnoresTimeouts => command.timeout = None,
            Fault::IgnoresEnvironment => command.environment.clear(),
            Fault::IgnoresWorkingDirectory => command.working_directory = None,
            Fault::IgnoresStdin => command.stdin = Stdin::Null,
            Fault::NeverClosesStdin => command.stdin = endless(command.stdin),
            Fault::JoinsArguments => {
                if let Program::Argv(argv) = &command.program {
                    command.program = Program::Shell(argv.join(" "));
                }
            }
            Fault::LeavesTheTreeRunning => return self.abandon(command).await,
            Fault::DetachesCommands => return self.detach(command).await,
            Fault::HoldsAllOutput => return self.hold(command).await,
            _ => {}
        }
        let _turn = if self.fault == Fault::RunsOneAtATime { Some(TURN.lock().await) } else { None };
        match self.inner.execute(command).await {
            Ok(output) => self.spoil(output),
            Err(_) if self.fault == Fault::HangsInsteadOfAnError => std::future::pending().await,
            Err(error) if self.fault == Fault::DropsPartialOutput => Err(bare(&error)),
            Err(error) => Err(error),
        }
    }
}

impl Spoiled<dyn Exec> {
    fn spoil(&self, mut output: Output) -> Result<Output> {
        match self.fault {
            Fault::LosesStderr => output.stderr = Capture::default(),
            Fault::MergesStreams => {
                let merged = [output.stdout.bytes(), output.stderr.bytes()].concat();
                (output.stdout, output.stderr) = (Capture::whole(merged), Capture::default());
            }
            Fault::InventsExitCodes if output.signal().is_some() => {
                output.status = Some(ExitStatus::Code(-1))
            }
            Fault::TakesCodesForSignals => {
                if let Some(signal) = output.exit_code().and_then(|code| Signal::new(code - 128).ok()) {
                    output.status = Some(ExitStatus::Signal(signal));
                }
            }
            Fault::TruncatesSilently => output.stdout = Capture::whole(output.stdout.head().clone()),
            Fault::DropsAByte if output.stdout.head().len() > 4096 => {
                let bytes = output.stdout.bytes();
                output.stdout = Capture::whole([&bytes[..4096], &bytes[4097..]].concat());
            }
            Fault::TakesOutputForText => {
                let text = output.stdout().into_owned();
                output.stdout = Capture::whole(text.into_bytes());
            }
            Fault::TakesFailuresForErrors if output.failed() => {
                return Err(Error::new(ErrorKind::Server, "the command failed"));
            }
            _ => {}
        }
        Ok(output)
    }

    /// Runs on when nobody waits any more.
    async fn detach(&self, command: Command) -> Result<Output> {
        let inner = Arc::clone(&self.inner);
        let running = tokio::spawn(async move { inner.execute(command).await });
        running.await.map_err(|_| Error::unexpected("the task of the command was lost"))?
    }

    /// Answers as it should, after it has held everything.
    async fn hold(&self, mut command: Command) -> Result<Output> {
        let limit = std::mem::replace(&mut command.output_limit, ByteSize::gib(1));
        let mut output = self.inner.execute(command).await?;
        for capture in [&mut output.stdout, &mut output.stderr] {
            let mut collector = Collector::new(limit);
            collector.push(&capture.bytes());
            *capture = collector.finish();
        }
        Ok(output)
    }

    /// Tells of the timeout in time and lets everything run on.
    async fn abandon(&self, mut command: Command) -> Result<Output> {
        let Some(timeout) = command.timeout.take() else { return self.inner.execute(command).await };
        let inner = Arc::clone(&self.inner);
        let running = tokio::spawn(async move { inner.execute(command).await });
        match tokio::time::timeout(timeout, running).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::unexpected("the task of the command was lost")),
            Err(_) => {
                let none = Output::new(
                    None,
                    Capture::default(),
                    Capture::default(),
                    SystemTime::UNIX_EPOCH,
                    timeout,
                );
                Err(Error::new(ErrorKind::Timeout, format!("still running after {timeout:?}")).output(none))
            }
        }
    }
}

/// The same input, which then never ends.
fn endless(stdin: Stdin) -> Stdin {
    let first = match stdin {
        Stdin::Content(content) => content.into_stream(),
        _ => Box::pin(stream::empty::<Result<Bytes>>()),
    };
    Stdin::Content(Content::from_stream(first.chain(stream::pending()), None))
}
