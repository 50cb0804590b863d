//! Sends single requests: the version in front, one connection for each, and streams that both sides write to.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use grainchain_core::{Effect, Error, ErrorKind, Result};
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use tokio::sync::OnceCell;

use super::dial::Pipe;
use super::endpoint::Endpoint;
use super::version::{Negotiated, negotiate};
use crate::error;

/// The most that is read of an answer that is not a stream.
const LARGEST_ANSWER: usize = 64 << 20;

/// Requests to one engine.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) endpoint: Endpoint,
    negotiated: OnceCell<Negotiated>,
}

/// A connection that stopped being HTTP: raw bytes both ways.
pub(crate) struct Hijacked {
    /// The connection.
    pub(crate) pipe: Box<dyn Pipe>,
    /// What the engine sent before we knew.
    pub(crate) early: BytesMut,
}

impl Wire {
    pub(crate) fn new(endpoint: Endpoint) -> Arc<Self> {
        Arc::new(Self { endpoint, negotiated: OnceCell::new() })
    }

    /// The version that we speak with this engine, asked for once.
    pub(crate) async fn negotiated(&self) -> Result<&Negotiated> {
        self.negotiated
            .get_or_try_init(|| async {
                let request = Request::get("/_ping").body(Full::<Bytes>::default()).map_err(malformed)?;
                let response = self.exchange(request).await?;
                if !response.status().is_success() {
                    let status = response.status();
                    return Err(error::answer("greet the engine", status.as_u16(), &text(response).await?));
                }
                negotiate(response.headers())
            })
            .await
    }

    /// Sends `request`, whose path has no version, and answers with what comes back, whatever its status.
    pub(crate) async fn send<B>(&self, request: Request<B>) -> Result<Response<Incoming>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let version = self.negotiated().await?.version;
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = format!("/v{version}{path}").parse::<Uri>().map_err(malformed)?;
        self.exchange(Request::from_parts(parts, body)).await
    }

    /// One request on a connection of its own, which closes when the answer is dropped.
    async fn exchange<B>(&self, mut request: Request<B>) -> Result<Response<Incoming>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (pipe, complaints) = self.endpoint.dial().await?;
        let (mut sender, connection) = match hyper::client::conn::http1::handshake(TokioIo::new(pipe)).await {
            Ok(opened) => opened,
            Err(error) => return Err(self.endpoint.broken(error, complaints).await),
        };
        // The errors of the connection are those of its one request.
        tokio::spawn(async move { connection.with_upgrades().await.ok() });
        request.headers_mut().insert(HOST, http::HeaderValue::from_static("docker"));
        match sender.send_request(request).await {
            Ok(response) => Ok(response),
            Err(error) => Err(self.endpoint.broken(error, complaints).await),
        }
    }

    /// Sends `request` and takes the connection over.
    ///
    /// # Errors
    ///
    /// The engine's refusal; `Server` when it answers but does not let go of the connection.
    pub(crate) async fn hijack(&self, what: &str, mut request: Request<Full<Bytes>>) -> Result<Hijacked> {
        let headers = request.headers_mut();
        headers.insert(CONNECTION, http::HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, http::HeaderValue::from_static("tcp"));
        let response = self.send(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = response.status();
            let text = text(response).await?;
            return Err(if status.is_success() {
                Error::new(
                    ErrorKind::Server,
                    format!("{what}: the engine keeps the connection to itself (status {status})"),
                )
                .hint("a proxy between here and the engine must pass `Upgrade: tcp` on")
                .effect(Effect::Possible)
            } else {
                error::answer(what, status.as_u16(), &text)
            });
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|cause| {
            Error::new(ErrorKind::Connection, format!("{what}: the connection broke")).caused_by(cause)
        })?;
        let parts = upgraded.downcast::<TokioIo<Box<dyn Pipe>>>().map_err(|_| {
            Error::unexpected(format!("{what}: the connection is not the one that was opened"))
        })?;
        Ok(Hijacked { pipe: parts.io.into_inner(), early: BytesMut::from(parts.read_buf) })
    }
}

/// The whole body of `response` as text.
pub(crate) async fn text(response: Response<Incoming>) -> Result<String> {
    Ok(String::from_utf8_lossy(&body(response).await?).into_owned())
}

/// The whole body of `response`.
pub(crate) async fn body(response: Response<Incoming>) -> Result<Bytes> {
    let collected = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
    collected
        .map(http_body_util::Collected::to_bytes)
        .map_err(|cause| Error::new(ErrorKind::Connection, "the engine's answer broke off").caused_by(cause))
}

/// An address that we made ourselves cannot be sent.
pub(crate) fn malformed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::bad_request("a name holds what no address can")
        .hint("use letters, digits, dots and dashes")
        .caused_by(cause)
}
