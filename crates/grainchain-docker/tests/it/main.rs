//! The provider at a real engine: the one that answers. Without one, or without the image that `cargo xtask test` makes, every test is
//! reported as NOT RUN and none as passed.

mod asleep;
mod bad_input;
mod bare_image;
mod builds;
mod cut;
mod engine;
mod exec;
mod isolation;
mod lifecycle;
mod network;
mod options;
mod restart;
mod shortcut;
mod snapshots;
mod ssh;
mod templates;
mod tls;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    if restart::is_a_client() {
        return world::client(restart::be_a_client());
    }
    if ssh::is_a_client() {
        return world::client(ssh::be_a_client());
    }
    let tests = [
        asleep::tests(),
        bad_input::tests(),
        bare_image::tests(),
        builds::tests(),
        exec::tests(),
        isolation::tests(),
        lifecycle::tests(),
        network::tests(),
        options::tests(),
        restart::tests(),
        shortcut::tests(),
        snapshots::tests(),
        ssh::tests(),
        templates::tests(),
        tls::tests(),
    ];
    world::run(tests.into_iter().flatten())
}
