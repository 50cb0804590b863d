#![doc = include_str!("../README.md")]
#![cfg(target_os = "linux")]

mod archive;
mod code;
mod contained;
mod drainer;
mod ending;
mod exec;
mod files;
mod guest;
#[cfg(feature = "helper")]
pub mod helper;
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
#[cfg(feature = "link")]
mod tunnel;
mod users;
mod watch;

pub use guest::{Guest, GuestConfig, kill_processes_of};
#[cfg(feature = "link")]
pub use message::{Control, Hello, SandboxState};
#[cfg(feature = "link")]
pub use remote::{Held, Remote};
pub use stage::Stage;
pub use users::Account;
