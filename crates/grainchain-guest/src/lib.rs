//! How things run on Unix: commands, process trees, files, watches and code contexts for Grainchain

#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "the layers above are being written on top of it")]
mod sys;

mod code;
