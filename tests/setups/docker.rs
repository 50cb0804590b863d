//! Sandboxes in containers of the engine that answers, with the images that `cargo xtask test` makes.

use std::future::ready;

use grainchain_core::{Client, Error, ErrorKind, Provider, Result};
use grainchain_docker::{ContainerOptions, Docker, DockerConfig, GuestKind};
use grainchain_testkit::{Setup, Tool};

/// A system of nothing but busybox, and what `cargo xtask test` calls it.
const TINY: &str = "grainchain-test/tiny:1";

/// A small Debian with Python.
const PYTHON: &str = "grainchain-test/python:1";

/// The set-ups here: what runs commands, the image, whether as root, and whether in an image that cannot be changed.
const SETUPS: &[(&str, GuestKind, &str, bool, bool)] = &[
    ("docker", GuestKind::Helper, TINY, false, false),
    ("docker-root", GuestKind::Helper, PYTHON, true, true),
    ("docker-python", GuestKind::Helper, PYTHON, false, true),
    ("docker-tiny-root", GuestKind::Helper, TINY, true, false),
    ("docker-engine", GuestKind::Engine, TINY, false, false),
    ("docker-engine-root", GuestKind::Engine, PYTHON, true, true),
];

/// The names of the set-ups here.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SETUPS.iter().map(|(name, ..)| *name)
}

/// Whether clients of the set-up `name` reach helpers by way of the engine.
fn has_bridge(name: &str) -> bool {
    ["docker-python", "docker-tiny-root"].contains(&name)
}

/// The set-up `name`; none, and aloud, where no engine answers or the image is missing.
pub(crate) fn setup(name: &'static str) -> Option<Setup> {
    let (_, guest, image, is_root, is_read_only) = *SETUPS.iter().find(|(known, ..)| *known == name)?;
    let tools = if image == PYTHON { &[Tool::Python, Tool::Bash][..] } else { &[] };
    let provider = move || {
        let mut container = ContainerOptions::default();
        if is_root {
            container.user = Some("root".to_owned());
        }
        if is_read_only {
            container.read_only = Some(true);
        }
        let config = DockerConfig::default().image(image).guest(guest).container(container);
        Docker::new(config.shortcut(!has_bridge(name)))
    };
    match provider().and_then(|docker| answers(docker, image)) {
        Ok(()) => {
            Some(Setup::new(name, move || ready(provider().map(Client::new))).offers(tools.iter().copied()))
        }
        Err(error) => {
            not_run(name, &error);
            None
        }
    }
}

/// Whether there is an engine that has the image.
fn answers(docker: Docker, image: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("start a runtime", error))?;
    let health = runtime.block_on(docker.check())?;
    match health.notes.iter().find(|note| note.contains(image)) {
        Some(note) => Err(Error::new(ErrorKind::NotFound, note.clone())),
        None => Ok(()),
    }
}

/// A set-up that cannot run is never taken for one that passed.
#[expect(clippy::print_stderr, reason = "a set-up that cannot run says so aloud")]
fn not_run(setup: &str, error: &Error) {
    let line = "=".repeat(100);
    eprintln!(
        "{line}\nNOT RUN: the set-up {setup}: {error}\nNOT RUN: `cargo xtask test --provision` installs an engine as root on Debian\n{line}"
    );
}
