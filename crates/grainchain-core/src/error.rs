//! The one error type: what failed, where, whether anything happened, and what to do.

use std::error::Error as StdError;
use std::fmt::{self, Write};
use std::time::Duration;

use crate::operation::Operation;
use crate::types::id::SandboxId;
use crate::types::output::Output;

/// Result with Grainchain's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the few classes a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration is wrong: file, environment, URI or an option's value.
    Config,
    /// Credentials are missing, wrong or not allowed to do this.
    Auth,
    /// The sandbox, file, process, snapshot or program does not exist.
    NotFound,
    /// The state does not allow it now: it exists already, is paused, or is in use.
    Conflict,
    /// The request itself is wrong: a path that leaves the workspace, a NUL byte, a bad range.
    BadRequest,
    /// Permission was denied by the system that holds the file or process.
    Denied,
    /// A resource ran out: disk, memory, processes, descriptors or a quota.
    Exhausted,
    /// The provider asked to come back later.
    RateLimited,
    /// A command's timeout or an operation's deadline passed.
    Timeout,
    /// The other side could not be reached or the connection broke.
    Connection,
    /// The other side failed.
    Server,
    /// This provider, or this sandbox, cannot do it.
    Unsupported,
    /// Anything else; worth a report.
    Unexpected,
}

impl ErrorKind {
    /// The kind's lower-case name, as printed and as used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Auth => "auth",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::BadRequest => "bad request",
            Self::Denied => "denied",
            Self::Exhausted => "exhausted",
            Self::RateLimited => "rate limited",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Unsupported => "unsupported",
            Self::Unexpected => "unexpected",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the failed request changed anything on the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Effect {
    /// Nothing was sent or done; trying again is safe.
    None,
    /// It may have been carried out; look before trying again.
    #[default]
    Possible,
    /// It was carried out; only its answer is missing or bad.
    Done,
}

/// Why an operation failed.
///
/// `{}` prints one line with the decisive reason and the remedy; `{:#}` adds the chain of sources.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    operation: Option<Operation>,
    provider: Option<String>,
    sandbox: Option<SandboxId>,
    option: Option<String>,
    effect: Effect,
    retryable: bool,
    retry_after: Option<Duration>,
    status: Option<u16>,
    request_id: Option<String>,
    output: Option<Box<Output>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` whose one-line `message` holds the decisive reason, lower case and without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let effect = match kind {
            ErrorKind::Config | ErrorKind::BadRequest | ErrorKind::Unsupported | ErrorKind::RateLimited => {
                Effect::None
            }
            _ => Effect::Possible,
        };
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            hint: None,
            operation: None,
            provider: None,
            sandbox: None,
            option: None,
            effect,
            retryable: matches!(kind, ErrorKind::RateLimited),
            retry_after: None,
            status: None,
            request_id: None,
            output: None,
            source: None,
        }))
    }

    /// `what` cannot be done here; `instead` says what can.
    pub fn unsupported(what: impl fmt::Display, instead: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, format!("not supported here: {what}")).hint(instead)
    }

    /// An input that cannot be used, named in `message`.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadRequest, message)
    }

    /// Something that does not exist, named in `message`.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// A configuration fault, named in `message`.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// A broken assumption of ours.
    pub fn unexpected(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unexpected, message)
    }

    /// An operating-system error met while doing `what`.
    pub fn io(what: impl fmt::Display, source: std::io::Error) -> Self {
        let kind = io_kind(&source);
        let mut error = Self::new(kind, format!("{what}: {}", plain(&source)));
        if kind == ErrorKind::Exhausted && source.kind() == std::io::ErrorKind::StorageFull {
            error = error.hint("free space on the disk that holds it");
        }
        error.caused_by(source)
    }

    /// Adds what the caller can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the error underneath.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(cause.into());
        self
    }

    /// Adds the operation, unless one closer to the fault is named already.
    #[must_use]
    pub fn operation(mut self, operation: Operation) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Adds the provider, unless known already.
    #[must_use]
    pub fn provider(mut self, provider: &str) -> Self {
        if self.0.provider.is_none() {
            self.0.provider = Some(provider.to_owned());
        }
        self
    }

    /// Adds the sandbox, unless known already.
    #[must_use]
    pub fn sandbox(mut self, sandbox: &SandboxId) -> Self {
        if self.0.sandbox.is_none() {
            self.0.sandbox = Some(sandbox.clone());
        }
        self
    }

    /// Names the option at fault.
    #[must_use]
    pub fn option(mut self, option: impl Into<String>) -> Self {
        self.0.option = Some(option.into());
        self
    }

    /// Says whether anything was changed on the other side.
    #[must_use]
    pub fn effect(mut self, effect: Effect) -> Self {
        self.0.effect = effect;
        self
    }

    /// Marks the error as worth a repetition, after `after` if the other side named a time.
    #[must_use]
    pub fn retryable(mut self, after: Option<Duration>) -> Self {
        self.0.retryable = true;
        self.0.retry_after = after;
        self
    }

    /// Adds the HTTP status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Adds the other side's name for the request.
    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = Some(id.into());
        self
    }

    /// Adds the output that a command had produced before it failed.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.0.output = Some(Box::new(output));
        self
    }

    /// What class of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The reason alone, without operation, sandbox and remedy.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it, when we know.
    pub fn remedy(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The operation that failed.
    pub fn failed_operation(&self) -> Option<Operation> {
        self.0.operation
    }

    /// The provider that it failed at.
    pub fn failed_provider(&self) -> Option<&str> {
        self.0.provider.as_deref()
    }

    /// The sandbox that it failed in.
    pub fn failed_sandbox(&self) -> Option<&SandboxId> {
        self.0.sandbox.as_ref()
    }

    /// The option at fault, spelt as in [`SandboxConfig`](crate::SandboxConfig) or the operation's options.
    pub fn failed_option(&self) -> Option<&str> {
        self.0.option.as_deref()
    }

    /// Whether the request changed anything.
    pub fn what_happened(&self) -> Effect {
        self.0.effect
    }

    /// Whether the same request may succeed later and is safe to repeat.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable && self.0.effect == Effect::None
    }

    /// When the other side asked to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The HTTP status, where there was one.
    pub fn http_status(&self) -> Option<u16> {
        self.0.status
    }

    /// The other side's name for the request, for a support ticket.
    pub fn failed_request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The output up to the failure, for a command that timed out or lost its connection.
    pub fn partial_output(&self) -> Option<&Output> {
        self.0.output.as_deref()
    }

    /// Takes the output up to the failure.
    pub fn into_partial_output(self) -> Option<Output> {
        self.0.output.map(|output| *output)
    }
}

fn io_kind(error: &std::io::Error) -> ErrorKind {
    use std::io::ErrorKind as Io;
    match error.kind() {
        Io::NotFound => ErrorKind::NotFound,
        Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
        Io::AlreadyExists | Io::DirectoryNotEmpty | Io::ResourceBusy | Io::ExecutableFileBusy => {
            ErrorKind::Conflict
        }
        Io::InvalidInput | Io::InvalidFilename | Io::IsADirectory | Io::NotADirectory => {
            ErrorKind::BadRequest
        }
        Io::StorageFull | Io::QuotaExceeded | Io::OutOfMemory | Io::FileTooLarge => ErrorKind::Exhausted,
        Io::TimedOut => ErrorKind::Timeout,
        Io::ConnectionRefused
        | Io::ConnectionReset
        | Io::ConnectionAborted
        | Io::BrokenPipe
        | Io::UnexpectedEof => ErrorKind::Connection,
        _ => match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::AGAIN | rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
                ErrorKind::Exhausted
            }
            Some(rustix::io::Errno::LOOP | rustix::io::Errno::XDEV) => ErrorKind::BadRequest,
            _ => ErrorKind::Unexpected,
        },
    }
}

/// The system's words without Rust's "(os error 2)", in lower case.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => "unknown error".to_owned(),
    }
}

/// Passes text on as one line: a file that a stranger named must not look like a second message or steer a terminal.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            match part.char_indices().next_back() {
                Some((start, last)) if last.is_control() => {
                    self.0.write_str(&part[..start])?;
                    write!(self.0, "{}", last.escape_debug())?;
                }
                _ => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// `text` as one line, whatever names are in it.
pub(crate) fn one_line(text: impl fmt::Display) -> String {
    let mut line = OneLine(String::new());
    write!(line, "{text}").expect("a string takes everything");
    line.0
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = f.alternate();
        let mut f = OneLine(f);
        let inner = &*self.0;
        if let Some(operation) = inner.operation {
            write!(f, "{operation}")?;
            if let Some(sandbox) = &inner.sandbox {
                write!(f, " in {sandbox}")?;
            }
            if let Some(provider) = &inner.provider {
                write!(f, " at {provider}")?;
            }
            f.write_str(": ")?;
        } else if let Some(provider) = &inner.provider {
            write!(f, "{provider}: ")?;
        }
        if let Some(option) = &inner.option {
            write!(f, "option `{option}`: ")?;
        }
        f.write_str(&inner.message)?;
        if let Some(status) = inner.status {
            write!(f, " (status {status})")?;
        }
        if let Some(hint) = &inner.hint {
            write!(f, "; {hint}")?;
        }
        if chain {
            let mut source = inner.source.as_ref().map(|source| &**source as &dyn StdError);
            let mut said = inner.message.clone();
            while let Some(error) = source {
                let text = error.to_string();
                // What wraps another error often repeats its words.
                if !said.contains(&text) {
                    write!(f, ": {text}")?;
                    said = text;
                }
                source = error.source();
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self:#}", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_names_operation_sandbox_provider_option_reason_and_remedy() {
        let error = Error::new(ErrorKind::BadRequest, "memory of 1KiB is below the minimum of 6MiB")
            .hint("ask for 6MiB or more")
            .option("memory_limit")
            .provider("docker")
            .sandbox(&SandboxId::new("sb_1"))
            .operation(Operation::Create);
        assert_eq!(
            error.to_string(),
            "create in sb_1 at docker: option `memory_limit`: memory of 1KiB is below the minimum of 6MiB; ask for 6MiB or more"
        );
    }

    #[test]
    fn a_name_with_newlines_and_terminal_codes_stays_on_the_line_as_text() {
        let error = Error::not_found("open a\nerror: b\u{1b}[2J").caused_by("c\rd");
        assert_eq!(error.to_string(), "open a\\nerror: b\\u{1b}[2J");
        assert_eq!(format!("{error:#}"), "open a\\nerror: b\\u{1b}[2J: c\\rd");
    }

    #[test]
    fn the_alternate_form_prints_the_chain() {
        let error = Error::io("open state", std::io::Error::from_raw_os_error(13));
        assert_eq!(error.to_string(), "open state: permission denied");
        assert!(format!("{error:#}").contains("os error 13"));
        assert_eq!(error.kind(), ErrorKind::Denied);
    }

    #[test]
    fn a_request_that_may_have_been_carried_out_is_never_retryable() {
        let error = Error::new(ErrorKind::Connection, "reset").retryable(None);
        assert!(!error.is_retryable());
        assert!(error.effect(Effect::None).is_retryable());
    }

    #[test]
    fn a_full_disk_is_exhausted_and_says_what_to_do() {
        let error = Error::io("write /data", std::io::Error::from_raw_os_error(28));
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert!(error.remedy().is_some());
    }
}
