//! Commands that run to their end, against programs that do not want to end.

mod ending;
mod memory;
mod starting;
mod streams;
