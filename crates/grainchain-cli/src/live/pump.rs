//! What the process writes goes to our stdout and stderr, unchanged and at once.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use grainchain::{Error, ErrorKind, ExitStatus, Output, OutputStream, ProcessEvent, ProcessEvents};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::exit::Failure;
use crate::output::Printer;

/// How long after its timeout a command that was killed may take to say that this was the reason.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Shows events until the command itself ended, and what is there at that moment. `expiry` is when its timeout kills it.
///
/// Children that it left behind may hold its output open for as long as the sandbox lives; nobody waits for them.
pub(super) async fn pump(
    mut events: ProcessEvents,
    expiry: Option<Instant>,
    printer: Printer,
) -> Result<ExitStatus, Failure> {
    let mut writer = Writer { stdout: tokio::io::stdout(), stderr: tokio::io::stderr(), printer };
    while let Some(event) = events.next().await {
        let Some(status) = writer.show(event?).await? else { continue };
        // A command that its timeout killed may end with a signal first and with the reason then.
        let killed = status.signal().is_some() && expiry.is_some_and(|expiry| expiry <= Instant::now());
        let rest = async {
            while let Some(event) = events.next().await {
                writer.show(event?).await?;
            }
            Ok(())
        };
        if killed {
            tokio::time::timeout(LAST_WORD, rest).await.unwrap_or(Ok::<_, Failure>(()))?;
        } else {
            rest.now_or_never().unwrap_or(Ok(()))?;
        }
        return Ok(status);
    }
    Err(Error::new(ErrorKind::Connection, "the events of the process ended before its exit status").into())
}

struct Writer {
    stdout: tokio::io::Stdout,
    stderr: tokio::io::Stderr,
    printer: Printer,
}

impl Writer {
    async fn show(&mut self, event: ProcessEvent) -> Result<Option<ExitStatus>, Failure> {
        match event {
            ProcessEvent::Stdout(bytes) => write(&mut self.stdout, &bytes).await?,
            ProcessEvent::Stderr(bytes) => write(&mut self.stderr, &bytes).await?,
            ProcessEvent::Dropped { stream, bytes } => warn_of_loss(self.printer, stream, bytes),
            ProcessEvent::Exited(status) => return Ok(Some(status)),
            _ => {}
        }
        Ok(None)
    }
}

fn warn_of_loss(printer: Printer, stream: OutputStream, bytes: u64) {
    let stream = match stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    printer.warn(format_args!("{bytes} bytes of {stream} were lost"));
}

/// What a command wrote until its end goes to our stdout and stderr.
pub(crate) async fn show(output: &Output, printer: Printer) -> Result<(), Failure> {
    write(&mut tokio::io::stdout(), &output.stdout.bytes()).await?;
    write(&mut tokio::io::stderr(), &output.stderr.bytes()).await?;
    for (stream, capture) in [(OutputStream::Stdout, &output.stdout), (OutputStream::Stderr, &output.stderr)]
    {
        if capture.dropped() > 0 {
            warn_of_loss(printer, stream, capture.dropped());
        }
    }
    Ok(())
}

pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), Failure> {
    stream.write_all(bytes).await.map_err(Failure::printing)?;
    stream.flush().await.map_err(Failure::printing)
}
