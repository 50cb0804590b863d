//! What is known about a sandbox on disk, so that another program can find it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use grainchain_core::types::id::random_id;
use grainchain_core::{Error, ErrorKind, Lease, Result, SandboxId, SandboxInfo, SandboxStatus};
use serde::{Deserialize, Serialize};

use crate::NAME;
use crate::lease;

const STATE_FILE: &str = "sandbox.json";
const VERSION: u32 = 1;

/// Where things are below the root of all sandboxes.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.root.join("sandboxes")
    }

    /// Where a sandbox is built up or torn down, so that `sandboxes` never holds half of one.
    pub(crate) fn limbo(&self) -> PathBuf {
        self.root.join("limbo")
    }

    /// The folder of one sandbox.
    ///
    /// # Errors
    ///
    /// `NotFound` for an id that no sandbox can have; a path in disguise never gets further than this.
    pub(crate) fn folder(&self, id: &SandboxId) -> Result<Folder> {
        let mut components = Path::new(id.as_str()).components();
        match (components.next(), components.next()) {
            (Some(Component::Normal(name)), None) if name == id.as_str() => {
                Ok(Folder(self.sandboxes().join(name)))
            }
            _ => Err(missing(id)),
        }
    }
}

/// The error for a sandbox that is not there.
pub(crate) fn missing(id: &SandboxId) -> Error {
    Error::not_found(format!("there is no sandbox `{}`", id.as_str().escape_debug()))
        .hint("list the sandboxes to see which there are")
}

/// The folder of one sandbox.
#[derive(Clone, Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn workspace(&self) -> PathBuf {
        self.0.join("workspace")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.0.join("tmp")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.0.join("snapshots")
    }

    pub(crate) fn lease(&self) -> PathBuf {
        self.0.join("lease")
    }

    /// Reads the state.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such sandbox, `Unexpected` when its state is garbage.
    pub(crate) fn read(&self, id: &SandboxId) -> Result<State> {
        let path = self.0.join(STATE_FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.0.exists() => {
                return Err(missing(id));
            }
            Err(error) => return Err(broken(&path, error)),
        };
        let state: State = serde_json::from_slice(&text).map_err(|error| broken(&path, error))?;
        if state.version != VERSION {
            return Err(broken(
                &path,
                format_args!("version {} is not one this program knows", state.version),
            ));
        }
        if state.id != *id {
            return Err(broken(&path, format_args!("it belongs to {}", state.id)));
        }
        Ok(state)
    }

    /// Writes the state in one step.
    pub(crate) fn write(&self, state: &State) -> Result<()> {
        let path = self.0.join(STATE_FILE);
        let part = self.0.join(random_id(".state"));
        let fail = |error| Error::io(format_args!("write {}", path.display()), error);
        let text = serde_json::to_vec_pretty(state).map_err(|error| Error::unexpected(error.to_string()))?;
        let written = File::options()
            .write(true)
            .create_new(true)
            .open(&part)
            .and_then(|mut file| file.write_all(&text))
            .and_then(|()| fs::rename(&part, &path));
        if written.is_err() {
            // The error that matters is the one above.
            fs::remove_file(&part).ok();
        }
        written.map_err(fail)
    }
}

fn broken(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unexpected, format!("the state in {} cannot be used: {reason}", path.display()))
        .hint("mend the file, or remove the sandbox")
}

/// What is known about a sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) version: u32,
    pub(crate) id: SandboxId,
    /// What marks its processes.
    pub(crate) tag: u32,
    pub(crate) status: SandboxStatus,
    /// Milliseconds since 1970, as all times here.
    pub(crate) created_ms: u64,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) owner: String,
    pub(crate) key: String,
    /// Whether it outlives its clients.
    pub(crate) keep: bool,
    pub(crate) working_directory: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// The snapshot that the workspace descends from.
    pub(crate) head: Option<String>,
}

impl State {
    pub(crate) fn new(id: SandboxId, tag: u32, owner: String, key: String) -> Self {
        Self {
            version: VERSION,
            id,
            tag,
            status: SandboxStatus::Running,
            created_ms: to_ms(SystemTime::now()),
            expires_ms: None,
            owner,
            key,
            keep: false,
            working_directory: PathBuf::new(),
            environment: BTreeMap::new(),
            metadata: BTreeMap::new(),
            head: None,
        }
    }

    pub(crate) fn expires_at(&self) -> Option<SystemTime> {
        self.expires_ms.map(from_ms)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.expires_at().is_some_and(|at| at <= SystemTime::now())
    }

    /// Lets it end `lifetime` from now.
    pub(crate) fn live_for(&mut self, lifetime: Option<Duration>) {
        self.expires_ms = lifetime.and_then(|lifetime| SystemTime::now().checked_add(lifetime)).map(to_ms);
    }

    pub(crate) fn info(&self, folder: &Folder) -> SandboxInfo {
        let mut info = SandboxInfo::new(self.id.clone(), NAME, self.status);
        info.created_at = Some(from_ms(self.created_ms));
        info.expires_at = self.expires_at();
        info.working_directory = Some(folder.workspace().join(&self.working_directory).display().to_string());
        info.lease = Some(Lease::new(self.owner.clone(), lease::is_held(&folder.lease())));
        info.keep_alive = self.keep;
        info.key = Some(self.key.clone());
        info.metadata.clone_from(&self.metadata);
        info
    }
}

/// A sandbox whose state cannot be used, as a list shows it.
pub(crate) fn broken_info(id: SandboxId, error: &Error) -> SandboxInfo {
    let mut info = SandboxInfo::new(id, NAME, SandboxStatus::Error);
    info.reason = Some(error.message().to_owned());
    info
}

fn to_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn from_ms(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap_or(UNIX_EPOCH)
}
