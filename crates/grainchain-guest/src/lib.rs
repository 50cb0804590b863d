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
#[cfg(feature = "link")]
mod message;
mod metrics;
mod optional;
mod processes;
#[cfg(feature = "link")]
mod remote;
#[cfg(feature = "link")]
pub mod serve;
mod stage;
mod start;
mod stdin;
mod sys;
#[cfg(test)]
mod testing;
mod watch;

pub use guest::{Guest, GuestConfig, kill_processes_of};
#[cfg(feature = "link")]
pub use message::{Control, Hello, SandboxState};
#[cfg(feature = "link")]
pub use remote::Remote;
pub use stage::Stage;
