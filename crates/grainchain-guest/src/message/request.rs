//! What a client can ask for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::code::{WireCreateContext, WireRunCode};
use super::process::WireCommand;
use super::time::WireTime;

/// One request, which is one channel.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Input as data; answers with the output's bytes as data and its document.
    Execute(Box<WireCommand>),
    /// Input as data, up to its end mark; tells the handle, which lives as long as the client's half is open.
    Spawn(Box<WireCommand>),
    /// As spawn, for a process that was started before.
    Attach {
        id: String,
    },
    ListProcesses,
    /// Waits for what a process does after the first `seen` events, tells it, and answers whether that was all.
    Next {
        handle: u64,
        seen: u64,
    },
    /// The client has seen so many events, and nobody has to be told of them any more.
    Seen {
        handle: u64,
        seen: u64,
    },
    /// Data for a process's piped input.
    WriteInput {
        handle: u64,
    },
    CloseInput {
        handle: u64,
    },
    Signal {
        handle: u64,
        number: i32,
    },
    Kill {
        handle: u64,
    },
    Resize {
        handle: u64,
        columns: u16,
        rows: u16,
    },
    /// Tells the length, then the data, then answers.
    Read {
        path: String,
        offset: u64,
        length: Option<u64>,
    },
    /// Takes data until the client has finished.
    Write {
        path: String,
        mode: Option<u32>,
        parents: bool,
        length: Option<u64>,
    },
    Stat {
        path: String,
        follow: bool,
    },
    List {
        path: String,
        depth: u32,
    },
    MakeDir {
        path: String,
        parents: bool,
        mode: Option<u32>,
    },
    Remove {
        path: String,
        recursive: bool,
        missing_ok: bool,
    },
    Rename {
        from: String,
        to: String,
        replace: bool,
    },
    /// As read.
    Pack {
        path: String,
    },
    /// As write.
    Unpack {
        path: String,
    },
    /// Tells that it watches, then every change.
    Watch {
        path: String,
        recursive: bool,
    },
    /// Tells that it runs, then every event.
    RunCode(Box<WireRunCode>),
    CreateContext(WireCreateContext),
    ListContexts,
    RestartContext {
        id: String,
    },
    DeleteContext {
        id: String,
    },
    Metrics,
    /// Tells that every process stands still; they go on when the client has let go of its half.
    HoldStill,
    /// As read: a folder with everything that bringing it back takes, whoever owns what is in it.
    Keep {
        path: String,
    },
    /// As write: puts what was kept into a folder.
    BringBack {
        path: String,
    },
    /// Tells that it is connected to a port of the sandbox's own loopback interface, then carries data both ways.
    Connect {
        port: u16,
    },
    /// What the helper itself is asked.
    Control(Control),
}

/// What the helper itself is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Control {
    /// How the sandbox is: answers with [`SandboxState`].
    State,
    /// Lets it live for so long from now, or without limit.
    SetLifetime(Option<Duration>),
    /// Ends everything, and the helper itself. It answers first.
    Shutdown,
}

/// What the helper says in welcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The version of Grainchain that the helper was built from.
    pub version: String,
    /// The sandbox's name for itself, as its maker told the helper.
    pub sandbox: String,
    /// Where commands start.
    pub working_directory: String,
}

/// How the sandbox is, seen from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxState {
    /// Since when the helper runs.
    pub(crate) started_at: WireTime,
    /// When it will end by itself.
    pub(crate) expires_at: Option<WireTime>,
    /// How many clients are connected.
    pub(crate) clients: u32,
}

impl SandboxState {
    /// A sandbox that has run since `started_at` and ends at `expires_at`.
    pub fn new(
        started_at: std::time::SystemTime,
        expires_at: Option<std::time::SystemTime>,
        clients: u32,
    ) -> Self {
        Self { started_at: started_at.into(), expires_at: expires_at.map(Into::into), clients }
    }

    /// Since when the helper runs.
    pub fn started_at(&self) -> std::time::SystemTime {
        self.started_at.into()
    }

    /// When it will end by itself.
    pub fn expires_at(&self) -> Option<std::time::SystemTime> {
        self.expires_at.map(Into::into)
    }

    /// How many clients are connected.
    pub fn clients(&self) -> u32 {
        self.clients
    }
}
