//! Sandboxes in containers of the engine that answers, with the tiny image that `cargo xtask test` makes.

use std::future::ready;

use grainchain_core::{Client, Error, ErrorKind, Provider, Result};
use grainchain_docker::{Docker, DockerConfig, GuestKind};
use grainchain_testkit::Setup;

/// A system of nothing but busybox, and what `cargo xtask test` calls it.
const TINY: &str = "grainchain-test/tiny:1";

/// The provider `docker` with the engine's own exec; none, and aloud, where no engine answers.
pub(crate) fn engine() -> Option<Setup> {
    let provider = || {
        let config = DockerConfig::default().image(TINY).guest(GuestKind::Engine);
        Docker::new(config)
    };
    match provider().and_then(answers) {
        Ok(()) => Some(Setup::new("docker-engine", move || ready(provider().map(Client::new)))),
        Err(error) => {
            not_run("docker-engine", &error);
            None
        }
    }
}

/// Whether there is an engine that has the image.
fn answers(docker: Docker) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("start a runtime", error))?;
    let health = runtime.block_on(docker.check())?;
    match health.notes.iter().find(|note| note.contains(TINY)) {
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
