//! Single files and directories put into a container that need not run.

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
        const WHAT: &str = "look at a place in the container";
        let address = format!("/containers/{}/archive?path={}", escape(name), escape(path));
        within(WHAT, CONTROL, async {
            let response = self.wire.send(json_request(Method::HEAD, &address, None::<&Value>)?).await?;
            match response.status() {
                status if status.is_success() => Ok(true),
                StatusCode::NOT_FOUND => Ok(false),
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
