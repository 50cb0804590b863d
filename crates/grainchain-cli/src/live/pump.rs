//! What the process writes goes to our stdout and stderr, unchanged and at once.

use futures_util::{FutureExt, StreamExt};
use grainchain::{Error, ErrorKind, ExitStatus, OutputStream, ProcessEvent, ProcessEvents};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::exit::Failure;
use crate::output::Printer;

/// Shows events until the command itself ended, and what is there at that moment.
///
/// Children that it left behind may hold its output open for as long as the sandbox lives; nobody waits for them.
pub(super) async fn pump(mut events: ProcessEvents, printer: Printer) -> Result<ExitStatus, Failure> {
    let mut writer = Writer { stdout: tokio::io::stdout(), stderr: tokio::io::stderr(), printer };
    while let Some(event) = events.next().await {
        if let Some(status) = writer.show(event?).await? {
            while let Some(Some(Ok(event))) = events.next().now_or_never() {
                writer.show(event).await?;
            }
            return Ok(status);
        }
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
            ProcessEvent::Dropped { stream, bytes } => {
                let stream = match stream {
                    OutputStream::Stdout => "stdout",
                    OutputStream::Stderr => "stderr",
                };
                self.printer.warn(format_args!("{bytes} bytes of {stream} were lost"));
            }
            ProcessEvent::Exited(status) => return Ok(Some(status)),
            _ => {}
        }
        Ok(None)
    }
}

pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), Failure> {
    stream.write_all(bytes).await.map_err(Failure::printing)?;
    stream.flush().await.map_err(Failure::printing)
}
