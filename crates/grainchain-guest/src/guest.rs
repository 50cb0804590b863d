//! One sandbox's inside: its root, its surroundings and everything that runs in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grainchain_core::tree::Root;
use grainchain_core::{Error, ErrorKind, Result};

use crate::sys::tag::SandboxTag;

/// What a guest is told about its sandbox.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GuestConfig {
    /// The directory that no file operation leaves, absolute. `/` where the sandbox has a kernel's whole view to itself.
    pub root: PathBuf,
    /// Where commands start and relative paths begin, relative to `root`; the root itself by default.
    pub working_directory: PathBuf,
    /// The complete environment of every command, before the command's own variables. Nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// What marks the processes of this sandbox on this kernel. The same number finds them again from another program.
    pub tag: u32,
}

impl GuestConfig {
    /// A guest below `root` whose processes carry `tag`.
    pub fn new(root: impl Into<PathBuf>, tag: u32) -> Self {
        Self { root: root.into(), working_directory: PathBuf::new(), environment: BTreeMap::new(), tag }
    }

    /// Sets where commands start, relative to the root.
    #[must_use]
    pub fn working_directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.working_directory = path.into();
        self
    }

    /// Sets the environment of every command.
    #[must_use]
    pub fn environment(mut self, variables: BTreeMap<String, String>) -> Self {
        self.environment = variables;
        self
    }
}

/// One sandbox's inside. Implements the facets; clones share everything.
#[derive(Clone, Debug)]
pub struct Guest {
    pub(crate) shared: Arc<Shared>,
}

/// What all facets of one guest share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: GuestConfig,
    pub(crate) root: Root,
    pub(crate) tag: SandboxTag,
    frozen: AtomicBool,
}

impl Guest {
    /// Opens the root. Nothing is started.
    ///
    /// # Errors
    ///
    /// `NotFound` or `Denied` when the root cannot be opened.
    pub fn new(config: GuestConfig) -> Result<Self> {
        let root = Root::open(&config.root)?;
        let tag = SandboxTag(config.tag);
        Ok(Self { shared: Arc::new(Shared { config, root, tag, frozen: AtomicBool::new(false) }) })
    }

    /// Refuses what needs running processes while they are frozen.
    pub(crate) fn ensure_running(&self) -> Result<()> {
        if self.shared.frozen.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Conflict, "the sandbox is paused").hint("resume it first"));
        }
        Ok(())
    }

    /// A guest path as one below the root: relative ones begin at the working directory.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        // `join` replaces everything when `path` is absolute; the root then decides whether that leads outside.
        self.shared.config.working_directory.join(path)
    }
}
