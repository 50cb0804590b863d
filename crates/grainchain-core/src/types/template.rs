//! Prepared machines that sandboxes start from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;

use crate::types::id::TemplateId;
use crate::types::secret::Names;

/// Asks for a template built from a Dockerfile.
#[derive(Clone)]
#[non_exhaustive]
pub struct BuildTemplate {
    /// Its name.
    pub name: String,
    /// The text of the Dockerfile.
    pub dockerfile: String,
    /// The folder of this machine that `COPY` reads from.
    pub context: Option<PathBuf>,
    /// Values of the Dockerfile's `ARG`s.
    pub arguments: BTreeMap<String, String>,
}

impl fmt::Debug for BuildTemplate {
    // A Dockerfile and the values of its arguments carry tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildTemplate")
            .field("name", &self.name)
            .field("dockerfile", &format_args!("{} bytes", self.dockerfile.len()))
            .field("context", &self.context)
            .field("arguments", &Names(self.arguments.keys()))
            .finish()
    }
}

impl BuildTemplate {
    /// A template `name` from the text of a Dockerfile.
    pub fn new(name: impl Into<String>, dockerfile: impl Into<String>) -> Self {
        Self { name: name.into(), dockerfile: dockerfile.into(), context: None, arguments: BTreeMap::new() }
    }
}

/// A template as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TemplateInfo {
    /// Its id.
    pub id: TemplateId,
    /// Its name.
    pub name: Option<String>,
    /// When it was built.
    #[serde(serialize_with = "super::timestamp::option::serialize")]
    pub created_at: Option<SystemTime>,
    /// Its size.
    pub size_bytes: Option<u64>,
}

impl TemplateInfo {
    /// A template `id`.
    pub fn new(id: TemplateId) -> Self {
        Self { id, name: None, created_at: None, size_bytes: None }
    }
}
