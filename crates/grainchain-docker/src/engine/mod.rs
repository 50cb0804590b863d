//! The engine: where it is, which version it speaks, and its calls. Knows nothing of sandboxes.
//!
//! The control plane is bollard's, on a transport of ours: bollard sends no version and knows neither contexts nor the pipe of
//! `docker system dial-stdio`. What carries secrets in its body, and streams that both sides write to, we send ourselves.

mod archive;
mod containers;
mod dial;
mod endpoint;
mod exec;
mod frames;
mod images;
mod lines;
mod networks;
mod processes;
mod ssh;
mod tls;
mod version;
mod volumes;
mod whole;
mod wire;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use bytes::Bytes;
use grainchain_core::{Effect, Error, ErrorKind, Result};
use http::{Method, Request};
use http_body_util::Full;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use containers::{Container, ContainerState, age, gone};
pub(crate) use dial::Pipe;
pub(crate) use endpoint::{Surroundings, read_config};
pub(crate) use exec::ExecStart;
pub(crate) use frames::{Frames, Stream};
pub(crate) use images::{BuildSource, Credentials, Image, is_id, reference};
pub(crate) use wire::Hijacked;

use crate::error;
use wire::Wire;

/// How long an engine may take to look at or change something.
const CONTROL: Duration = Duration::from_secs(60);

/// How long it may take to start, commit or remove.
const SLOW: Duration = Duration::from_secs(300);

/// How long a build may take.
pub(crate) const BUILD: Duration = Duration::from_secs(3600);

/// The most layers that storage drivers stack, less room for the image's own next ones.
const DEEPEST: usize = 120;

/// A client of one engine. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    wire: Arc<Wire>,
    docker: Docker,
    chosen_by: String,
    deepest: usize,
    /// Whether its processes may be looked for among those of this machine.
    is_here: Arc<AtomicBool>,
}

impl Engine {
    /// A client of the engine that `surroundings` name. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// `Config` and `Unsupported` for endpoints that cannot be used.
    pub(crate) fn new(surroundings: &Surroundings) -> Result<Self> {
        let (endpoint, chosen_by) = surroundings.endpoint()?;
        let wire = Wire::new(endpoint);
        let carrier = Arc::clone(&wire);
        let transport = move |request: BollardRequest| {
            let wire = Arc::clone(&carrier);
            async move { wire.send(request).await.map_err(error::into_bollard) }
        };
        // Our own deadlines are shorter or, for streams, of another kind.
        let timeout = 24 * 3600;
        let docker = Docker::connect_with_custom_transport(
            transport,
            Some("http://docker"),
            timeout,
            API_DEFAULT_VERSION,
        )
        .map_err(|cause| error::of("set up the client", cause))?;
        let is_here = Arc::new(AtomicBool::new(matches!(wire.endpoint, endpoint::Endpoint::Unix(_))));
        Ok(Self { wire, docker, chosen_by, deepest: DEEPEST, is_here })
    }

    /// Sets how many layers an image of a container may have, if `layers` says so.
    pub(crate) fn stacking(mut self, layers: Option<usize>) -> Self {
        self.deepest = layers.unwrap_or(self.deepest);
        self
    }

    /// Looks for none of its processes on this machine from now on.
    pub(crate) fn look_elsewhere(&self) {
        self.is_here.store(false, Ordering::Relaxed);
    }

    /// How many layers an image of a container may have.
    pub(crate) fn deepest(&self) -> usize {
        self.deepest
    }

    /// Where it is and who chose it, in words.
    pub(crate) fn place(&self) -> String {
        format!("{} ({})", self.wire.endpoint, self.chosen_by)
    }

    /// Whether it builds images with BuildKit.
    pub(crate) async fn has_buildkit(&self) -> Result<bool> {
        within("greet the engine", CONTROL, async { Ok(self.wire.negotiated().await?.has_buildkit) }).await
    }

    /// `GET /version` and `GET /info`: what it is and what it can do.
    pub(crate) async fn describe(
        &self,
    ) -> Result<(bollard::models::SystemVersion, bollard::models::SystemInfo)> {
        within("describe the engine", CONTROL, async {
            let version =
                self.docker.version().await.map_err(|cause| error::of("ask for the version", cause))?;
            let info =
                self.docker.info().await.map_err(|cause| error::of("ask what the engine can do", cause))?;
            Ok((version, info))
        })
        .await
    }

    /// The words for the greeting: `1.41`, and `podman` where it is one.
    pub(crate) async fn interface(&self) -> Result<String> {
        within("greet the engine", CONTROL, async {
            let negotiated = self.wire.negotiated().await?;
            Ok(format!(
                "interface {}{}",
                negotiated.version,
                if negotiated.is_podman { ", podman" } else { "" }
            ))
        })
        .await
    }

    /// Sends JSON and reads JSON, without any library that would log the body: it may hold secrets.
    async fn call<T: DeserializeOwned>(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T> {
        within(what, CONTROL, async {
            let response = self.wire.send(json_request(method, path, body)?).await?;
            let status = response.status();
            if !status.is_success() {
                return Err(error::answer(what, status.as_u16(), &wire::text(response).await?));
            }
            let bytes = wire::body(response).await?;
            serde_json::from_slice(&bytes).map_err(|cause| {
                Error::new(ErrorKind::Server, format!("{what}: the engine's answer is not as agreed"))
                    .effect(Effect::Done)
                    .caused_by(cause)
            })
        })
        .await
    }
}

fn json_request(method: Method, path: &str, body: Option<&impl Serialize>) -> Result<Request<Full<Bytes>>> {
    let request = Request::builder().method(method).uri(path);
    let (request, body) = match body {
        Some(body) => {
            let bytes = serde_json::to_vec(body)
                .map_err(|cause| Error::unexpected("a request cannot be written").caused_by(cause))?;
            (request.header(http::header::CONTENT_TYPE, "application/json"), Bytes::from(bytes))
        }
        None => (request, Bytes::new()),
    };
    request.body(Full::new(body)).map_err(wire::malformed)
}

/// Gives `work` up when `deadline` passes.
pub(crate) async fn within<T>(
    what: &str,
    deadline: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(deadline, work).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(
            ErrorKind::Timeout,
            format!("{what}: the engine gave no answer within {deadline:?}"),
        )
        .hint("look whether the engine is overloaded or stuck")),
    }
}

/// A call of bollard's under a deadline, with our errors.
async fn ask<T>(
    what: &str,
    deadline: Duration,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T> {
    within(what, deadline, async { call.await.map_err(|cause| error::of(what, cause)) }).await
}
