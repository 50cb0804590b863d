//! The lowest layer: starting, marking, finding, stopping and ending processes on Linux (5.9 or later).
//!
//! It knows nothing of the facets above it. Everything here is synchronous except waiting for a child and
//! moving bytes through a pipe.

pub(crate) mod child;
mod image;
mod launch;
pub(crate) mod notice;
pub(crate) mod pipe;
mod procfs;
pub(crate) mod pty;
mod reaper;
pub(crate) mod scan;
pub(crate) mod spawn;
pub(crate) mod tag;
pub(crate) mod tree;

#[cfg(test)]
mod tests;
