//! What a case says when it fails.

use std::fmt;

use grainchain_core::{Error, ErrorKind};

/// Why a case failed, in words for the person who reads the test run.
pub struct Failure(String);

/// What a case answers.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(format!("an operation failed that should not: {error:?}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(format!("the test's own machine: {error}"))
    }
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

impl From<&str> for Failure {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

/// Fails the case unless the condition holds.
macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::Failure::new(format!($($message)+)));
        }
    };
}

/// Fails the case unless both are equal; the right one is what should be.
macro_rules! same {
    ($left:expr, $right:expr) => {
        same!($left, $right, "{}", stringify!($left))
    };
    // As in `assert_eq`, `match` keeps temporaries alive until both are compared.
    ($left:expr, $right:expr, $($message:tt)+) => {
        match (&$left, &$right) {
            (left, right) => {
                if *left != *right {
                    let what = format!($($message)+);
                    return Err($crate::check::differs(&what, left, right));
                }
            }
        }
    };
}

/// The failure of [`same!`], with long values shortened.
pub(crate) fn differs(what: &str, left: &dyn fmt::Debug, right: &dyn fmt::Debug) -> Failure {
    Failure(format!("{what}: is {}, should be {}", short(left), short(right)))
}

/// A value as one readable line.
pub(crate) fn short(value: &dyn fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
        None => text,
    }
}

/// Takes the error out of `result` and holds it to the promise: one of `kinds`, the operation and the provider named, a reason in
/// lower case without a full stop, and for `Unsupported` what to use instead.
///
/// # Errors
///
/// When there is no error or it keeps no promise.
pub fn fails<T: fmt::Debug>(result: Result<T, Error>, kinds: &[ErrorKind]) -> Outcome<Error> {
    let error = match result {
        Ok(value) => return Err(format!("succeeded with {}, should fail as {kinds:?}", short(&value)).into()),
        Err(error) => error,
    };
    check!(kinds.contains(&error.kind()), "failed with {error:?}, should fail as {kinds:?}");
    check!(error.failed_operation().is_some(), "the error does not name the operation: {error}");
    check!(error.failed_provider().is_some(), "the error does not name the provider: {error}");
    let reason = error.message();
    check!(!reason.trim().is_empty(), "the error gives no reason: {error}");
    check!(!reason.ends_with('.'), "the reason ends with a full stop: {reason}");
    check!(!reason.contains('\0'), "the reason holds a NUL byte: {reason:?}");
    if error.kind() == ErrorKind::Unsupported {
        check!(error.remedy().is_some_and(|remedy| !remedy.is_empty()), "names no alternative: {error}");
    }
    Ok(error)
}
