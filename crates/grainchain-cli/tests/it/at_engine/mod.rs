//! The tests at an engine, and a world whose sandboxes are containers.

mod files;
mod looking;
mod power;
mod refusals;
mod running;

use std::ops::Deref;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use crate::world::{World, write};

/// A system of nothing but busybox, whose user is 1000.
const TINY: &str = "grainchain-test/tiny:1";

/// A system with `python3`.
const PYTHON: &str = "grainchain-test/python:1";

/// One behaviour: its name, the image that it needs, and what it does.
type Test = (&'static str, &'static str, fn(&Containers));

/// The tests that are named, each with the image that it needs.
macro_rules! tests {
    ($($name:ident at $image:expr),* $(,)?) => {
        pub(super) const TESTS: &[super::Test] = &[$((stringify!($name), $image, $name)),*];
    };
}
use tests;

/// A world whose sandboxes are containers. The engine is shared with others: its own carry a label and are gone at the end.
pub(crate) struct Containers {
    world: World,
    label: String,
}

impl Containers {
    fn new(image: &str) -> Self {
        let world = World::new();
        let label = format!("world={}", world.here().parent().unwrap().display());
        let this = Self { world, label };
        this.configure("grainchain.toml", &format!("image = {image:?}"));
        this
    }

    /// Writes a configuration with these lines under `[providers.docker]`.
    pub(crate) fn configure(&self, file: &str, lines: &str) {
        let (key, value) = self.label.split_once('=').unwrap();
        let text = format!(
            "default_provider = \"docker\"\n[providers.docker]\n{lines}\n[sandbox_defaults.metadata]\n{key} = {value:?}\n"
        );
        write(self.here().join(file), text);
    }

    /// The ids of its own sandboxes.
    pub(crate) fn sandboxes(&self) -> Vec<String> {
        let listed = self.run(["list", "--quiet", "--label", &self.label]).succeeded();
        listed.stdout().lines().map(str::to_owned).collect()
    }

    /// What runs in the sandbox `id` prints.
    #[track_caller]
    pub(crate) fn sh(&self, id: &str, line: &str) -> String {
        self.run(["exec", id, "--", "sh", "-c", line]).succeeded().stdout()
    }
}

impl Deref for Containers {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        let listed = self.run(["list", "--quiet", "--label", &self.label]).stdout();
        let ids: Vec<_> = listed.lines().collect();
        if !ids.is_empty() {
            self.run([&["kill"], ids.as_slice()].concat());
        }
    }
}

/// Runs every test for which there is what it needs.
#[expect(clippy::print_stderr, reason = "tests that cannot run say so aloud")]
pub(crate) fn run() -> ExitCode {
    let images = [TINY, PYTHON].map(|image| (image, missing(image)));
    for (image, reason) in &images {
        if let Some(reason) = reason {
            eprintln!("\nNOT RUN: THE COMMAND AT A DOCKER ENGINE WITH {image}: {reason}\n");
        }
    }
    let tests = [files::TESTS, looking::TESTS, power::TESTS, refusals::TESTS, running::TESTS].concat();
    let trials = tests.into_iter().map(|(name, image, test)| {
        let trial = Trial::test(name, move || {
            test(&Containers::new(image));
            Ok(())
        });
        let cannot = images.iter().any(|(needed, reason)| *needed == image && reason.is_some());
        if cannot { trial.with_kind("NOT RUN: no engine or image").with_ignored_flag(true) } else { trial }
    });
    let trials = trials.collect();
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(4));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Why there is nothing to run at.
fn missing(image: &str) -> Option<String> {
    let world = Containers::new(image);
    let rows = world.run(["providers", "--json"]).succeeded().json();
    let docker = rows.as_array().unwrap().iter().find(|row| row["name"] == "docker").unwrap();
    if let Some(reason) = docker["reason"].as_str() {
        return Some(reason.to_owned());
    }
    let notes = docker["notes"].as_array().unwrap();
    notes.iter().filter_map(|note| note.as_str()).find(|note| note.contains(image)).map(str::to_owned)
}
