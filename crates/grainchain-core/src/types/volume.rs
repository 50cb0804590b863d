//! Storage that outlives sandboxes.

use std::time::SystemTime;

use serde::Serialize;

use crate::types::id::VolumeId;
use crate::types::size::ByteSize;

/// Asks for a volume.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreateVolume {
    /// Its name.
    pub name: String,
    /// How large it may become; the provider's default when none is given.
    pub size: Option<ByteSize>,
}

impl CreateVolume {
    /// A volume `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), size: None }
    }
}

/// A volume as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VolumeInfo {
    /// Its id.
    pub id: VolumeId,
    /// Its name.
    pub name: String,
    /// How large it may become.
    pub size: Option<ByteSize>,
    /// When it was made.
    #[serde(serialize_with = "super::timestamp::option::serialize")]
    pub created_at: Option<SystemTime>,
}

impl VolumeInfo {
    /// A volume `id`.
    pub fn new(id: VolumeId, name: impl Into<String>) -> Self {
        Self { id, name: name.into(), size: None, created_at: None }
    }
}
