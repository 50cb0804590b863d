//! What a client and a sandbox's helper say to each other in the channels of a link, spelt once for both.
//!
//! A channel is one request. Its header is the request as JSON, or empty when that is too long; then the first documents from the
//! client are the request. The helper answers with any number of events and one [`Mark::Answer`] or [`Mark::Refusal`]; bytes travel as
//! they are, beside the documents and in order with them.

mod code;
mod document;
mod file;
mod metrics;
mod output;
mod process;
mod refusal;
mod request;
mod time;

pub(crate) use code::{WireCode, WireContext, WireRunCode};
pub(crate) use document::{Documents, Mark, encode, malformed, parse, send_document};
pub(crate) use file::{WireFile, WireSummary, WireWatch};
pub(crate) use metrics::WireMetrics;
pub(crate) use output::{Gathered, Pieces, WireOutput};
pub(crate) use process::{WireCommand, WireProcess, WireProcessEvent, WireStarted, WireStdin, stream};
pub(crate) use refusal::WireError;
pub(crate) use request::Request;
pub use request::{Control, Hello, SandboxState};
