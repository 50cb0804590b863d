//! What is known about a sandbox on disk, so that another program can find it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use grainchain_core::types::id::random_id;
use grainchain_core::{Error, ErrorKind, Lease, Result, SandboxId, SandboxInfo, SandboxStatus};
use rustix::fs::{AtFlags, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::NAME;
use crate::layout::{Folder, missing};
use crate::lease;

pub(crate) const STATE_FILE: &str = "sandbox.json";
/// Far above what any state needs; commands can write the file too.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
const VERSION: u32 = 1;

impl Folder {
    /// Reads the state.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such sandbox, `Unexpected` when its state is garbage.
    pub(crate) fn read(&self, id: &SandboxId) -> Result<State> {
        let path = self.0.join(STATE_FILE);
        let broken = |reason: &dyn std::fmt::Display| broken(&path, reason);
        let text = match self.text() {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => return Err(missing(id)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_gone() => {
                return Err(missing(id));
            }
            Err(error) => return Err(broken(&error)),
        };
        let state: State = serde_json::from_slice(&text).map_err(|error| broken(&error))?;
        if state.version != VERSION {
            return Err(broken(&format_args!("version {} is not one this program knows", state.version)));
        }
        if state.id != *id {
            return Err(broken(&format_args!("it belongs to {}", state.id.as_str().escape_debug())));
        }
        if !matches!(state.status, SandboxStatus::Running | SandboxStatus::Paused | SandboxStatus::Stopped) {
            return Err(broken(&format_args!("no sandbox is {}", state.status)));
        }
        if !state
            .working_directory
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        {
            return Err(broken(&"its working directory leads out of the workspace"));
        }
        Ok(state)
    }

    fn text(&self) -> io::Result<Vec<u8>> {
        let file = self.open_file(STATE_FILE, OFlags::RDONLY)?;
        let mut text = Vec::new();
        file.take(MOST_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MOST_BYTES {
            return Err(io::Error::other(format!("it is larger than {MOST_BYTES} bytes")));
        }
        Ok(text)
    }

    /// Writes the state in one step.
    pub(crate) fn write(&self, state: &State) -> Result<()> {
        let path = self.0.join(STATE_FILE);
        let fail = |error| Error::io(format_args!("write {}", path.display()), error);
        let text = serde_json::to_vec_pretty(state).map_err(|error| Error::unexpected(error.to_string()))?;
        let folder = self.open().map_err(fail)?;
        let part = random_id(".state");
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let written = rustix::fs::openat(&folder, &part, flags, Mode::RUSR | Mode::WUSR)
            .map_err(io::Error::from)
            .and_then(|file| File::from(file).write_all(&text))
            .and_then(|()| Ok(rustix::fs::renameat(&folder, &part, &folder, STATE_FILE)?));
        if written.is_err() {
            // The error that matters is the one above.
            rustix::fs::unlinkat(&folder, &part, AtFlags::empty()).ok();
        }
        written.map_err(fail)
    }
}

fn broken(path: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unexpected, format!("the state in {} cannot be used: {reason}", path.display()))
        .hint("mend the file, or remove the sandbox")
}

/// What marks the processes of sandbox `id`. It follows from the id and is written nowhere: a state that a command has changed
/// cannot make us kill somebody else's processes, and those of a broken sandbox can still be found.
pub(crate) fn tag_of(id: &SandboxId) -> u32 {
    let hash = blake3::hash(id.as_str().as_bytes());
    hash.as_bytes()[..4].iter().fold(0, |tag, byte| tag << 8 | u32::from(*byte))
}

/// What is known about a sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) version: u32,
    pub(crate) id: SandboxId,
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
    /// The state of a sandbox that is about to be made.
    pub(crate) fn new(owner: String, key: String) -> Self {
        Self {
            version: VERSION,
            id: SandboxId::new(random_id("sb")),
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
        let mut start = folder.workspace();
        // Joining nothing would add a slash.
        start.extend(self.working_directory.iter());
        info.working_directory = Some(start.display().to_string());
        info.lease = Some(Lease::new(self.owner.clone(), lease::is_held(folder)));
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
