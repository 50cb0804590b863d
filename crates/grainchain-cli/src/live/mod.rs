//! A command in a sandbox as if it ran here: its output as it comes, our input, our signals, our terminal.

mod drive;
mod input;
mod pump;

pub(crate) use drive::{Ended, Setup, Stdio, drive, to_end};
pub(crate) use input::{open, read_all};
pub(crate) use pump::{show, write};
