//! Errors, whole.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use grainchain_core::{Effect, Error, ErrorKind};
use serde::{Deserialize, Serialize};

use super::output::{Pieces, WireOutput};

/// The longest text of an error that is taken from the other side.
const LONGEST: usize = 16 * 1024;
/// How many causes are told.
const CAUSES: usize = 8;

/// An error on its way. The output that it carries follows as bytes before it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireError {
    kind: String,
    message: String,
    hint: Option<String>,
    option: Option<String>,
    effect: WireEffect,
    retryable: bool,
    retry_after: Option<Duration>,
    causes: Vec<String>,
    pub(crate) output: Option<WireOutput>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireEffect {
    None,
    Possible,
    Done,
}

/// The kinds that travel; whatever else there may be one day arrives as unexpected.
const KINDS: [ErrorKind; 13] = [
    ErrorKind::Config,
    ErrorKind::Auth,
    ErrorKind::NotFound,
    ErrorKind::Conflict,
    ErrorKind::BadRequest,
    ErrorKind::Denied,
    ErrorKind::Exhausted,
    ErrorKind::RateLimited,
    ErrorKind::Timeout,
    ErrorKind::Connection,
    ErrorKind::Server,
    ErrorKind::Unsupported,
    ErrorKind::Unexpected,
];

impl WireError {
    /// The error as it travels, and the bytes that go before it.
    pub(crate) fn new(error: &Error) -> (Self, Pieces) {
        let (output, pieces) = error.partial_output().map(WireOutput::new).unzip();
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(next) = cause.filter(|_| causes.len() < CAUSES) {
            causes.push(cut(&next.to_string()));
            cause = next.source();
        }
        let wire = Self {
            kind: error.kind().as_str().to_owned(),
            message: cut(error.message()),
            hint: error.remedy().map(cut),
            option: error.failed_option().map(cut),
            effect: match error.what_happened() {
                Effect::None => WireEffect::None,
                Effect::Done => WireEffect::Done,
                _ => WireEffect::Possible,
            },
            retryable: error.is_retryable(),
            retry_after: error.retry_after(),
            causes,
            output,
        };
        (wire, pieces.unwrap_or_default())
    }

    /// The error again, with the output in `bytes`.
    pub(crate) fn into_error(self, bytes: Bytes) -> Error {
        let kind = KINDS.into_iter().find(|kind| kind.as_str() == self.kind).unwrap_or(ErrorKind::Unexpected);
        let mut error = Error::new(kind, cut(&self.message)).effect(match self.effect {
            WireEffect::None => Effect::None,
            WireEffect::Possible => Effect::Possible,
            WireEffect::Done => Effect::Done,
        });
        if let Some(hint) = &self.hint {
            error = error.hint(cut(hint));
        }
        if let Some(option) = &self.option {
            error = error.option(cut(option));
        }
        if self.retryable {
            error = error.retryable(self.retry_after);
        }
        if let Some(cause) =
            self.causes.into_iter().take(CAUSES).reduce(|chain, cause| format!("{chain}: {cause}"))
        {
            error = error.caused_by(cut(&cause));
        }
        match self.output.map(|output| output.into_output(bytes)) {
            Some(Ok(output)) => error.output(output),
            Some(Err(_)) | None => error,
        }
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
