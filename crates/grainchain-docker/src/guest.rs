//! The way to a guest of ours that is a container's first process: its program in a volume, and pipes to it.
//!
//! What it says and does is `grainchain-guest`'s business; here are only bytes.

mod dial;
mod inside;
mod orders;
mod pipe;
mod ports;
mod program;
mod volume;

pub(crate) use dial::EngineDial;
pub(crate) use dial::paused;
pub(crate) use inside::Inside;
pub(crate) use orders::{Orders, new_token};
pub(crate) use pipe::FramedPipe;
pub(crate) use ports::Ways;
pub(crate) use program::{helper, is_for};
pub(crate) use volume::{FILLER, HELPER, HelperVolume};

/// Where the helper's volume is in every container that has one.
pub(crate) const PLACE: &str = "/.grainchain";

/// The helper's program.
pub(crate) const PROGRAM: &str = "/.grainchain/helper";

/// What the helper needs of all capabilities at its start: to make the working directory, and to become another user that may become
/// others and end what they have started. It gives up the first two of these at once, and keeps nothing else from commands.
pub(crate) const CAPABILITIES: [&str; 5] = ["CHOWN", "SETPCAP", "SETUID", "SETGID", "KILL"];

/// What one thread of the helper keeps beside that where folders are in memory: to take them along whole, and to put them back.
pub(crate) const KEEPING: [&str; 3] = ["DAC_OVERRIDE", "FOWNER", "FSETID"];
