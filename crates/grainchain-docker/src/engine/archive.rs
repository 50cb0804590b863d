//! Single files and directories put into a container that need not run.

use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use grainchain_core::{Error, ErrorKind, Result};

use super::containers::absent;
use super::{CONTROL, Engine, ask, within};
use crate::error;

impl Engine {
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
