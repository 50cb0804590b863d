//! Makes sure that the engine has an image: looks, and pulls once however many ask for it.

mod credentials;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use grainchain_core::{Error, ErrorKind, Result};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::engine::{Engine, Image, is_id};
use crate::options::Pull;
use crate::progress::{Progress, Watcher};

/// How long a pull may stand still.
const STILL: Duration = Duration::from_secs(120);

/// What came of a pull, for everybody who waited for it.
type Flight = Arc<OnceCell<std::result::Result<(), Told>>>;

/// The pulls that are under way.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    flights: Mutex<HashMap<(String, Option<String>), Flight>>,
}

/// An error that several are told.
#[derive(Clone, Debug)]
struct Told {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    option: Option<String>,
}

impl From<Error> for Told {
    fn from(error: Error) -> Self {
        Self {
            kind: error.kind(),
            message: error.message().to_owned(),
            hint: error.remedy().map(str::to_owned),
            option: error.failed_option().map(str::to_owned),
        }
    }
}

impl From<Told> for Error {
    fn from(told: Told) -> Self {
        let mut error = Self::new(told.kind, told.message).effect(grainchain_core::Effect::None);
        if let Some(hint) = told.hint {
            error = error.hint(hint);
        }
        error.option(told.option.unwrap_or_else(|| "image".to_owned()))
    }
}

impl Pulls {
    /// The image `reference`, pulled when `policy` says so.
    ///
    /// # Errors
    ///
    /// `NotFound` naming the image and the option, also when it is missing and must not be pulled; those of the pull.
    pub(crate) async fn ensure(
        &self,
        engine: &Engine,
        reference: &str,
        platform: Option<&str>,
        policy: Pull,
        config_folder: Option<PathBuf>,
        watcher: &Watcher,
    ) -> Result<Image> {
        let may_pull = policy != Pull::Never && !is_id(reference);
        if !(policy == Pull::Always && may_pull)
            && let Some(image) = engine.image(reference).await?
        {
            match platform.filter(|wanted| !is_for(&image.platform, wanted)) {
                None => return Ok(image),
                Some(wanted) if !may_pull => return Err(foreign(reference, &image, wanted)),
                // The same name may mean another image for another machine.
                Some(_) => {}
            }
        }
        if !may_pull {
            return Err(
                missing(reference).hint("load or build it on the engine's machine, or let it be pulled")
            );
        }
        let key = (reference.to_owned(), platform.map(str::to_owned));
        let flight = Arc::clone(
            self.flights.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default(),
        );
        // Whoever comes first pulls. If that one gives up, the next goes on.
        let told = flight.get_or_init(|| async {
            let pulled = pull(engine, reference, platform, config_folder, watcher).await;
            self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            pulled.map_err(Told::from)
        });
        told.await.clone()?;
        let image = engine.image(reference).await?.ok_or_else(|| {
            missing(reference)
                .hint("it was pulled, and is gone again: look what else changes the engine's images")
        })?;
        match platform.filter(|wanted| !is_for(&image.platform, wanted)) {
            None => Ok(image),
            Some(wanted) => Err(foreign(reference, &image, wanted)),
        }
    }
}

/// Whether an image for `platform` is one for `wanted`, which may leave the processor's version out.
fn is_for(platform: &str, wanted: &str) -> bool {
    platform.is_empty()
        || platform.split('/').zip(wanted.split('/')).all(|(is, wanted)| is.eq_ignore_ascii_case(wanted))
}

fn foreign(reference: &str, image: &Image, wanted: &str) -> Error {
    let message = format!(
        "the image `{reference}` is for {}, and not for {}",
        image.platform.escape_debug(),
        wanted.escape_debug()
    );
    Error::bad_request(message)
        .hint("name an image that there is for it, or leave the platform out")
        .option("platform")
}

fn missing(reference: &str) -> Error {
    Error::not_found(format!("the engine does not have the image `{reference}`")).option("image")
}

async fn pull(
    engine: &Engine,
    reference: &str,
    platform: Option<&str>,
    config_folder: Option<PathBuf>,
    watcher: &Watcher,
) -> Result<()> {
    let credentials = match config_folder {
        Some(folder) => credentials::of(&folder, reference).await?,
        None => None,
    };
    let named = |error: Error| {
        let message = format!("`{reference}`: {}", error.message());
        let mut named = Error::new(error.kind(), message).option(error.failed_option().unwrap_or("image"));
        if let Some(hint) = error.remedy() {
            named = named.hint(hint);
        }
        named.caused_by(error)
    };
    let mut lines = Box::pin(engine.pull(reference, platform, credentials.as_ref()).await.map_err(named)?);
    loop {
        let Ok(line) = tokio::time::timeout(STILL, lines.next()).await else {
            return Err(Error::new(
                ErrorKind::Timeout,
                format!("`{reference}`: the pull stands still for {STILL:?}"),
            )
            .hint("check the engine's way to the registry")
            .option("image"));
        };
        let Some(line) = line else { return Ok(()) };
        let line = line.map_err(named)?;
        watcher.tell(|| progress(reference, &line));
    }
}

fn progress(reference: &str, line: &Value) -> Progress {
    let status = line["status"].as_str().unwrap_or_default();
    let text = match line["id"].as_str() {
        Some(layer) => format!("{status} {layer}"),
        None => status.to_owned(),
    };
    let detail = &line["progressDetail"];
    Progress {
        subject: reference.to_owned(),
        text,
        current: detail["current"].as_u64(),
        total: detail["total"].as_u64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_for_the_machine_that_it_was_made_for() {
        assert!(is_for("linux/arm64/v8", "linux/arm64") && is_for("linux/arm64", "linux/arm64/v8"));
        assert!(is_for("linux/amd64", "Linux/AMD64") && is_for("", "linux/amd64"));
        assert!(!is_for("linux/amd64", "linux/arm64") && !is_for("linux/arm/v6", "linux/arm/v7"));
    }

    #[test]
    fn a_line_of_a_pull_tells_layer_and_bytes() {
        let line = serde_json::json!({ "status": "Downloading", "id": "0a1b", "progressDetail": { "current": 5, "total": 9 } });
        let progress = progress("a:1", &line);
        assert_eq!(
            (progress.text.as_str(), progress.current, progress.total),
            ("Downloading 0a1b", Some(5), Some(9))
        );
    }
}
