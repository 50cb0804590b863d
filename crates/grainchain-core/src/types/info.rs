//! What is known about a sandbox.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::types::id::SandboxId;
use crate::types::size::ByteSize;

/// What a sandbox is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SandboxStatus {
    /// It is being made.
    Creating,
    /// It runs.
    Running,
    /// It is frozen; `resume` brings it back.
    Paused,
    /// Its compute is gone, its state kept; `wake_up` brings it back.
    Stopped,
    /// It is broken; its `reason` says how.
    Error,
    /// The provider did not say, or said something we do not know.
    Unknown,
}

impl SandboxStatus {
    /// The lower-case name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }
}

impl std::fmt::Display for SandboxStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who holds a sandbox and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lease {
    /// The label of the client that holds it.
    pub owner: String,
    /// Whether that client still holds it, where the provider can tell.
    pub held: Option<bool>,
}

impl Lease {
    /// A lease of `owner`.
    pub fn new(owner: impl Into<String>, held: Option<bool>) -> Self {
        Self { owner: owner.into(), held }
    }
}

/// A sandbox as `info` and `list` show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SandboxInfo {
    /// Its id.
    pub id: SandboxId,
    /// The provider's name.
    pub provider: String,
    /// What it is doing.
    pub status: SandboxStatus,
    /// Why, when the status is `error`.
    pub reason: Option<String>,
    /// When it was made.
    #[serde(serialize_with = "super::timestamp::option::serialize")]
    pub created_at: Option<SystemTime>,
    /// When it ends by itself.
    #[serde(serialize_with = "super::timestamp::option::serialize")]
    pub expires_at: Option<SystemTime>,
    /// The image that it was made from.
    pub image: Option<String>,
    /// The template that it was made from.
    pub template: Option<String>,
    /// Where commands start, as an absolute path.
    pub working_directory: Option<String>,
    /// The limit on its memory.
    pub memory_limit: Option<ByteSize>,
    /// The limit on its processors.
    pub cpu_limit: Option<f64>,
    /// Who holds it.
    pub lease: Option<Lease>,
    /// Whether it outlives its client.
    pub keep_alive: bool,
    /// The key that its `create` was sent with.
    pub key: Option<String>,
    /// Labels of the user's own.
    pub metadata: BTreeMap<String, String>,
}

impl SandboxInfo {
    /// A sandbox `id` at `provider`.
    pub fn new(id: SandboxId, provider: impl Into<String>, status: SandboxStatus) -> Self {
        Self {
            id,
            provider: provider.into(),
            status,
            reason: None,
            created_at: None,
            expires_at: None,
            image: None,
            template: None,
            working_directory: None,
            memory_limit: None,
            cpu_limit: None,
            lease: None,
            keep_alive: false,
            key: None,
            metadata: BTreeMap::new(),
        }
    }
}

/// Which sandboxes a list shows. Everything by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListFilter {
    /// Only those with all of these labels.
    pub metadata: BTreeMap<String, String>,
    /// Only those made with this key.
    pub key: Option<String>,
    /// Only those in one of these states; any when empty.
    pub status: Vec<SandboxStatus>,
}

impl ListFilter {
    /// Only those with this label.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Only the one made with this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Only those in this state; may be said several times.
    #[must_use]
    pub fn status(mut self, status: SandboxStatus) -> Self {
        self.status.push(status);
        self
    }

    /// Whether `info` is one of those. For providers whose service cannot filter.
    pub fn matches(&self, info: &SandboxInfo) -> bool {
        self.metadata.iter().all(|(key, value)| info.metadata.get(key) == Some(value))
            && self.key.as_ref().is_none_or(|key| info.key.as_ref() == Some(key))
            && (self.status.is_empty() || self.status.contains(&info.status))
    }
}
