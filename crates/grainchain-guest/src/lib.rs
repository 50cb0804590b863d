#![doc = include_str!("../README.md")]
#![cfg(target_os = "linux")]

mod code;
mod guest;
mod sys;

pub use guest::{Guest, GuestConfig};
