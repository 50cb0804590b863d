//! A link: many conversations with a sandbox's helper over one byte pipe, which may break and be replaced.
//!
//! The [client](Link) opens [channels](Channel), the [server](Listener) answers in them. Each channel has room of its own in both
//! directions, so a reader that does not read holds up nothing but its own channel. What was said is kept until the other side has
//! confirmed it, so that after a lost pipe nothing is lost and nothing is said twice.
//!
//! Both sides prove to know a [`Token`] first; everything a peer says is checked and bounded.

mod channel;
mod client;
mod drive;
mod frame;
mod handshake;
mod listener;
mod pipe;
mod state;
#[cfg(test)]
mod tests;

pub use channel::{Channel, Receiver, Sender};
pub use client::{Link, LinkConfig};
pub use handshake::{SessionId, Token, VERSION};
pub use listener::{Listener, ListenerConfig, Request};
pub use pipe::{Dial, Pipe};
