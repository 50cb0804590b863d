//! The provider at a real engine: the one that answers. Without one, or without the image that `cargo xtask test` makes, every test is
//! reported as NOT RUN and none as passed.

mod bad_input;
mod exec;
mod isolation;
mod lifecycle;
mod templates;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    let tests =
        [bad_input::tests(), exec::tests(), isolation::tests(), lifecycle::tests(), templates::tests()];
    world::run(tests.into_iter().flatten())
}
