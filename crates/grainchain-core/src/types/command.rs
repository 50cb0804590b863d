//! What to run and how.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::types::content::Content;
use crate::types::secret::Names;
use crate::types::size::ByteSize;

/// What is started.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Program {
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments, passed on exactly as they are. The program is looked up in the command's `PATH`.
    Argv(Vec<String>),
}

impl std::fmt::Debug for Program {
    // Command lines carry tokens and data; logs get the form alone.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shell(line) => write!(f, "Shell({} bytes)", line.len()),
            Self::Argv(argv) => write!(f, "Argv({} arguments)", argv.len()),
        }
    }
}

/// Columns and rows of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PtySize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

impl Default for PtySize {
    /// 80 × 24.
    fn default() -> Self {
        Self { columns: 80, rows: 24 }
    }
}

/// Where a command's standard input comes from.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Stdin {
    /// Nothing: reads see the end at once.
    #[default]
    Null,
    /// This content, then the end.
    Content(Content),
    /// What is written to the [`Process`](crate::Process), until its stdin is closed. For `spawn` only.
    Piped,
}

/// A command to run: program, surroundings and limits.
///
/// Made from a line for the shell (`"ls -l | wc"`) or from a list (`["ls", "-l"]`) that no shell touches.
#[non_exhaustive]
pub struct Command {
    /// What is started.
    pub program: Program,
    /// Variables on top of the sandbox's own; they win.
    pub environment: BTreeMap<String, String>,
    /// Where it starts; the sandbox's working directory by default, and relative to it.
    pub working_directory: Option<String>,
    /// Standard input; nothing by default.
    pub stdin: Stdin,
    /// When the whole process tree is killed. `execute` takes the sandbox's default (300 s) when none is given; `spawn` has no
    /// timeout unless one is given.
    pub timeout: Option<Duration>,
    /// How much of each stream `execute` keeps, half of it from the beginning and half from the end; 10 MiB by default.
    pub output_limit: ByteSize,
    /// As whom it runs, by name or number; the sandbox's user by default.
    pub user: Option<String>,
    /// A terminal of this size instead of pipes: stderr then arrives as stdout, as on any terminal.
    pub pty: Option<PtySize>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program)
            .field("environment", &Names(self.environment.keys()))
            .field("working_directory", &self.working_directory)
            .field("stdin", &self.stdin)
            .field("timeout", &self.timeout)
            .field("output_limit", &self.output_limit)
            .field("user", &self.user)
            .field("pty", &self.pty)
            .finish()
    }
}

/// The default of [`Command::output_limit`]: 10 MiB per stream.
pub const DEFAULT_OUTPUT_LIMIT: ByteSize = ByteSize::mib(10);

impl Command {
    /// A line for `/bin/sh -c`.
    pub fn shell(line: impl Into<String>) -> Self {
        Self::of(Program::Shell(line.into()))
    }

    /// A program and its arguments, untouched by any shell.
    pub fn argv(argv: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::of(Program::Argv(argv.into_iter().map(Into::into).collect()))
    }

    const fn of(program: Program) -> Self {
        Self {
            program,
            environment: BTreeMap::new(),
            working_directory: None,
            stdin: Stdin::Null,
            timeout: None,
            output_limit: DEFAULT_OUTPUT_LIMIT,
            user: None,
            pty: None,
        }
    }

    /// Sets one variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Sets several variables.
    #[must_use]
    pub fn envs(
        mut self,
        variables: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        self.environment.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Sets where it starts.
    #[must_use]
    pub fn working_directory(mut self, path: impl Into<String>) -> Self {
        self.working_directory = Some(path.into());
        self
    }

    /// Gives it input, then the end.
    #[must_use]
    pub fn stdin(mut self, content: impl Into<Content>) -> Self {
        self.stdin = Stdin::Content(content.into());
        self
    }

    /// Keeps stdin open for writes to the process.
    #[must_use]
    pub fn piped_stdin(mut self) -> Self {
        self.stdin = Stdin::Piped;
        self
    }

    /// Kills the whole tree after `timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Keeps at most `limit` of each stream.
    #[must_use]
    pub fn output_limit(mut self, limit: ByteSize) -> Self {
        self.output_limit = limit;
        self
    }

    /// Runs as `user`.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Runs on a terminal of `size`.
    #[must_use]
    pub fn pty(mut self, size: PtySize) -> Self {
        self.pty = Some(size);
        self
    }

    /// Refuses what no system could run: no program, NUL bytes, variable names with `=`.
    ///
    /// # Errors
    ///
    /// `BadRequest` naming the part.
    pub fn validate(&self) -> Result<()> {
        let parts: &[String] = match &self.program {
            Program::Shell(line) => std::slice::from_ref(line),
            Program::Argv(argv) => argv,
        };
        if parts.first().is_none_or(String::is_empty) {
            return Err(Error::bad_request("the command is empty").hint("name a program or a shell line"));
        }
        if let Some(index) = parts.iter().position(|part| part.contains('\0')) {
            return Err(Error::bad_request(format!("argument {index} of the command holds a NUL byte"))
                .hint("pass binary data through stdin or a file"));
        }
        validate_environment(&self.environment)?;
        for (option, text) in [("working_directory", &self.working_directory), ("user", &self.user)] {
            if text.as_ref().is_some_and(|text| text.contains('\0') || text.is_empty()) {
                return Err(Error::bad_request("the value is empty or holds a NUL byte")
                    .hint("name one, or leave the option out")
                    .option(option));
            }
        }
        if self.pty.is_some_and(|size| size.columns == 0 || size.rows == 0) {
            return Err(Error::bad_request("a terminal has at least one column and one row")
                .hint("ask for 80 columns and 24 rows if in doubt")
                .option("pty"));
        }
        Ok(())
    }

    /// The same command again, unless its input is a stream that can be read only once.
    pub fn try_clone(&self) -> Option<Self> {
        let stdin = match &self.stdin {
            Stdin::Null => Stdin::Null,
            Stdin::Piped => Stdin::Piped,
            Stdin::Content(content) => Stdin::Content(content.try_clone()?),
        };
        Some(Self {
            program: self.program.clone(),
            environment: self.environment.clone(),
            working_directory: self.working_directory.clone(),
            stdin,
            timeout: self.timeout,
            output_limit: self.output_limit,
            user: self.user.clone(),
            pty: self.pty,
        })
    }
}

/// The one variable that belongs to sandboxes themselves: those that run commands on a kernel of ours set it.
pub const RESERVED_VARIABLE: &str = "GRAINCHAIN_COMMAND";

/// Refuses names that no environment can hold, and the one that is ours.
///
/// # Errors
///
/// `BadRequest` naming the variable, never its value.
pub fn validate_environment(variables: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in variables {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Error::bad_request(format!("`{}` cannot be a variable's name", name.escape_debug()))
                .hint("a name is not empty and holds neither `=` nor NUL")
                .option("environment"));
        }
        if name == RESERVED_VARIABLE {
            return Err(Error::bad_request(format!(
                "`{name}` is how a sandbox recognises its own processes"
            ))
            .hint("use another name")
            .option("environment"));
        }
        if value.contains('\0') {
            return Err(Error::bad_request(format!("the value of variable `{name}` holds a NUL byte"))
                .hint("pass binary data through stdin or a file")
                .option("environment"));
        }
    }
    Ok(())
}

impl From<&str> for Command {
    fn from(line: &str) -> Self {
        Self::shell(line)
    }
}

impl From<String> for Command {
    fn from(line: String) -> Self {
        Self::shell(line)
    }
}

impl From<&String> for Command {
    fn from(line: &String) -> Self {
        Self::shell(line.as_str())
    }
}

impl<S: Into<String>, const N: usize> From<[S; N]> for Command {
    fn from(argv: [S; N]) -> Self {
        Self::argv(argv)
    }
}

impl<S: Into<String>> From<Vec<S>> for Command {
    fn from(argv: Vec<S>) -> Self {
        Self::argv(argv)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_commands_are_refused_by_name() {
        assert!(Command::argv(Vec::<String>::new()).validate().is_err());
        assert!(Command::shell("").validate().is_err());
        assert!(Command::argv(["a", "b\0c"]).validate().unwrap_err().message().contains("argument 1"));
        assert!(Command::shell("x").env("A=B", "c").validate().is_err());
        assert!(Command::shell("x").env(RESERVED_VARIABLE, "c").validate().is_err());
        let error = Command::shell("x").env("TOKEN", "secret\0").validate().unwrap_err();
        assert!(error.to_string().contains("TOKEN") && !error.to_string().contains("secret"));
        assert!(Command::shell("x").working_directory("").validate().is_err());
    }

    #[test]
    fn neither_a_command_line_nor_the_value_of_a_variable_is_printed_by_debug() {
        let shown = format!("{:?}", Command::shell("curl -H token=abc123").env("TOKEN", "abc123"));
        assert!(!shown.contains("abc123") && shown.contains("TOKEN"), "{shown}");
    }
}
