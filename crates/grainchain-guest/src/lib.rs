#![doc = include_str!("../README.md")]
#![cfg(target_os = "linux")]

mod archive;
mod code;
mod drainer;
mod ending;
mod exec;
mod files;
mod guest;
#[cfg(feature = "link")]
pub mod link;
mod metrics;
mod optional;
mod processes;
mod stage;
mod start;
mod stdin;
mod sys;
#[cfg(test)]
mod testing;
mod watch;

pub use guest::{Guest, GuestConfig, kill_processes_of};
pub use stage::Stage;
