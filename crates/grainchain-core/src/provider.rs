//! What a provider is and what it hands over.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use crate::capabilities::{Capabilities, Details};
use crate::error::Result;
use crate::facet::{
    Archive, Code, Exec, Files, Fork, Lifecycle, Metrics, Ports, Power, Processes, SnapshotCatalog,
    Snapshots, Templates, Volumes, Watch,
};
use crate::types::id::SandboxId;
use crate::types::info::{ListFilter, SandboxInfo};
use crate::types::sandbox_config::{ConfigOption, SandboxConfig};

/// A place where sandboxes can be made.
#[async_trait]
pub trait Provider: Debug + Send + Sync + 'static {
    /// What it is called and what it can do; no request is sent.
    fn info(&self) -> ProviderInfo;

    /// Asks whether it could make a sandbox now: reachable, allowed, recent enough.
    async fn check(&self) -> Result<Health>;

    /// Makes a sandbox. The request's key rides along, so that a lost answer can be looked up.
    async fn create(&self, request: CreateRequest) -> Result<Parts>;

    /// Finds a sandbox, also one that another program made.
    async fn connect(&self, id: &SandboxId) -> Result<Parts>;

    /// The sandboxes that match. A broken one is listed with the status `error`.
    async fn list(&self, filter: ListFilter) -> Result<Vec<SandboxInfo>>;

    /// Ends a sandbox that need not be in a state to connect to. `NotFound` when there is none.
    async fn remove(&self, id: &SandboxId) -> Result<()>;

    /// Removes what interrupted operations left and belongs to no sandbox, and names it; with `DryRun::Yes` only names it.
    async fn sweep(&self, dry_run: DryRun) -> Result<Vec<String>>;

    /// Prepared machines, where there are such.
    fn templates(&self) -> Option<Arc<dyn Templates>>;

    /// Snapshots across sandboxes, where they can be listed.
    fn snapshot_catalog(&self) -> Option<Arc<dyn SnapshotCatalog>>;

    /// Volumes, where there are such.
    fn volumes(&self) -> Option<Arc<dyn Volumes>>;
}

/// Whether something is done or only named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DryRun {
    /// It is done.
    #[default]
    No,
    /// It is only named.
    Yes,
}

/// What a provider is called and what it can do at best.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ProviderInfo {
    /// The lower-case name, as in `grainchain.toml`.
    pub name: &'static str,
    /// The options of `create` that it honours; all others are refused.
    pub options: Vec<ConfigOption>,
    /// What its sandboxes can do.
    pub capabilities: Capabilities,
}

impl ProviderInfo {
    /// The provider `name` with these options and capabilities.
    pub fn new(name: &'static str, options: Vec<ConfigOption>, capabilities: Capabilities) -> Self {
        Self { name, options, capabilities }
    }
}

/// The answer to "could you make a sandbox now?".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// The other side's version, or what stands for it.
    pub version: Option<String>,
    /// What works less well here than it could, and how to mend it.
    pub notes: Vec<String>,
}

impl Health {
    /// A healthy provider of `version` with these notes.
    pub fn new(version: Option<String>, notes: Vec<String>) -> Self {
        Self { version, notes }
    }
}

/// A sandbox to make.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreateRequest {
    /// What it shall be like.
    pub config: SandboxConfig,
    /// A fresh key: the same request sent twice makes one sandbox where the vendor allows that, and
    /// [`ListFilter::key`] finds what it made.
    pub key: String,
    /// The label of the client that makes it.
    pub owner: String,
}

impl CreateRequest {
    /// A request for `config`.
    pub fn new(config: SandboxConfig, key: impl Into<String>, owner: impl Into<String>) -> Self {
        Self { config, key: key.into(), owner: owner.into() }
    }
}

macro_rules! parts {
    ($($(#[doc = $doc:literal])+ $field:ident: $facet:ident,)+) => {
        /// One sandbox as its facets. The presence of an optional facet is the capability.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub struct Parts {
            /// The sandbox's id.
            pub id: SandboxId,
            /// Its status, lifetime and end.
            pub lifecycle: Arc<dyn Lifecycle>,
            /// Commands that run to their end.
            pub exec: Arc<dyn Exec>,
            $($(#[doc = $doc])+ pub $field: Option<Arc<dyn $facet>>,)+
            /// The fine limits that presence cannot tell.
            pub details: Details,
        }

        impl Parts {
            /// A sandbox that runs commands and ends; all else is a setter away.
            pub fn new(id: SandboxId, lifecycle: Arc<dyn Lifecycle>, exec: Arc<dyn Exec>) -> Self {
                Self { id, lifecycle, exec, $($field: None,)+ details: Details::default() }
            }

            $(
                /// Adds this facet.
                #[must_use]
                pub fn $field(mut self, facet: Arc<dyn $facet>) -> Self {
                    self.$field = Some(facet);
                    self
                }
            )+

            /// Sets the fine limits.
            #[must_use]
            pub fn details(mut self, details: Details) -> Self {
                self.details = details;
                self
            }
        }
    };
}

parts! {
    /// Commands that run beside the caller.
    processes: Processes,
    /// Single files and directories.
    files: Files,
    /// Whole trees as one tar stream.
    archive: Archive,
    /// Changes of files as they happen.
    watch: Watch,
    /// Code in interpreters that keep their variables.
    code: Code,
    /// Points to go back to.
    snapshots: Snapshots,
    /// Standing still and going on.
    power: Power,
    /// Copies of a living sandbox.
    fork: Fork,
    /// Ways in.
    ports: Ports,
    /// How much it uses.
    metrics: Metrics,
}
