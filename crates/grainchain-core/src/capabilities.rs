//! The one public answer to "can it?".

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::error::Error;
use crate::provider::Parts;
use crate::types::code::Language;
use crate::types::size::ByteSize;

macro_rules! capabilities {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $instead:literal;)+) => {
        /// Something that a sandbox or its provider can or cannot do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Capability {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Capability {
            /// Every capability, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name in tables and errors.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// What to use where it is absent.
            pub const fn alternative(self) -> &'static str {
                match self { $(Self::$name => $instead),+ }
            }
        }
    };
}

capabilities! {
    /// `execute` runs commands to their end.
    Exec = "execute", "choose a provider that runs commands";
    /// stdout and stderr arrive apart.
    SeparateOutput = "separate stdout and stderr", "redirect one of them to a file";
    /// A timeout kills everything the command started.
    TreeKill = "kill by tree", "close the sandbox to end what is left";
    /// A signal that ended a command is told apart from an exit code.
    ExitSignals = "exit signals", "take an exit code of 128 + n for a possible signal n, as shells have it";
    /// `spawn` and `list_processes`, with stdin and signals.
    Processes = "processes", "use execute with a timeout";
    /// A terminal for a process.
    Pty = "pty", "use spawn without a pty";
    /// `attach` to a running process.
    Attach = "attach", "keep the Process that spawn returned";
    /// Files one by one.
    Files = "files", "move data through execute's stdin and stdout";
    /// Trees as one stream.
    Archive = "archive", "upload the files one by one";
    /// Changes as they happen.
    Watch = "watch", "list the files and compare";
    /// Interpreters that keep their variables.
    Code = "code", "write the code to a file and execute its interpreter";
    /// Snapshots of the files.
    Snapshots = "snapshots", "download the directory and upload it again";
    /// Snapshots with memory.
    MemorySnapshots = "memory snapshots", "use a filesystem snapshot";
    /// `pause` and `resume`.
    Pause = "pause", "signal the processes to stop and to continue";
    /// `terminate` and `wake_up`.
    Terminate = "terminate", "take a snapshot and close";
    /// Copies of a living sandbox.
    Fork = "fork", "take a snapshot and restore it into new sandboxes";
    /// Ways in.
    Ports = "ports", "reach the program through spawn's stdin and stdout";
    /// Samples of use.
    Metrics = "metrics", "execute ps or read /proc";
    /// The lifetime can be changed while it lives.
    SetLifetime = "set lifetime", "choose the lifetime at create";
    /// Prepared machines can be listed and built.
    Templates = "templates", "use an image, or set up after create and take a snapshot";
    /// Snapshots can be listed across sandboxes.
    SnapshotCatalog = "snapshot catalog", "list the snapshots of each sandbox";
    /// Storage that outlives sandboxes.
    Volumes = "volumes", "download what shall be kept";
}

impl Capability {
    /// The error for using it where it is absent.
    pub fn unsupported(self) -> Error {
        Error::unsupported(self, self.alternative())
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The fine limits of a sandbox that the presence of a facet cannot tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Details {
    /// Capabilities within a facet: `SeparateOutput`, `TreeKill`, `ExitSignals`, `Pty`, `Attach`, `MemorySnapshots`,
    /// `Pause`, `Terminate`, `SetLifetime`.
    pub within: BTreeSet<Capability>,
    /// The languages that `run_code` knows here; whether the interpreter is installed shows at its first use.
    pub languages: Vec<Language>,
    /// Whether commands can run as another user.
    pub users: bool,
    /// The largest file that can be written; larger ones are refused before anything is sent, where their length is known.
    pub max_upload: Option<ByteSize>,
}

impl Details {
    /// Adds a capability within a facet.
    #[must_use]
    pub fn with(mut self, capability: Capability) -> Self {
        self.within.insert(capability);
        self
    }

    /// Sets the languages.
    #[must_use]
    pub fn languages(mut self, languages: impl IntoIterator<Item = Language>) -> Self {
        self.languages = languages.into_iter().collect();
        self
    }

    /// Sets the largest file that can be written.
    #[must_use]
    pub fn max_upload(mut self, limit: ByteSize) -> Self {
        self.max_upload = Some(limit);
        self
    }

    /// Lets commands run as another user.
    #[must_use]
    pub fn users(mut self) -> Self {
        self.users = true;
        self
    }
}

/// What works, after layers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// Everything that works.
    pub supported: BTreeSet<Capability>,
    /// The fine limits.
    pub details: Details,
}

impl Capabilities {
    /// These capabilities, and those within `details`.
    pub fn new(supported: impl IntoIterator<Item = Capability>, details: Details) -> Self {
        let mut supported: BTreeSet<_> = supported.into_iter().collect();
        supported.extend(&details.within);
        Self { supported, details }
    }

    /// What `parts` can do.
    pub fn of(parts: &Parts) -> Self {
        let facets = [
            (parts.processes.is_some(), Capability::Processes),
            (parts.files.is_some(), Capability::Files),
            (parts.archive.is_some(), Capability::Archive),
            (parts.watch.is_some(), Capability::Watch),
            (parts.code.is_some(), Capability::Code),
            (parts.snapshots.is_some(), Capability::Snapshots),
            (parts.fork.is_some(), Capability::Fork),
            (parts.ports.is_some(), Capability::Ports),
            (parts.metrics.is_some(), Capability::Metrics),
        ];
        let present = facets.into_iter().filter(|(present, _)| *present).map(|(_, capability)| capability);
        Self::new(present.chain([Capability::Exec]), parts.details.clone())
    }

    /// Whether `capability` works.
    pub fn supports(&self, capability: Capability) -> bool {
        self.supported.contains(&capability)
    }

    /// Nothing when `capability` works.
    ///
    /// # Errors
    ///
    /// `Unsupported`, naming what to use instead.
    pub fn require(&self, capability: Capability) -> Result<(), Error> {
        if self.supports(capability) { Ok(()) } else { Err(capability.unsupported()) }
    }
}
