//! The provider `local` through a client, alone and beside other programs.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it has to be")]

mod config;
mod connect;
mod faults;
mod fork;
mod lease;
mod lifetime;
mod other;
mod power;
mod snapshots;
mod state;
mod world;
