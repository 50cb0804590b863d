//! The operations, by the names that errors, spans and limits use.

use std::fmt;

macro_rules! operations {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $class:ident;)+) => {
        /// One thing a client or a sandbox can be asked to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Operation {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Operation {
            /// Every operation, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name in errors and spans.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// How long it may take and whether it may be repeated.
            pub const fn class(self) -> OperationClass {
                match self { $(Self::$name => OperationClass::$class),+ }
            }
        }
    };
}

/// What kind of work an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperationClass {
    /// Looks, changes nothing: may be repeated.
    Query,
    /// Changes something, and doing it twice is the same as once.
    Idempotent,
    /// Changes something; never repeated once it may have been sent.
    Change,
    /// Brings up or replaces a machine.
    Provision,
    /// Runs the user's program: bounded by the command's own timeout.
    Run,
    /// Moves data: bounded by progress.
    Transfer,
    /// Ends something; never held up by limits.
    End,
}

operations! {
    /// Makes a sandbox.
    Create = "create", Provision;
    /// Finds a sandbox by id.
    Connect = "connect", Query;
    /// Lists sandboxes.
    List = "list", Query;
    /// Removes a sandbox without connecting.
    RemoveSandbox = "remove sandbox", End;
    /// Removes what interrupted operations left.
    Sweep = "sweep", End;
    /// Asks the provider whether it can work.
    Check = "check", Query;
    /// Status, times, image and limits.
    Info = "info", Query;
    /// Changes when the sandbox ends.
    SetLifetime = "set lifetime", Idempotent;
    /// Ends the sandbox.
    Close = "close", End;
    /// Runs a command to its end.
    Execute = "execute", Run;
    /// Starts a command.
    Spawn = "spawn", Run;
    /// Follows a running process.
    Attach = "attach", Query;
    /// Lists processes.
    ListProcesses = "list processes", Query;
    /// Writes to a process's stdin.
    WriteStdin = "write stdin", Run;
    /// Closes a process's stdin.
    CloseStdin = "close stdin", Change;
    /// Sends a signal to a process.
    SignalProcess = "signal process", Change;
    /// Kills a process and what it started.
    KillProcess = "kill process", End;
    /// Changes the size of a process's terminal.
    ResizeTerminal = "resize terminal", Idempotent;
    /// Reads a file.
    ReadFile = "read file", Transfer;
    /// Writes a file.
    WriteFile = "write file", Transfer;
    /// Describes a file.
    Stat = "stat", Query;
    /// Lists a directory.
    ListFiles = "list files", Query;
    /// Makes a directory.
    MakeDir = "make directory", Change;
    /// Removes a file or a tree.
    Remove = "remove", Change;
    /// Renames.
    Rename = "rename", Change;
    /// Reads a tree as one archive.
    Pack = "download directory", Transfer;
    /// Writes a tree from one archive.
    Unpack = "upload directory", Transfer;
    /// Watches for changes.
    Watch = "watch", Query;
    /// Runs code in an interpreter.
    RunCode = "run code", Run;
    /// Starts an interpreter.
    CreateContext = "create context", Change;
    /// Lists interpreters.
    ListContexts = "list contexts", Query;
    /// Restarts an interpreter.
    RestartContext = "restart context", Idempotent;
    /// Ends an interpreter.
    DeleteContext = "delete context", Change;
    /// Takes a snapshot.
    CreateSnapshot = "create snapshot", Provision;
    /// Goes back to a snapshot.
    RestoreSnapshot = "restore snapshot", Provision;
    /// Lists snapshots.
    ListSnapshots = "list snapshots", Query;
    /// Deletes a snapshot.
    DeleteSnapshot = "delete snapshot", Change;
    /// Freezes.
    Pause = "pause", Provision;
    /// Thaws.
    Resume = "resume", Provision;
    /// Gives up the compute, keeps the state.
    Terminate = "terminate", Provision;
    /// Gets compute again.
    WakeUp = "wake up", Provision;
    /// Makes copies.
    Fork = "fork", Provision;
    /// Opens a way to a port.
    PreviewUrl = "preview url", Idempotent;
    /// Closes the way to a port.
    ClosePort = "close port", Idempotent;
    /// One sample of use.
    Metrics = "metrics", Query;
    /// Lists templates.
    ListTemplates = "list templates", Query;
    /// Builds a template.
    BuildTemplate = "build template", Provision;
    /// Deletes a template.
    DeleteTemplate = "delete template", Change;
    /// Lists volumes.
    ListVolumes = "list volumes", Query;
    /// Makes a volume.
    CreateVolume = "create volume", Change;
    /// Deletes a volume.
    DeleteVolume = "delete volume", Change;
}

impl Operation {
    /// Whether a repetition has no further effect.
    pub const fn is_idempotent(self) -> bool {
        matches!(self.class(), OperationClass::Query | OperationClass::Idempotent | OperationClass::End)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
