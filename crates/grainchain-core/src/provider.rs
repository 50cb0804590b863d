//! What a provider is and what it hands over.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use serde::Serialize;

use crate::capabilities::{Capabilities, Details};
use crate::error::{Error, Result};
use crate::facet::{
    Archive, Code, Exec, Files, Fork, Lifecycle, Metrics, Ports, Power, Processes, SnapshotCatalog,
    Snapshots, Templates, Volumes, Watch,
};
use crate::types::id::SandboxId;
use crate::types::info::{ListFilter, SandboxInfo, SandboxStatus};
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

    /// Ends a sandbox, which need not be in a state to connect to, if `condition` holds. `NotFound` when there is none.
    ///
    /// The condition is judged at the moment of the removal: a client that connects after it was judged must be refused, never lose
    /// what it has just been given. Where the other side has no lock for that, the provider asks [`RemoveIf::allows`] about a fresh
    /// look right before it removes, and its documentation says how long that leaves a gap. What cannot be judged is kept.
    async fn remove(&self, id: &SandboxId, condition: RemoveIf) -> Result<Removal>;

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

/// When a sandbox may be removed. Whoever names a condition has seen it hold some time ago; the provider looks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemoveIf {
    /// In any event, whoever uses it.
    Always,
    /// If no client holds it any more, and it was not asked to outlive its clients.
    Abandoned,
    /// If its lifetime is over.
    Expired,
    /// If its status is `error`.
    Broken,
}

impl RemoveIf {
    /// Whether it holds at `now` for a sandbox that is as `sandbox` says. Not for one of whose lease nobody can tell.
    pub fn allows(self, sandbox: &SandboxInfo, now: SystemTime) -> bool {
        let broken = sandbox.status == SandboxStatus::Error;
        match self {
            Self::Always => true,
            Self::Abandoned => {
                let given_up = sandbox.lease.as_ref().is_some_and(|lease| lease.held == Some(false));
                !broken && !sandbox.keep_alive && given_up
            }
            Self::Expired => !broken && sandbox.expires_at.is_some_and(|at| at <= now),
            Self::Broken => broken,
        }
    }
}

/// What became of a sandbox that was to be removed on a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a sandbox for which the condition does not hold is kept"]
pub enum Removal {
    /// It is gone.
    Removed,
    /// It is as it was: the condition does not hold, or not any more.
    Kept,
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

    /// Refuses a configuration that asks for something the provider does not honour.
    ///
    /// # Errors
    ///
    /// `Unsupported` naming the option and those that are honoured.
    pub fn check(&self, config: &SandboxConfig) -> Result<()> {
        let Some(option) = config.used_options().into_iter().find(|option| !self.options.contains(option))
        else {
            return Ok(());
        };
        let honoured: Vec<_> = self.options.iter().map(ToString::to_string).collect();
        let instead = format!(
            "leave it out or choose another provider ({} honours {})",
            self.name,
            honoured.join(", ")
        );
        Err(Error::unsupported(format_args!("`{option}`"), instead).option(option.as_str()))
    }
}

/// The answer to "could you make a sandbox now?".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// The other side's version, or what stands for it.
    pub version: Option<String>,
    /// Where the other side is and who said so, in words, if there are several places where it could be.
    pub place: Option<String>,
    /// What works less well here than it could, and how to mend it.
    pub notes: Vec<String>,
}

impl Health {
    /// A healthy provider of `version` with these notes.
    pub fn new(version: Option<String>, notes: Vec<String>) -> Self {
        Self { version, place: None, notes }
    }

    /// Says where the other side is.
    #[must_use]
    pub fn place(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::types::info::Lease;

    const CONDITIONS: [RemoveIf; 4] =
        [RemoveIf::Always, RemoveIf::Abandoned, RemoveIf::Expired, RemoveIf::Broken];

    fn sandbox(held: Option<bool>) -> SandboxInfo {
        let mut info = SandboxInfo::new("sb".into(), "p", SandboxStatus::Running);
        info.lease = Some(Lease::new("me", held));
        info
    }

    #[track_caller]
    fn allowed(info: &SandboxInfo, expected: &[RemoveIf]) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let allowed: Vec<_> =
            CONDITIONS.into_iter().filter(|condition| condition.allows(info, now)).collect();
        assert_eq!(allowed, expected);
    }

    #[test]
    fn only_what_surely_nobody_holds_is_abandoned() {
        allowed(&sandbox(Some(true)), &[RemoveIf::Always]);
        allowed(&sandbox(None), &[RemoveIf::Always]);
        allowed(&sandbox(Some(false)), &[RemoveIf::Always, RemoveIf::Abandoned]);
        let mut kept = sandbox(Some(false));
        kept.keep_alive = true;
        allowed(&kept, &[RemoveIf::Always]);
        kept.lease = None;
        kept.keep_alive = false;
        allowed(&kept, &[RemoveIf::Always]);
    }

    #[test]
    fn a_lifetime_that_is_over_counts_whoever_holds_the_sandbox() {
        let mut held = sandbox(Some(true));
        held.expires_at = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(101));
        allowed(&held, &[RemoveIf::Always]);
        held.expires_at = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        allowed(&held, &[RemoveIf::Always, RemoveIf::Expired]);
    }

    #[test]
    fn a_broken_sandbox_is_nothing_else() {
        let mut broken = sandbox(Some(false));
        broken.status = SandboxStatus::Error;
        broken.expires_at = Some(SystemTime::UNIX_EPOCH);
        allowed(&broken, &[RemoveIf::Always, RemoveIf::Broken]);
    }
}
