//! Grainchain provider for this machine: sandboxes in directories, without isolation

pub mod snapshot;
