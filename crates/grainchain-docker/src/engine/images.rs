//! Images: looked at, pulled, built, removed.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptions, RemoveImageOptionsBuilder};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use grainchain_core::{ByteStream, Error, Result, Secret};
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use serde_json::{Value, json};

use super::containers::{absent, escape};
use super::lines::lines;
use super::{CONTROL, Engine, SLOW, ask, wire, within};
use crate::error;

/// An image as a list or a look shows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    /// `sha256:…`
    pub(crate) id: String,
    /// Its names.
    pub(crate) tags: Vec<String>,
    /// Its labels.
    pub(crate) labels: HashMap<String, String>,
    /// When it was made, in seconds since 1970; only from a list.
    pub(crate) created: i64,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// The user that it wants to run as; empty for root. Only from a look.
    pub(crate) user: String,
    /// Its layers. Only from a look.
    pub(crate) layers: usize,
    /// Where its containers have volumes without being asked to. Only from a look.
    pub(crate) volumes: Vec<String>,
    /// The system and the processor that it is for, as in `linux/arm64/v8`. Only from a look.
    pub(crate) platform: String,
}

/// How to log in to a registry.
#[derive(Clone, Debug)]
pub(crate) enum Credentials {
    /// A name and a password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token in place of both.
    Token(Secret),
}

/// What an image is built from.
#[derive(Clone, Debug, Default)]
pub(crate) struct BuildSource {
    /// The name that it gets.
    pub(crate) tag: String,
    /// The Dockerfile's path in the context.
    pub(crate) dockerfile: String,
    /// The values of its `ARG`s.
    pub(crate) arguments: BTreeMap<String, String>,
    /// The stage to stop at; the last when absent.
    pub(crate) target: Option<String>,
    /// The platform, as in `linux/arm64`.
    pub(crate) platform: Option<String>,
    /// Labels of the image.
    pub(crate) labels: BTreeMap<String, String>,
    /// Whether BuildKit builds it.
    pub(crate) buildkit: bool,
}

impl Engine {
    /// `GET /images/{reference}/json`: none when the engine does not have it.
    pub(crate) async fn image(&self, reference: &str) -> Result<Option<Image>> {
        // The reference stands in the path as it is: it was checked to be one.
        let found = absent(ask("look at the image", CONTROL, self.docker.inspect_image(reference)).await)?;
        Ok(found.map(|found| {
            let config = found.config.unwrap_or_default();
            Image {
                id: found.id.unwrap_or_default(),
                tags: found.repo_tags.unwrap_or_default(),
                labels: config.labels.unwrap_or_default(),
                created: 0,
                size: found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
                user: config.user.unwrap_or_default(),
                layers: found.root_fs.and_then(|layers| layers.layers).map_or(0, |layers| layers.len()),
                volumes: config.volumes.unwrap_or_default(),
                platform: [found.os, found.architecture, found.variant]
                    .into_iter()
                    .flatten()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join("/"),
            }
        }))
    }

    /// `GET /images/json?filters=`: the images that carry all of `labels`, also those that lost their names.
    pub(crate) async fn images(&self, labels: &[String]) -> Result<Vec<Image>> {
        let filters = HashMap::from([("label", labels.to_vec())]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        let listed = ask("list the images", CONTROL, self.docker.list_images(Some(options))).await?;
        let image = |found: bollard::models::ImageSummary| Image {
            id: found.id,
            tags: found.repo_tags.into_iter().filter(|tag| tag != "<none>:<none>").collect(),
            labels: found.labels,
            created: found.created,
            size: u64::try_from(found.size).unwrap_or_default(),
            ..Image::default()
        };
        Ok(listed.into_iter().map(image).collect())
    }

    /// `DELETE /images/{reference}?force=1`: takes its name away, and its content once nothing uses it. Whether it was there.
    pub(crate) async fn remove_image(&self, reference: &str) -> Result<bool> {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        let call = self.docker.remove_image(reference, Some(options), None);
        Ok(absent(ask("remove the image", SLOW, call).await)?.is_some())
    }

    /// `DELETE /images/{reference}`: only if nothing uses it; `Conflict` otherwise. Whether it was there.
    pub(crate) async fn remove_unused_image(&self, reference: &str) -> Result<bool> {
        let call = self.docker.remove_image(reference, None::<RemoveImageOptions>, None);
        Ok(absent(ask("remove the image", SLOW, call).await)?.is_some())
    }

    /// `GET /images/json?all=1`: the ids of those that have no name, those of a builder's steps included.
    pub(crate) async fn nameless(&self) -> Result<Vec<String>> {
        let options = ListImagesOptionsBuilder::default().all(true).build();
        let listed = ask("list the images", CONTROL, self.docker.list_images(Some(options))).await?;
        let is_nameless = |image: &bollard::models::ImageSummary| {
            image.repo_tags.iter().chain(&image.repo_digests).all(|name| name.starts_with("<none>"))
        };
        Ok(listed.into_iter().filter(is_nameless).map(|image| image.id).collect())
    }

    /// `DELETE /images/{id}?noprune=1`: without those that it was made from, and only if nothing uses it; `Conflict` otherwise.
    pub(crate) async fn remove_alone(&self, id: &str) -> Result<()> {
        let options = RemoveImageOptionsBuilder::default().noprune(true).build();
        absent(ask("remove the image", SLOW, self.docker.remove_image(id, Some(options), None)).await)?;
        Ok(())
    }

    /// `POST /images/create?fromImage=&tag=`: pulls `reference`; every line tells of progress. `reference` always has a tag or a
    /// digest: without, engines pull all there are.
    pub(crate) async fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        credentials: Option<&Credentials>,
    ) -> Result<impl Stream<Item = Result<Value>> + Send + use<>> {
        const WHAT: &str = "pull the image";
        let mut path = format!("/images/create?fromImage={}", escape(reference));
        if let Some(platform) = platform {
            path.push_str(&format!("&platform={}", escape(platform)));
        }
        let mut request = Request::post(path);
        if let Some(credentials) = credentials {
            let told = match credentials {
                Credentials::Password { username, password } => {
                    json!({ "username": username, "password": password.expose() })
                }
                Credentials::Token(token) => json!({ "identitytoken": token.expose() }),
            };
            request = request.header("X-Registry-Auth", URL_SAFE.encode(told.to_string()));
        }
        let request = request.body(Full::<Bytes>::default()).map_err(wire::malformed)?;
        let response = within(WHAT, SLOW, self.answered(WHAT, request)).await?;
        Ok(lines(WHAT, response.into_body()))
    }

    /// `POST /build?t=&…`: builds an image of the folded `context`; every line tells of progress. Without a session, which only
    /// secrets and private bases would need.
    pub(crate) async fn build(
        &self,
        source: &BuildSource,
        context: ByteStream,
    ) -> Result<impl Stream<Item = Result<Value>> + Send + use<>> {
        const WHAT: &str = "build the image";
        let map = |map: &BTreeMap<String, String>| escape(&json!(map).to_string());
        // Without `forcerm` a step that fails leaves its container behind.
        let mut path = format!(
            "/build?t={}&dockerfile={}&buildargs={}&labels={}&rm=1&forcerm=1&version={}",
            escape(&source.tag),
            escape(&source.dockerfile),
            map(&source.arguments),
            map(&source.labels),
            if source.buildkit { 2 } else { 1 },
        );
        for (name, value) in [("target", &source.target), ("platform", &source.platform)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", escape(value)));
            }
        }
        let frames = context.map(|chunk| chunk.map(Frame::data).map_err(std::io::Error::other));
        let body = BodyExt::boxed_unsync(StreamBody::new(frames));
        let request = Request::post(path)
            .header(CONTENT_TYPE, "application/x-tar")
            .body(body)
            .map_err(wire::malformed)?;
        let response = within(WHAT, super::BUILD, self.answered(WHAT, request)).await?;
        Ok(lines(WHAT, response.into_body()))
    }

    /// The answer to `request`, if it is no refusal.
    pub(super) async fn answered<B>(&self, what: &str, request: Request<B>) -> Result<Response<Incoming>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let response = self.wire.send(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(error::answer(what, status.as_u16(), &wire::text(response).await?))
    }
}

/// Refuses what is no name of an image before it becomes a part of an address, and completes it with `latest`.
pub(crate) fn reference(text: &str) -> Result<String> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-/:@".contains(letter);
    let tidy = text.chars().all(allowed)
        && text.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && text.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && text.len() <= 512;
    if !tidy {
        return Err(Error::bad_request(format!("`{}` is no name of an image", text.escape_debug()))
            .hint("write a name and a tag, as in python:3.12-slim")
            .option("image"));
    }
    let last = text.rsplit('/').next().unwrap_or(text);
    let complete = last.contains(':') || last.contains('@') || is_id(text);
    Ok(if complete { text.to_owned() } else { format!("{text}:latest") })
}

/// Whether `text` is an image's own id, which no registry knows.
pub(crate) fn is_id(text: &str) -> bool {
    text.starts_with("sha256:") || (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_without_a_tag_means_latest_and_never_all_tags() {
        for (text, complete) in [
            ("python", "python:latest"),
            ("python:3.12-slim", "python:3.12-slim"),
            ("host:5000/a/b", "host:5000/a/b:latest"),
            ("a/b@sha256:0123", "a/b@sha256:0123"),
            ("sha256:0123", "sha256:0123"),
        ] {
            assert_eq!(reference(text).unwrap(), complete);
        }
    }

    #[test]
    fn what_is_no_reference_never_reaches_an_address() {
        for text in ["", "a b", "../x", "a/../b", "a?x=1", "a#b", "-a", "a//b", "a\nb", "ä"] {
            assert_eq!(reference(text).unwrap_err().failed_option(), Some("image"), "{text}");
        }
    }
}
