//! What a handle can do to its process.

use async_trait::async_trait;
use bytes::Bytes;
use grainchain_core::types::process::ProcessControl;
use grainchain_core::{Effect, Error, ErrorKind, PtySize, Result, Signal};

use super::record::Record;
use crate::ending;
use crate::start::window;
use crate::stdin::end_on_terminal;

#[async_trait]
impl ProcessControl for Record {
    /// Writers queue up; each writes all of its bytes before the next.
    async fn write(&self, bytes: Bytes) -> Result<()> {
        let mut stdin = self.stdin.lock().await;
        let Some(writer) = stdin.as_mut() else { return Err(self.no_stdin()) };
        writer.write_all(&bytes).await.map_err(|error| match error.raw_os_error() {
            Some(libc::EPIPE | libc::EIO) => {
                Error::new(ErrorKind::Connection, format!("process {} reads no more from its stdin", self.id))
                    .caused_by(error)
            }
            _ => Error::io(format_args!("write to process {}", self.id), error),
        })
    }

    async fn close_stdin(&self) -> Result<()> {
        let mut stdin = self.stdin.lock().await;
        let Some(writer) = stdin.as_mut() else { return Err(self.no_stdin()) };
        match &self.terminal {
            None => *stdin = None,
            // The keyboard stays: what reads next, the shell for example, may want more.
            Some(terminal) => match end_on_terminal(writer, terminal, b'\n').await {
                Err(error) if error.raw_os_error() != Some(libc::EIO) => {
                    return Err(Error::io(format_args!("end the input of process {}", self.id), error));
                }
                _ => {}
            },
        }
        Ok(())
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        let status = self.status();
        if status.is_some() {
            return Err(Error::not_found(format!("process {} has ended", self.id)).effect(Effect::None));
        }
        // Its first process leads a session, so it can never leave this group; and it is not reaped while we hold the status.
        let group = -self.tree.leader().pid();
        #[expect(unsafe_code, reason = "no safe wrapper sends real-time signals to a group")]
        // SAFETY: a plain system call; the number is negative and not -1, as no leader is process 0 or 1.
        let result = unsafe { libc::kill(group, signal.as_raw()) };
        if result == 0 {
            return Ok(());
        }
        let error = std::io::Error::last_os_error();
        Err(match error.raw_os_error() {
            Some(libc::ESRCH) => {
                Error::not_found(format!("process {} has ended", self.id)).effect(Effect::None)
            }
            _ => Error::io(format_args!("send {signal} to process {}", self.id), error),
        })
    }

    async fn kill(&self) -> Result<()> {
        let killed = self.tree.kill_until_gone().await;
        killed.map(drop).map_err(|error| ending::failure(&format!("kill process {}", self.id), error))
    }

    async fn resize(&self, size: PtySize) -> Result<()> {
        let Some(terminal) = &self.terminal else {
            return Err(Error::new(ErrorKind::Conflict, format!("process {} has no terminal", self.id))
                .hint("spawn it with a pty"));
        };
        if size.columns == 0 || size.rows == 0 {
            return Err(Error::bad_request("a terminal has at least one column and one row").option("pty"));
        }
        terminal
            .resize(window(size))
            .map_err(|error| Error::io(format_args!("resize the terminal of process {}", self.id), error))
    }
}

impl Record {
    fn no_stdin(&self) -> Error {
        let id = &self.id;
        if self.writable {
            Error::new(ErrorKind::Conflict, format!("the stdin of process {id} is closed"))
        } else {
            Error::new(ErrorKind::Conflict, format!("process {id} has no stdin to write to"))
                .hint("spawn it with piped stdin")
        }
    }
}
