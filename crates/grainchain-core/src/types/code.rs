//! Code run in an interpreter that keeps its variables.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::Stream;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::types::id::ContextId;
use crate::types::output::Capture;
use crate::types::secret::Names;

/// A language that code can be written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Language {
    /// Python 3.
    #[default]
    Python,
    /// JavaScript, by Node.js.
    JavaScript,
    /// bash.
    Bash,
}

impl Language {
    /// Every language we know.
    pub const ALL: [Self; 3] = [Self::Python, Self::JavaScript, Self::Bash];

    /// The lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::Bash => "bash",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Language {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "python" | "python3" | "py" => Ok(Self::Python),
            "javascript" | "js" | "node" => Ok(Self::JavaScript),
            "bash" | "sh" => Ok(Self::Bash),
            _ => Err(Error::bad_request(format!("there is no language `{text}`"))
                .hint("use python, javascript or bash")),
        }
    }
}

/// Code to run.
#[derive(Clone)]
#[non_exhaustive]
pub struct RunCode {
    /// The source text.
    pub code: String,
    /// The language; Python by default. With a context it must be the context's own, or be left out.
    pub language: Option<Language>,
    /// The context; the sandbox's default context of the language when none is given, started on first use.
    pub context: Option<ContextId>,
    /// When it is interrupted, and killed with its context if it has not stopped about a second later, which nobody waits for;
    /// the sandbox's default (300 s).
    pub timeout: Option<Duration>,
}

impl fmt::Debug for RunCode {
    // Code carries tokens and data as command lines do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunCode")
            .field("code", &format_args!("{} bytes", self.code.len()))
            .field("language", &self.language)
            .field("context", &self.context)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl RunCode {
    /// Python code for the default context.
    pub fn new(code: impl Into<String>) -> Self {
        Self { code: code.into(), language: None, context: None, timeout: None }
    }

    /// In `language`.
    #[must_use]
    pub fn language(mut self, language: Language) -> Self {
        self.language = Some(language);
        self
    }

    /// In `context`.
    #[must_use]
    pub fn context(mut self, context: &ContextId) -> Self {
        self.context = Some(context.clone());
        self
    }

    /// Interrupts after `timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl From<&str> for RunCode {
    fn from(code: &str) -> Self {
        Self::new(code)
    }
}

impl From<String> for RunCode {
    fn from(code: String) -> Self {
        Self::new(code)
    }
}

/// One value in several forms, by MIME type: `text/plain`, `text/html`, `image/png` (base64), `application/json` …
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MimeBundle(pub BTreeMap<String, String>);

impl MimeBundle {
    /// The form of `mime`.
    pub fn get(&self, mime: &str) -> Option<&str> {
        self.0.get(mime).map(String::as_str)
    }

    /// The plain text.
    pub fn text(&self) -> Option<&str> {
        self.get("text/plain")
    }
}

/// An exception that the code raised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CodeError {
    /// Its class, such as `ValueError`.
    pub name: String,
    /// Its message.
    pub value: String,
    /// The frames of the user's code, a line each.
    pub traceback: Vec<String>,
}

impl CodeError {
    /// An exception `name` with the message `value`.
    pub fn new(name: impl Into<String>, value: impl Into<String>, traceback: Vec<String>) -> Self {
        Self { name: name.into(), value: value.into(), traceback }
    }
}

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value)
    }
}

/// What running code did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodeEvent {
    /// It wrote to stdout.
    Stdout(Bytes),
    /// It wrote to stderr.
    Stderr(Bytes),
    /// It displayed a value.
    Display(MimeBundle),
    /// The value of its last expression.
    Value(MimeBundle),
    /// It raised an exception.
    Raised(CodeError),
    /// It is over: the last event. `count` numbers the runs of the context from 1.
    Done {
        /// The number of this run in its context.
        count: u64,
    },
}

/// The events of one run. Dropping the stream interrupts the code.
pub type CodeStream = Pin<Box<dyn Stream<Item = Result<CodeEvent>> + Send>>;

/// The result of code that ran, whether it raised or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CodeResult {
    /// What it wrote to stdout.
    pub stdout: Capture,
    /// What it wrote to stderr.
    pub stderr: Capture,
    /// The value of its last expression; none when that is `None`, `undefined` or no expression.
    pub value: Option<MimeBundle>,
    /// What it displayed, in order.
    pub displays: Vec<MimeBundle>,
    /// The exception that it raised.
    pub error: Option<CodeError>,
    /// The number of this run in its context, from 1.
    pub count: u64,
    /// How long it took.
    pub execution_time: Duration,
}

impl CodeResult {
    /// Whether it raised nothing.
    pub const fn success(&self) -> bool {
        self.error.is_none()
    }

    /// The plain text of the last expression's value.
    pub fn text(&self) -> Option<&str> {
        self.value.as_ref().and_then(MimeBundle::text)
    }
}

impl Serialize for CodeResult {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form<'a> {
            success: bool,
            stdout: std::borrow::Cow<'a, str>,
            stderr: std::borrow::Cow<'a, str>,
            value: &'a Option<MimeBundle>,
            displays: &'a [MimeBundle],
            error: &'a Option<CodeError>,
            count: u64,
            execution_time: f64,
        }
        Form {
            success: self.success(),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
            value: &self.value,
            displays: &self.displays,
            error: &self.error,
            count: self.count,
            execution_time: self.execution_time.as_secs_f64(),
        }
        .serialize(serializer)
    }
}

/// Asks for an interpreter.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct CreateContext {
    /// The language.
    pub language: Language,
    /// Where it starts; the sandbox's working directory by default.
    pub working_directory: Option<String>,
    /// Variables on top of the sandbox's own.
    pub environment: BTreeMap<String, String>,
}

impl fmt::Debug for CreateContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateContext")
            .field("language", &self.language)
            .field("working_directory", &self.working_directory)
            .field("environment", &Names(self.environment.keys()))
            .finish()
    }
}

impl CreateContext {
    /// An interpreter of `language`.
    pub fn new(language: Language) -> Self {
        Self { language, ..Self::default() }
    }

    /// Sets where it starts.
    #[must_use]
    pub fn working_directory(mut self, path: impl Into<String>) -> Self {
        self.working_directory = Some(path.into());
        self
    }

    /// Sets one variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }
}

/// An interpreter as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ContextInfo {
    /// Its name within the sandbox.
    pub id: ContextId,
    /// Its language.
    pub language: Language,
    /// Where it was started.
    pub working_directory: String,
    /// How many runs it has seen.
    pub count: u64,
    /// When it was started.
    #[serde(serialize_with = "super::timestamp::serialize")]
    pub created_at: SystemTime,
}

impl ContextInfo {
    /// An interpreter `id` of `language`.
    pub fn new(
        id: ContextId,
        language: Language,
        working_directory: impl Into<String>,
        created_at: SystemTime,
    ) -> Self {
        Self { id, language, working_directory: working_directory.into(), count: 0, created_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_code_nor_the_value_of_a_variable_is_printed_by_debug() {
        let run = RunCode::new("login('hunter2')");
        let context = CreateContext::new(Language::Python).env("TOKEN", "hunter2");
        let shown = format!("{run:?} {context:?}");
        assert!(!shown.contains("hunter2") && shown.contains("TOKEN"), "{shown}");
    }
}
