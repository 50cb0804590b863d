//! The real command against real sandboxes of the provider `local`, each test in a world of its own.

#![cfg(all(target_os = "linux", feature = "local"))]
#![expect(clippy::unwrap_used, reason = "in a test a panic with its place is the report")]

mod code;
mod config;
mod copying;
mod files;
mod live;
mod looking;
mod power;
mod pty;
mod running;
mod signals;
mod terminal;
mod world;
