#![doc = include_str!("../README.md")]
#![cfg(target_os = "linux")]

mod abreast;
mod config;
mod fork;
mod holder;
mod layout;
mod lease;
mod lifecycle;
mod limbo;
mod lock;
mod ports;
mod power;
mod provider;
mod removal;
mod sandbox;
mod snapshot;
mod snapshots;
mod state;
mod still;
mod timer;

use std::sync::Arc;

use grainchain_core::registry::{Entry, UriTarget};

pub use config::LocalConfig;
pub use provider::Local;

/// The provider's name.
pub const NAME: &str = "local";

/// The provider in the table of a program.
pub const ENTRY: Entry = Entry {
    name: NAME,
    about: "directories and processes of this machine, without isolation",
    target: UriTarget::Setting("root"),
    build: |settings| Ok(Arc::new(Local::new(settings.parse::<LocalConfig>()?)?)),
};
