//! The pipe through `ssh` to an engine on another machine, and what `ssh` complains of.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How much of its complaints is kept: the end, where the reason stands.
const KEPT: usize = 2048;

/// How many lines of that are told.
const TOLD: usize = 3;

/// How long a broken connection waits for the reason. A master connection holds on to the stream for as long as it lives.
const PATIENCE: Duration = Duration::from_secs(1);

/// The standard streams of `docker system dial-stdio` on another machine. Ends with it.
pub(super) struct SshPipe {
    _child: Child,
    // Closed by dropping it: that is how the other side learns of the end.
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl SshPipe {
    pub(super) fn open(target: &str, port: Option<u16>) -> io::Result<(Self, Complaints)> {
        let mut command = Command::new("ssh");
        // Nobody is there to answer questions.
        command.args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]);
        if let Some(port) = port {
            command.args(["-p", &port.to_string()]);
        }
        command.args(["--", target, "docker", "system", "dial-stdio"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (Some(input), Some(output), Some(complaints)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("ssh has no pipes"));
        };
        Ok((Self { _child: child, input: Some(input), output }, Complaints::of(complaints)))
    }
}

impl AsyncRead for SshPipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(cx, buffer)
    }
}

impl AsyncWrite for SshPipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.input {
            Some(input) => Pin::new(input).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.input {
            Some(input) => Pin::new(input).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.input {
            Some(input) => Pin::new(input).poll_flush(cx),
            None => return Poll::Ready(Ok(())),
        };
        if flushed.is_ready() {
            self.input = None;
        }
        flushed
    }
}

/// What `ssh` says on its standard error. Nothing where there is no `ssh`.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    last: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Complaints {
    fn of(mut stream: ChildStderr) -> Self {
        let last = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&last);
        // Goes on when nobody asks any more: `ssh` must not stand still because nobody reads.
        let reader = tokio::spawn(async move {
            let mut piece = [0; 512];
            while let Ok(length @ 1..) = stream.read(&mut piece).await {
                keep(&mut kept.lock().unwrap_or_else(PoisonError::into_inner), &piece[..length]);
            }
        });
        Self { last, reader: Some(reader) }
    }

    /// The last of it in one line, once its connection is over.
    pub(super) async fn told(self) -> Option<String> {
        if let Some(reader) = self.reader {
            timeout(PATIENCE, reader).await.ok();
        }
        one_line(&self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn keep(last: &mut Vec<u8>, more: &[u8]) {
    last.extend_from_slice(more);
    let excess = last.len().saturating_sub(KEPT);
    last.drain(..excess);
}

fn one_line(said: &[u8]) -> Option<String> {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<String> = said
        .lines()
        .map(|line| line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect())
        .map(|line: String| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    let told = &lines[lines.len().saturating_sub(TOLD)..];
    (!told.is_empty()).then(|| told.join(" / "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_told_in_one_line_the_last_ones_alone() {
        let said =
            b"a banner\nWarning: added the key\r\n\n\x1b[1mme@far: Permission denied (publickey).\r\nbye\n";
        assert_eq!(
            one_line(said).unwrap(),
            "Warning: added the key / [1mme@far: Permission denied (publickey). / bye"
        );
        assert_eq!(one_line(b" \n"), None);
    }

    #[test]
    fn of_endless_complaints_the_end_is_kept() {
        let mut last = Vec::new();
        for _ in 0..100 {
            keep(&mut last, &[b'x'; 512]);
        }
        keep(&mut last, b"the reason");
        assert_eq!(last.len(), KEPT);
        assert!(last.ends_with(b"xthe reason"));
    }
}
