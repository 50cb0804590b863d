//! The way to a guest of ours that is a container's first process: its program in a volume, and pipes to it.
//!
//! What it says and does is `grainchain-guest`'s business; here are only bytes.

mod dial;
mod pipe;
mod volume;

pub(crate) use dial::EngineDial;
pub(crate) use pipe::FramedPipe;
pub(crate) use volume::HelperVolume;

/// Where the helper's volume is in every container that has one.
pub(crate) const PLACE: &str = "/.grainchain";

/// The helper's program.
pub(crate) const PROGRAM: &str = "/.grainchain/helper";

/// What the helper keeps of all capabilities: enough to become another user, to end that user's processes, and to give it its
/// working directory.
pub(crate) const CAPABILITIES: [&str; 4] = ["SETUID", "SETGID", "KILL", "CHOWN"];
