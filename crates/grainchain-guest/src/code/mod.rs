//! Code contexts: interpreters that live from call to call, and the wire they speak.
//!
//! `drivers/` holds one small script per language and `drivers/README.md` the description of the wire; `launch` says
//! how an interpreter is started with its script, `wire` encodes requests and decodes what comes back. `contexts` is the
//! facet, a `context` has a `seat` for one `interpreter`, and a `run` is one cell under way.

mod bundle;
mod cancel;
mod context;
mod contexts;
mod interpreter;
mod launch;
mod run;
mod seat;
mod wire;

#[cfg(test)]
mod facet_tests;
#[cfg(test)]
mod tests;

pub(crate) use contexts::Contexts;
