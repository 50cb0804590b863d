//! Code contexts: interpreters that live from call to call, and the wire they speak.
//!
//! `drivers/` holds one small script per language and `drivers/README.md` the description of the wire; `launch` says
//! how an interpreter is started with its script, `wire` encodes requests and decodes what comes back.

#![cfg_attr(
    not(test),
    expect(dead_code, reason = "the part that starts interpreters is built on top of this one")
)]

mod launch;
mod wire;

#[cfg(test)]
mod tests;
