//! Builds images from Dockerfiles, each content once.

mod context;
mod ignore;
mod steps;
mod trace;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use grainchain_core::{Error, ErrorKind, Result, blocking};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::engine::{BUILD, BuildSource, Engine, Image, within};
use crate::hash::hex_of;
use crate::options::ContainerOptions;
use crate::progress::{Progress, Watcher};
use context::{BuildContext, DOCKERFILE};
use steps::Steps;
use trace::{Event, Trace};

/// What images that we built are called; their hash is the tag.
pub(crate) const REPOSITORY: &str = "grainchain/template";

/// Marks what we built; its value is the template's name, if it has one.
pub(crate) const TEMPLATE: &str = "grainchain.template";

/// How much of the last output an error repeats.
const LAST_WORDS: usize = 5;

/// An image to build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// The template's name; none for the Dockerfile of a sandbox.
    pub(crate) name: Option<String>,
    /// The path of a Dockerfile on this machine, or its text.
    pub(crate) dockerfile: String,
    /// The folder of this machine that `COPY` reads from.
    pub(crate) context: Option<PathBuf>,
    /// The values of its `ARG`s.
    pub(crate) arguments: BTreeMap<String, String>,
    /// The stage to stop at.
    pub(crate) target: Option<String>,
    /// The platform.
    pub(crate) platform: Option<String>,
}

impl Recipe {
    /// The recipe in a container's options, if there is one.
    pub(crate) fn of_options(options: &ContainerOptions) -> Result<Option<Self>> {
        let Some(dockerfile) = &options.dockerfile else { return Ok(None) };
        if dockerfile.trim().is_empty() {
            return Err(Error::bad_request("the Dockerfile is empty")
                .hint("name a file of this machine, or write its text")
                .option("dockerfile"));
        }
        Ok(Some(Self {
            name: None,
            dockerfile: dockerfile.clone(),
            context: options.context.clone(),
            arguments: options.build_args.clone().unwrap_or_default(),
            target: options.target.clone(),
            platform: options.platform.clone(),
        }))
    }

    /// The Dockerfile's text and the context's folder. Blocks the thread.
    fn read(&self) -> Result<BuildContext> {
        if self.dockerfile.contains('\n') {
            return BuildContext::open(self.dockerfile.clone(), self.context.as_deref());
        }
        let path = Path::new(&self.dockerfile);
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::io(format_args!("read the Dockerfile {}", path.display()), error))
            .map_err(|error| {
                error
                    .hint("name a file of this machine, or write its text with more than one line")
                    .option("dockerfile")
            })?;
        let own =
            path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        BuildContext::open(text, self.context.as_deref().or(own))
    }

    /// The image, built when the engine does not have it.
    ///
    /// # Errors
    ///
    /// `BadRequest` and `NotFound` naming `dockerfile` or `context`, with the step that failed and its last words.
    pub(crate) async fn ensure(&self, engine: &Engine, watcher: &Watcher) -> Result<Image> {
        let recipe = self.clone();
        let (context, hash) = blocking::run(move || {
            let context = recipe.read()?;
            let mut hasher = Sha256::new();
            context.hash(&mut hasher)?;
            let rest = (&recipe.name, &recipe.arguments, &recipe.target, &recipe.platform);
            hasher.update(serde_json::to_vec(&rest).unwrap_or_default());
            Ok((context, hex_of(hasher)))
        })
        .await?;
        let tag = format!("{REPOSITORY}:{}", &hash[..32]);
        if let Some(image) = engine.image(&tag).await? {
            return Ok(image);
        }
        let source = BuildSource {
            tag: tag.clone(),
            dockerfile: DOCKERFILE.to_owned(),
            arguments: self.arguments.clone(),
            target: self.target.clone(),
            platform: self.platform.clone(),
            labels: BTreeMap::from([(TEMPLATE.to_owned(), self.name.clone().unwrap_or_default())]),
            buildkit: engine.has_buildkit().await?,
        };
        let content = blocking::produce(move |writer| context.fold(writer));
        within("build the image", BUILD, run(engine, &source, content.into_stream(), watcher)).await?;
        engine.image(&tag).await?.ok_or_else(|| {
            Error::new(ErrorKind::Server, "the engine says that it built the image, and does not have it")
                .option("dockerfile")
        })
    }
}

async fn run(
    engine: &Engine,
    source: &BuildSource,
    context: grainchain_core::ByteStream,
    watcher: &Watcher,
) -> Result<()> {
    let mut account = Account::default();
    // BuildKit keeps what it has made to itself.
    let mut steps = if source.buildkit { None } else { Some(Steps::begin(engine).await?) };
    let built = async {
        let mut lines = Box::pin(engine.build(source, context).await?);
        while let Some(line) = lines.next().await {
            let line = line?;
            if let Some(steps) = &mut steps {
                steps.read(line["stream"].as_str().unwrap_or_default());
            }
            for text in account.read(&line) {
                watcher.tell(|| Progress { subject: source.tag.clone(), text, current: None, total: None });
            }
        }
        Ok(())
    };
    match built.await {
        Ok(()) => Ok(()),
        Err(error) => {
            if let Some(steps) = steps {
                steps.undo(engine).await;
            }
            Err(account.failed(error))
        }
    }
}

/// Follows a build, to tell where it failed.
#[derive(Debug, Default)]
struct Account {
    trace: Trace,
    step: Option<String>,
    words: Vec<String>,
}

impl Account {
    /// What a line of the stream tells, as texts for people.
    fn read(&mut self, line: &Value) -> Vec<String> {
        if line["id"] == "moby.buildkit.trace" {
            let message =
                line["aux"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
            return self.trace.read(&message).into_iter().map(|event| self.note(event)).collect();
        }
        let text = line["stream"].as_str().unwrap_or_default().trim_end();
        // The classic builder colours what a step writes to its standard error.
        let text = text.replace("\u{1b}[91m", "").replace("\u{1b}[0m", "");
        if text.trim().is_empty() {
            return Vec::new();
        }
        let event = match text.strip_prefix("Step ") {
            Some(step) => Event::Began(step.to_owned()),
            None => Event::Wrote(text),
        };
        vec![self.note(event)]
    }

    fn note(&mut self, event: Event) -> String {
        match event {
            Event::Began(step) => {
                self.words.clear();
                self.step = Some(step.clone());
                step
            }
            Event::Cached(step) => format!("cached: {step}"),
            Event::Failed(step, reason) => {
                self.step = Some(step.clone());
                format!("{step}: {reason}")
            }
            Event::Wrote(text) => {
                self.words.extend(text.lines().map(str::to_owned));
                let excess = self.words.len().saturating_sub(LAST_WORDS);
                self.words.drain(..excess);
                text
            }
        }
    }

    /// The error for a build that failed: the step, the reason, and what it said last.
    fn failed(&self, error: Error) -> Error {
        if matches!(
            error.kind(),
            ErrorKind::Connection | ErrorKind::Denied | ErrorKind::Timeout | ErrorKind::Config
        ) && error.http_status().is_none()
            && self.step.is_none()
        {
            return error;
        }
        let mut message = error.message().to_owned();
        if let Some(step) = &self.step {
            message = format!("step {}: {message}", one_line(step));
        }
        let words: Vec<_> = self
            .words
            .iter()
            .map(|line| one_line(line))
            .filter(|line| !line.is_empty() && !line.starts_with("--->"))
            .collect();
        if !words.is_empty() {
            message = format!("{message} (its last words: {})", words.join(" / "));
        }
        let kind = match error.kind() {
            ErrorKind::Server | ErrorKind::Unexpected => ErrorKind::BadRequest,
            kind => kind,
        };
        Error::new(kind, message)
            .hint(error.remedy().unwrap_or("correct the Dockerfile or its context").to_owned())
            .option("dockerfile")
            .caused_by(error)
    }
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect::<String>()
        .trim()
        .chars()
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_classic_build_that_fails_names_its_step_and_its_last_words() {
        let mut account = Account::default();
        account.read(&json!({ "stream": "Step 1/2 : FROM x\n" }));
        account.read(&json!({ "stream": " ---> 0123\n" }));
        account.read(&json!({ "stream": "Step 2/2 : RUN make\n" }));
        account.read(&json!({ "stream": "\u{1b}[91mno rule\u{1b}[0m" }));
        let error = account.failed(crate::error::told(
            "build the image",
            None,
            "The command '/bin/sh -c make' returned a non-zero code: 2",
        ));
        let text = error.to_string();
        assert!(
            text.contains("step 2/2 : RUN make") && text.contains("code: 2") && text.contains("no rule"),
            "{text}"
        );
        assert_eq!((error.kind(), error.failed_option()), (ErrorKind::BadRequest, Some("dockerfile")));
        assert!(!text.contains('\n') && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn an_engine_that_is_not_there_is_not_the_dockerfiles_fault() {
        let error = Account::default().failed(Error::new(ErrorKind::Connection, "refused"));
        assert_eq!((error.kind(), error.failed_option()), (ErrorKind::Connection, None));
    }
}
