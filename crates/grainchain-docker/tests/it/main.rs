//! The provider at a real engine: the one that answers. Without one, or without the image that `cargo xtask test` makes, every test is
//! reported as NOT RUN and none as passed.

mod asleep;
mod bad_input;
mod cut;
mod engine;
mod exec;
mod isolation;
mod lifecycle;
mod network;
mod restart;
mod shortcut;
mod snapshots;
mod templates;
mod tls;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    if restart::is_a_client() {
        return world::client();
    }
    let tests = [
        asleep::tests(),
        bad_input::tests(),
        exec::tests(),
        isolation::tests(),
        lifecycle::tests(),
        network::tests(),
        restart::tests(),
        shortcut::tests(),
        snapshots::tests(),
        templates::tests(),
        tls::tests(),
    ];
    world::run(tests.into_iter().flatten())
}
