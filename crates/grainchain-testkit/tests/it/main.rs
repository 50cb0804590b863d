//! The suite itself under test, and core's layers over a scripted provider.

mod create;
mod deadlines;
mod faults;
mod gc;
mod limits;
mod retry;
mod scope;
mod trace;
