//! What every row stands on: a client of ours, the engine without it, and turns for both.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use grainchain::docker::{ContainerOptions, Docker, DockerConfig};
use grainchain::types::id::random_id;
use grainchain::{Client, Error, ErrorKind, Output, Result, Sandbox, SandboxConfig};
use grainchain_tests::report::Runs;

use crate::raw::{LABEL, Raw};
use crate::settings::Settings;

/// A system of nothing but busybox, and what `cargo xtask test` calls it.
pub(crate) const TINY: &str = "grainchain-test/tiny:1";

/// A small Debian with Python.
pub(crate) const PYTHON: &str = "grainchain-test/python:1";

/// The command that both run where only the way to it counts, as ours gives it to the shell.
pub(crate) const TRUE: &[&str] = &["/bin/sh", "-c", "true"];

/// What every row stands on.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) settings: Settings,
    pub(crate) client: Client,
    pub(crate) raw: Raw,
    pub(crate) engine: String,
    labels: BTreeMap<String, String>,
}

impl Ground {
    /// Looks for the engine and its images. Nothing is made.
    pub(crate) async fn find(settings: Settings) -> Result<Self> {
        let run = random_id("run");
        let (raw, engine) = Raw::at(settings.socket.clone(), run.clone()).await?;
        for image in [TINY, PYTHON] {
            if !raw.has_image(image).await? {
                return Err(Error::new(ErrorKind::NotFound, format!("the engine has no image {image}"))
                    .hint("`cargo xtask bench docker` makes it where it can"));
            }
        }
        let labels = BTreeMap::from([(LABEL.to_owned(), run)]);
        let client = client(&settings, &labels)?;
        Ok(Self { settings, client, raw, engine, labels })
    }

    /// Lets the reference's containers be like ours, of which one is made to look at.
    pub(crate) async fn compare(&mut self) -> Result<()> {
        let sandbox = self.sandbox().await?;
        self.raw.like(&container(&sandbox)).await?;
        sandbox.close().await
    }

    /// A client that shares nothing with the other one.
    pub(crate) fn another_client(&self) -> Result<Client> {
        client(&self.settings, &self.labels)
    }

    /// One of our sandboxes, which has run a command before.
    pub(crate) async fn sandbox(&self) -> Result<Sandbox> {
        let sandbox = self.client.create(SandboxConfig::image(TINY)).await?;
        good(sandbox.execute("true").await?)?;
        Ok(sandbox)
    }

    /// A container without us, which has run a command before.
    pub(crate) async fn container(&self) -> Result<String> {
        let container = self.raw.run(TINY).await?;
        self.raw.exec(&container, TRUE).await?;
        Ok(container)
    }

    /// Removes everything that this run has made and that is still there.
    pub(crate) async fn clear(&self) -> Result<()> {
        let mut fault = None;
        // What is being made or removed at this moment is met by the next look, and so is an image that others stand on.
        for _ in 0..4 {
            let (containers, images) = (self.raw.containers().await?, self.raw.images().await?);
            if containers.is_empty() && images.is_empty() {
                return Ok(());
            }
            for container in containers {
                fault = self.raw.remove(&container).await.err().or(fault);
            }
            for image in images {
                fault = self.raw.remove_image(&image).await.err().or(fault);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let (containers, images) = (self.raw.containers().await?, self.raw.images().await?);
        if containers.is_empty() && images.is_empty() {
            return Ok(());
        }
        let fault = fault.unwrap_or_else(|| Error::unexpected("they came back"));
        Err(Error::unexpected(format!("{} containers, {} images are left", containers.len(), images.len()))
            .hint(format!("remove what `docker ps -a --filter label={LABEL}` lists"))
            .caused_by(fault))
    }
}

fn client(settings: &Settings, labels: &BTreeMap<String, String>) -> Result<Client> {
    let mut options = ContainerOptions::default();
    options.labels = Some(labels.clone());
    let config = DockerConfig::at(format!("unix://{}", settings.socket.display()))
        .image(TINY)
        .guest(settings.guest)
        .shortcut(settings.shortcut)
        .container(options);
    Ok(Client::new(Docker::new(config)?))
}

/// The container of one of our sandboxes.
pub(crate) fn container(sandbox: &Sandbox) -> String {
    format!("grainchain-{}", sandbox.id())
}

/// Refuses a command that failed: nobody wants to know how fast that was.
pub(crate) fn good(output: Output) -> Result<Output> {
    if output.success() {
        return Ok(output);
    }
    Err(Error::unexpected(format!("a command failed: {}", output.combined().trim())))
}

/// How long `work` takes.
pub(crate) async fn timed<T>(work: impl Future<Output = Result<T>>) -> Result<Duration> {
    let begun = Instant::now();
    work.await?;
    Ok(begun.elapsed())
}

/// Lets `ours` and `raw` take turns, each the first in every other round, after `warm` rounds that do not count. Both answer how
/// long the part of them took that counts.
pub(crate) async fn turns(
    warm: usize,
    rounds: usize,
    mut ours: impl AsyncFnMut() -> Result<Duration>,
    mut raw: impl AsyncFnMut() -> Result<Duration>,
) -> Result<(Runs, Runs)> {
    let (mut our_runs, mut raw_runs) = (Runs::default(), Runs::default());
    for round in 0..warm + rounds {
        let (mine, theirs) = if round % 2 == 0 {
            let mine = ours().await?;
            (mine, raw().await?)
        } else {
            let theirs = raw().await?;
            (ours().await?, theirs)
        };
        if round >= warm {
            our_runs.add(mine);
            raw_runs.add(theirs);
        }
    }
    Ok((our_runs, raw_runs))
}
