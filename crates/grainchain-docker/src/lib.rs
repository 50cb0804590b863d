#![doc = include_str!("../README.md")]

mod asleep;
mod build;
mod config;
mod create;
mod detached;
mod engine;
mod error;
mod exec;
mod fork;
mod guest;
mod hash;
mod image;
mod kept;
mod labels;
mod lifecycle;
mod network;
mod options;
mod power;
mod progress;
mod provider;
mod refusal;
mod replace;
mod sandbox;
mod snapshots;
mod stills;
mod sweep;
mod templates;
mod volumes;

use std::sync::Arc;

use grainchain_core::registry::{Entry, UriTarget};

pub use config::{DEFAULT_IMAGE, DockerConfig, GuestKind};
pub use options::{ContainerOptions, Pull, Ulimit};
pub use progress::Progress;
pub use provider::Docker;

/// The provider's name.
pub const NAME: &str = "docker";

/// The provider in the table of a program.
pub const ENTRY: Entry = Entry {
    name: NAME,
    about: "containers of any image, walled in, at a Docker engine",
    target: UriTarget::Image,
    build: |settings| Ok(Arc::new(Docker::new(settings.parse::<DockerConfig>()?)?)),
};
