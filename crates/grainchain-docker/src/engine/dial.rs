//! Opens a byte pipe to the engine.

use std::io;

use grainchain_core::{Effect, Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::endpoint::Endpoint;
use super::ssh::{Complaints, SshPipe};
use super::tls::Tls;

/// A byte pipe to the engine.
pub(crate) trait Pipe: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Pipe for T {}

impl Endpoint {
    /// Opens a fresh pipe; beside it, what its program complains of where there is one.
    ///
    /// # Errors
    ///
    /// `Connection` and `Denied` with what to do about it; nothing was sent then.
    pub(crate) async fn dial(&self) -> Result<(Box<dyn Pipe>, Complaints)> {
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
                let (pipe, complaints) =
                    SshPipe::open(target, *port).map_err(|error| self.unreachable(error))?;
                return Ok((Box::new(pipe), complaints));
            }
        };
        Ok((pipe, Complaints::default()))
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
    pub(crate) async fn broken(&self, error: hyper::Error, complaints: Complaints) -> Error {
        if let Self::Ssh { target, port } = self {
            let port = port.map(|port| format!("-p {port} ")).unwrap_or_default();
            let message = match complaints.told().await {
                Some(said) => format!("the engine at {self} cannot be reached: {said}"),
                None => format!("the connection to the engine at {self} broke, and ssh does not say why"),
            };
            return Error::new(ErrorKind::Connection, message)
                .hint(format!(
                    "see that `ssh {port}{target} docker version` succeeds without asking anything"
                ))
                .caused_by(error);
        }
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
            _ => "look whether the engine was restarted".to_owned(),
        };
        Error::new(ErrorKind::Connection, format!("the connection to the engine at {self} broke"))
            .hint(hint)
            .caused_by(error)
    }

    /// The error for an engine that cannot be reached because of `error`.
    fn unreachable(&self, error: io::Error) -> Error {
        let is_denied = matches!(self, Self::Unix(_)) && error.kind() == io::ErrorKind::PermissionDenied;
        let hint = match (self, error.kind()) {
            (Self::Unix(_), _) if is_denied => {
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
            io::ErrorKind::NotFound if matches!(self, Self::Ssh { .. }) => {
                "there is no program `ssh`".to_owned()
            }
            io::ErrorKind::NotFound => "there is no such socket".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => error.to_string(),
        };
        // Who may not use it may not use it a moment later either.
        let kind = if is_denied { ErrorKind::Denied } else { ErrorKind::Connection };
        let told = Error::new(kind, format!("the engine at {self} cannot be reached: {reason}"))
            .hint(hint)
            .effect(Effect::None)
            .caused_by(error);
        if is_denied { told } else { told.retryable(None) }
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

    #[test]
    fn a_socket_that_one_may_not_open_says_who_may() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        for (place, mode) in [(folder.path(), 0o755), (&path, 0)] {
            std::fs::set_permissions(place, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let dial = move || {
            // Nothing is closed to root: this thread alone becomes somebody else.
            if rustix::process::geteuid().is_root() {
                let nobody = rustix::process::Uid::from_raw(65534);
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(Endpoint::Unix(path).dial()).err().unwrap()
        };
        let error = std::thread::spawn(dial).join().unwrap();
        assert_eq!((error.kind(), error.what_happened()), (ErrorKind::Denied, Effect::None));
        assert!(!error.is_retryable(), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("docker.sock") && text.contains("permission denied"), "{text}");
        assert!(error.remedy().unwrap().contains("the group that owns the socket"), "{error:?}");
    }
}
