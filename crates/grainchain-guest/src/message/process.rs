//! Commands and processes.

use std::collections::BTreeMap;
use std::time::Duration;

use grainchain_core::{
    ByteSize, Command, OutputStream, ProcessInfo, ProcessState, Program, PtySize, Result, Stdin,
};
use serde::{Deserialize, Serialize};

use super::output::WireStatus;
use super::time::WireTime;

/// A command without its input.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireCommand {
    program: WireProgram,
    environment: BTreeMap<String, String>,
    working_directory: Option<String>,
    pub(crate) stdin: WireStdin,
    timeout: Option<Duration>,
    output_limit: u64,
    user: Option<String>,
    pty: Option<(u16, u16)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireProgram {
    Shell(String),
    Argv(Vec<String>),
}

/// Where a command's input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WireStdin {
    Null,
    /// As data in the request's channel, until that is finished.
    Content {
        length: Option<u64>,
    },
    /// As requests of its own.
    Piped,
}

impl WireCommand {
    /// The command, and its input apart.
    pub(crate) fn new(command: Command) -> (Self, Stdin) {
        let stdin = match &command.stdin {
            Stdin::Content(content) => WireStdin::Content { length: content.len() },
            Stdin::Piped => WireStdin::Piped,
            _ => WireStdin::Null,
        };
        let wire = Self {
            program: match command.program {
                Program::Shell(line) => WireProgram::Shell(line),
                Program::Argv(argv) => WireProgram::Argv(argv),
                _ => WireProgram::Argv(Vec::new()),
            },
            environment: command.environment,
            working_directory: command.working_directory,
            stdin,
            timeout: command.timeout,
            output_limit: command.output_limit.as_u64(),
            user: command.user,
            pty: command.pty.map(|size| (size.columns, size.rows)),
        };
        (wire, command.stdin)
    }

    /// The command again, with this input.
    pub(crate) fn into_command(self, stdin: Stdin) -> Command {
        let mut command = match self.program {
            WireProgram::Shell(line) => Command::shell(line),
            WireProgram::Argv(argv) => Command::argv(argv),
        };
        command.environment = self.environment;
        command.working_directory = self.working_directory;
        command.stdin = stdin;
        command.timeout = self.timeout;
        command.output_limit = ByteSize::bytes(self.output_limit);
        command.user = self.user;
        command.pty = self.pty.map(|(columns, rows)| PtySize { columns, rows });
        command
    }
}

/// A process runs (or ran), and can be spoken to as `handle`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireStarted {
    pub(crate) id: String,
    pub(crate) handle: u64,
}

/// What happened to a process, output aside.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WireProcessEvent {
    Dropped { stderr: bool, bytes: u64 },
    Exited(WireStatus),
}

pub(crate) fn stream(stderr: bool) -> OutputStream {
    if stderr { OutputStream::Stderr } else { OutputStream::Stdout }
}

/// A process in a list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireProcess {
    id: String,
    pid: Option<u32>,
    command: String,
    state: WireState,
    started_at: WireTime,
    pty: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireState {
    Running,
    Stopped,
    Exited(WireStatus),
}

impl From<ProcessInfo> for WireProcess {
    fn from(info: ProcessInfo) -> Self {
        Self {
            id: info.id.as_str().to_owned(),
            pid: info.pid,
            command: info.command,
            state: match info.state {
                ProcessState::Stopped => WireState::Stopped,
                ProcessState::Exited(status) => WireState::Exited(status.into()),
                _ => WireState::Running,
            },
            started_at: info.started_at.into(),
            pty: info.pty,
        }
    }
}

impl TryFrom<WireProcess> for ProcessInfo {
    type Error = grainchain_core::Error;

    fn try_from(wire: WireProcess) -> Result<Self> {
        let state = match wire.state {
            WireState::Running => ProcessState::Running,
            WireState::Stopped => ProcessState::Stopped,
            WireState::Exited(status) => ProcessState::Exited(status.try_into()?),
        };
        let mut info = Self::new(wire.id.into(), wire.command, state, wire.started_at.into());
        info.pid = wire.pid;
        info.pty = wire.pty;
        Ok(info)
    }
}
