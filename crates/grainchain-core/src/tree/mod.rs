//! Work on a directory tree that somebody hostile may be changing at the same time
//!
//! [`Root`] resolves paths below an open directory and never leaves it, [`pack`] turns such a tree into
//! a tar stream, and [`unpack`] turns a tar stream into files. All of it is synchronous, works through
//! directory descriptors instead of path names, and is written for input made by an attacker: a symbolic
//! link swapped in between two system calls may make an operation fail, never make it act elsewhere.

mod atomic;
mod beneath;
mod error;
mod extract;
mod list;
mod options;
mod pack;
mod reader;
mod remove;
mod report;
mod resolve;
mod stat;
mod trail;
mod unpack;
mod walk;
mod writer;
mod xattr;

#[cfg(test)]
mod tests;

pub use atomic::{AtomicFile, AtomicOptions};
pub use beneath::{Root, Times};
pub use error::{TreeError, TreeErrorKind};
pub use list::{DirEntry, ReadDir};
pub use options::{MkdirOptions, OpenOptions, OutsideLinks, PackOptions, Specials, UnpackOptions, Xattrs};
pub use pack::pack;
pub use report::{PackReport, Skipped, UnpackReport};
pub use stat::{Links, Replace, Stat};
pub use unpack::unpack;
