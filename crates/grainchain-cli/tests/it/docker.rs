//! The real command at a real engine: the one that answers. Without one, or without the images that `cargo xtask test` makes, every
//! test is reported as NOT RUN and none as passed.

#![expect(clippy::unwrap_used, reason = "in a test a panic with its place is the report")]

mod at_engine;
#[expect(dead_code, reason = "the tests at sandboxes of the provider `local` use the rest of it")]
mod pty;
#[expect(dead_code, reason = "the tests at sandboxes of the provider `local` use the rest of it")]
mod world;

fn main() -> std::process::ExitCode {
    at_engine::run()
}
