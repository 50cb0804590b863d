//! Commands that run to their end, against programs that do not want to end.

mod ending;
mod starting;
mod streams;
