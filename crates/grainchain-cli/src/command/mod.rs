//! One module per command.

pub(crate) mod capabilities;
pub(crate) mod code;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod doctor;
pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod fork;
pub(crate) mod gc;
pub(crate) mod info;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod options;
pub(crate) mod place;
pub(crate) mod power;
pub(crate) mod providers;
pub(crate) mod run;
pub(crate) mod shell;
pub(crate) mod snapshot;
