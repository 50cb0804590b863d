//! Opens a byte pipe to the engine.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use grainchain_core::{Effect, Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::endpoint::Endpoint;
use super::tls::Tls;

/// A byte pipe to the engine.
pub(crate) trait Pipe: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Pipe for T {}

impl Endpoint {
    /// Opens a fresh pipe.
    ///
    /// # Errors
    ///
    /// `Connection` with what to do about it; nothing was sent then.
    pub(crate) async fn dial(&self) -> Result<Box<dyn Pipe>> {
        let pipe: Box<dyn Pipe> = match self {
            Self::Unix(path) => {
                Box::new(UnixStream::connect(path).await.map_err(|error| self.unreachable(error))?)
            }
            Self::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((host.as_str(), *port))
                    .await
                    .map_err(|error| self.unreachable(error))?;
                // Small requests and answers alternate: waiting to fill a packet would cost more than it saves.
                stream.set_nodelay(true).map_err(|error| self.unreachable(error))?;
                match tls {
                    Some(tls) => {
                        Box::new(tls.connect(stream).await.map_err(|error| self.strange(tls, error))?)
                    }
                    None => Box::new(stream),
                }
            }
            Self::Ssh { target, port } => {
                Box::new(SshPipe::open(target, *port).map_err(|error| self.unreachable(error))?)
            }
        };
        Ok(pipe)
    }

    /// The error for a handshake that failed because of `error`.
    fn strange(&self, tls: &Tls, error: io::Error) -> Error {
        tls.explain(&self.to_string(), &error).unwrap_or_else(|| {
            Error::new(
                ErrorKind::Connection,
                format!("the engine at {self} broke the connection off before TLS was agreed on: {error}"),
            )
            .hint(format!("check that this port speaks TLS (usually 2376); {}", tls.suspicion()))
            .effect(Effect::None)
            .caused_by(error)
        })
    }

    /// The error for a connection that broke because of `error` after it was opened.
    pub(crate) fn broken(&self, error: hyper::Error) -> Error {
        let hint = match self {
            Self::Tcp { tls: Some(tls), .. } => match tls.explain(&self.to_string(), &error) {
                // In TLS 1.3 the engine looks at our certificate when we believe that all is done.
                Some(explained) => return explained,
                None => format!("look whether the engine was restarted; {}", tls.suspicion()),
            },
            Self::Tcp { tls: None, .. } => {
                "look whether the engine was restarted; if it speaks TLS, name its certificates with \
                 `cert_path` in [providers.docker], or set DOCKER_TLS_VERIFY and DOCKER_CERT_PATH"
                    .to_owned()
            }
            Self::Unix(_) | Self::Ssh { .. } => "look whether the engine was restarted".to_owned(),
        };
        Error::new(ErrorKind::Connection, format!("the connection to the engine at {self} broke"))
            .hint(hint)
            .caused_by(error)
    }

    /// The error for an engine that cannot be reached because of `error`.
    fn unreachable(&self, error: io::Error) -> Error {
        let hint = match (self, error.kind()) {
            (Self::Unix(_), io::ErrorKind::PermissionDenied) => {
                "add yourself to the group that owns the socket (usually `docker`), or name another engine with `host` in [providers.docker]"
            }
            (Self::Unix(_), _) => {
                "start the engine, or name another one with DOCKER_HOST or `host` in [providers.docker]"
            }
            (Self::Tcp { .. }, _) => "check that the engine listens there and that no firewall is in between",
            (Self::Ssh { .. }, _) => {
                "install the `ssh` program and check that it reaches the machine without asking anything"
            }
        };
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "there is no such socket".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => error.to_string(),
        };
        Error::new(ErrorKind::Connection, format!("the engine at {self} cannot be reached: {reason}"))
            .hint(hint)
            .effect(Effect::None)
            .retryable(None)
            .caused_by(error)
    }
}

/// The standard streams of `docker system dial-stdio` on another machine. Ends with it.
struct SshPipe {
    _child: Child,
    // Closed by dropping it: that is how the other side learns of the end.
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl SshPipe {
    fn open(target: &str, port: Option<u16>) -> io::Result<Self> {
        let mut command = Command::new("ssh");
        // Nobody is there to answer questions.
        command.args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]);
        if let Some(port) = port {
            command.args(["-p", &port.to_string()]);
        }
        command.args(["--", target, "docker", "system", "dial-stdio"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("ssh has no pipes"));
        };
        Ok(Self { _child: child, input: Some(input), output })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_a_connection_error_that_was_not_sent_and_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix(folder.path().join("docker.sock"));
        let Err(error) = endpoint.dial().await else { panic!("it was reached") };
        assert_eq!((error.kind(), error.what_happened()), (ErrorKind::Connection, Effect::None));
        assert!(error.is_retryable());
        assert!(error.to_string().contains("no such socket") && error.remedy().is_some(), "{error}");
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let Err(error) = Endpoint::Unix(path).dial().await else { panic!("it was reached") };
        assert!(error.to_string().contains("connection refused"), "{error}");
    }
}
