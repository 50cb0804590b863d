//! The one place that prints.

mod json;
mod printer;
mod progress;
mod table;
mod text;
mod time;

pub(crate) use json::to_json;
pub(crate) use printer::{Printer, Verdict};
pub(crate) use progress::Progress;
pub(crate) use table::Table;
pub(crate) use text::{visible, visible_lines};
pub(crate) use time::{age, expiry, stamp};
