//! Whole file systems and long streams: out of containers, into containers, and into images.

use std::collections::HashMap;

use bollard::models::ContainerConfig;
use bollard::query_parameters::CommitContainerOptionsBuilder;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use grainchain_core::types::content::ByteStream;
use grainchain_core::{Error, ErrorKind, Result};
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};

use super::containers::{absent, escape};
use super::lines::lines;
use super::{Engine, SLOW, ask, wire, within};

impl Engine {
    /// `POST /commit?container=&pause=1`: an image without a name of the container's files, by its id.
    pub(crate) async fn commit_unnamed(&self, name: &str, labels: HashMap<String, String>) -> Result<String> {
        let options = CommitContainerOptionsBuilder::default().container(name).pause(true).build();
        let config = ContainerConfig { labels: Some(labels), ..ContainerConfig::default() };
        let committed = self.docker.commit_container(options, config);
        Ok(ask("commit the container", SLOW, committed).await?.id)
    }

    /// `PUT /containers/{name}/archive?path=`: as [`put_archive`](Self::put_archive), for what comes bit by bit.
    pub(crate) async fn put_stream(&self, name: &str, path: &str, tar: ByteStream) -> Result<()> {
        const WHAT: &str = "put files into the container";
        let address = format!("/containers/{}/archive?path={}", escape(name), escape(path));
        let request = Request::put(address)
            .header(CONTENT_TYPE, "application/x-tar")
            .body(streamed(tar))
            .map_err(wire::malformed)?;
        within(WHAT, SLOW, async { wire::text(self.answered(WHAT, request).await?).await }).await.map(drop)
    }

    /// `GET /containers/{name}/archive?path=`: what is there as a tar; none when nothing is.
    pub(crate) async fn archive(&self, name: &str, path: &str) -> Result<Option<ByteStream>> {
        const WHAT: &str = "get files from the container";
        let address = format!("/containers/{}/archive?path={}", escape(name), escape(path));
        let request = Request::get(address).body(Full::<Bytes>::default()).map_err(wire::malformed)?;
        let answered = within(WHAT, SLOW, self.answered(WHAT, request)).await;
        Ok(absent(answered)?.map(|response| data(WHAT, response)))
    }

    /// `GET /containers/{name}/export` into `POST /images/create?fromSrc=-&changes=`: an image of one layer with the container's
    /// files and `labels`, whose values have neither quotes nor spaces; by its id.
    pub(crate) async fn flatten(&self, name: &str, labels: &[(&str, &str)]) -> Result<String> {
        const WHAT: &str = "make one layer of an image's many";
        let address = format!("/containers/{}/export", escape(name));
        let request = Request::get(address).body(Full::<Bytes>::default()).map_err(wire::malformed)?;
        let exported = within(WHAT, SLOW, self.answered(WHAT, request)).await?;
        let mut address = "/images/create?fromSrc=-".to_owned();
        for (label, value) in labels {
            address.push_str(&format!("&changes={}", escape(&format!("LABEL {label}=\"{value}\""))));
        }
        let request = Request::post(address)
            .header(CONTENT_TYPE, "application/x-tar")
            .body(streamed(data(WHAT, exported)))
            .map_err(wire::malformed)?;
        let told = async {
            let imported = self.answered(WHAT, request).await?;
            lines(WHAT, imported.into_body()).try_collect::<Vec<_>>().await
        };
        let told = within(WHAT, super::BUILD, told).await?;
        let id =
            told.iter().rev().find_map(|line| line["status"].as_str().filter(|id| id.starts_with("sha256:")));
        id.map(str::to_owned).ok_or_else(|| {
            Error::new(ErrorKind::Server, format!("{WHAT}: the engine does not name the image"))
        })
    }
}

fn streamed(chunks: ByteStream) -> UnsyncBoxBody<Bytes, std::io::Error> {
    let frames = chunks.map(|chunk| chunk.map(Frame::data).map_err(std::io::Error::other));
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

fn data(what: &'static str, response: Response<Incoming>) -> ByteStream {
    Box::pin(stream::try_unfold(response.into_body(), move |mut body| async move {
        loop {
            let Some(frame) = body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|cause| {
                Error::new(ErrorKind::Connection, format!("{what}: the connection to the engine broke"))
                    .caused_by(cause)
            })?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some((bytes, body)));
            }
        }
    }))
}
