//! Single files and directories put into a container that need not run.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use grainchain_core::{Error, ErrorKind, Result};

use http::{Method, StatusCode};
use serde_json::Value;

use super::containers::{absent, escape};
use super::{CONTROL, Engine, ask, json_request, within};
use crate::error;

impl Engine {
    /// `HEAD /containers/{name}/archive?path=`: whether anything is there.
    pub(crate) async fn exists(&self, name: &str, path: &str) -> Result<bool> {
        Ok(self.size_of(name, path).await?.is_some())
    }

    /// `HEAD /containers/{name}/archive?path=`: the size of what is there; none when nothing is.
    pub(crate) async fn size_of(&self, name: &str, path: &str) -> Result<Option<u64>> {
        let stat = self.look_at(name, path).await?;
        Ok(stat.map(|stat| stat["size"].as_u64().unwrap_or_default()))
    }

    /// `HEAD /containers/{name}/archive?path=`: whether a regular file is there.
    pub(crate) async fn is_a_file(&self, name: &str, path: &str) -> Result<bool> {
        /// The bits of Go's `FileMode` that tell what else something is.
        const OTHER_KINDS: u64 = 1 << 31 | 1 << 27 | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;
        let stat = self.look_at(name, path).await?;
        Ok(stat.is_some_and(|stat| stat["mode"].as_u64().is_some_and(|mode| mode & OTHER_KINDS == 0)))
    }

    async fn look_at(&self, name: &str, path: &str) -> Result<Option<Value>> {
        const WHAT: &str = "look at a place in the container";
        let address = format!("/containers/{}/archive?path={}", escape(name), escape(path));
        within(WHAT, CONTROL, async {
            let response = self.wire.send(json_request(Method::HEAD, &address, None::<&Value>)?).await?;
            match response.status() {
                status if status.is_success() => {
                    let header = response.headers().get("X-Docker-Container-Path-Stat");
                    let stat = header.and_then(|value| STANDARD.decode(value.as_bytes()).ok());
                    let stat: Value =
                        stat.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
                    Ok(Some(stat))
                }
                StatusCode::NOT_FOUND => Ok(None),
                // The answer to this has no body that could say more.
                status => Err(error::answer(WHAT, status.as_u16(), "")),
            }
        })
        .await
    }

    /// `PUT /containers/{name}/archive?path=`: unfolds `tar` there. Not below a tmpfs, where nobody would ever see it, and not in a
    /// container whose root is read-only.
    pub(crate) async fn put_archive(&self, name: &str, path: &str, tar: Bytes) -> Result<()> {
        let options = UploadToContainerOptionsBuilder::default().path(path).build();
        let call = self.docker.upload_to_container(name, Some(options), bollard::body_full(tar));
        ask("put files into the container", CONTROL, call).await
    }

    /// `GET /containers/{name}/archive?path=`: what is there as a tar, at most `limit` bytes of it; none when nothing is there.
    pub(crate) async fn get_archive(&self, name: &str, path: &str, limit: usize) -> Result<Option<Bytes>> {
        const WHAT: &str = "get files from the container";
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        let got = within(WHAT, CONTROL, async {
            let mut chunks = self.docker.download_from_container(name, Some(options));
            let mut all = BytesMut::new();
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(|cause| error::of(WHAT, cause))?;
                if all.len() + chunk.len() > limit {
                    return Err(Error::new(
                        ErrorKind::Exhausted,
                        format!("{WHAT}: {path} is larger than {limit} bytes"),
                    ));
                }
                all.extend_from_slice(&chunk);
            }
            Ok(all.freeze())
        })
        .await;
        absent(got)
    }
}
