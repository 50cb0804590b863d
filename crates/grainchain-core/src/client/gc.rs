//! Cleaning up what nobody holds any more.

use std::time::SystemTime;

use serde::Serialize;

use crate::client::Client;
use crate::error::{ErrorKind, Result};
use crate::provider::{DryRun, Removal, RemoveIf};
use crate::types::info::{ListFilter, SandboxInfo};

/// What to clean up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcOptions {
    /// Whether it only says what it would remove; no by default.
    pub dry_run: bool,
    /// Whether sandboxes in the status `error` go too; no by default, because their state may be worth a look.
    pub broken: bool,
}

impl GcOptions {
    /// Says what it would remove.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Removes broken sandboxes too.
    #[must_use]
    pub fn broken(mut self) -> Self {
        self.broken = true;
        self
    }
}

/// What became of a sandbox that nobody holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GcAction {
    /// It would have been removed.
    WouldRemove,
    /// It was removed.
    Removed,
    /// It could not be removed, for this reason.
    Failed(String),
}

/// A sandbox that nobody holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GcEntry {
    /// The sandbox.
    pub sandbox: SandboxInfo,
    /// Why it counts as left behind.
    pub reason: String,
    /// What became of it.
    pub action: GcAction,
}

/// What cleaning up did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GcReport {
    /// The sandboxes that nobody holds.
    pub entries: Vec<GcEntry>,
    /// How many others there are.
    pub kept: usize,
    /// What interrupted operations had left that belongs to no sandbox: removed, or only named in a dry run.
    pub swept: Vec<String>,
    /// Why that could not be done.
    pub sweep_error: Option<String>,
}

impl Client {
    /// Removes the sandboxes whose lifetime is over or whose client is gone. Those of living clients, of other owners whose life
    /// the provider cannot judge, and those that were asked to outlive their client stay. So do those to which somebody connects
    /// while it is at work: each is looked at again when it is its turn.
    ///
    /// # Errors
    ///
    /// When the sandboxes cannot be listed; a sandbox that cannot be removed is in the report.
    pub async fn gc(&self, options: GcOptions) -> Result<GcReport> {
        let mut report = GcReport::default();
        for sandbox in self.list(ListFilter::default()).await? {
            let Some((condition, reason)) = left_behind(&sandbox, &options, SystemTime::now()) else {
                report.kept += 1;
                continue;
            };
            let action = if options.dry_run {
                GcAction::WouldRemove
            } else {
                match self.remove_if(&sandbox.id, condition).await {
                    Ok(Removal::Removed) => GcAction::Removed,
                    // Since it was listed somebody has connected to it, prolonged its lifetime or mended it.
                    Ok(Removal::Kept) => {
                        report.kept += 1;
                        continue;
                    }
                    // Somebody else was faster.
                    Err(error) if error.kind() == ErrorKind::NotFound => GcAction::Removed,
                    Err(error) => GcAction::Failed(error.to_string()),
                }
            };
            report.entries.push(GcEntry { sandbox, reason, action });
        }
        let dry_run = if options.dry_run { DryRun::Yes } else { DryRun::No };
        match self.sweep(dry_run).await {
            Ok(swept) => report.swept = swept,
            Err(error) => report.sweep_error = Some(error.to_string()),
        }
        Ok(report)
    }
}

/// On which condition `sandbox` counts as left behind, and that in words, if it does.
fn left_behind(sandbox: &SandboxInfo, options: &GcOptions, now: SystemTime) -> Option<(RemoveIf, String)> {
    let owner = sandbox.lease.as_ref().map_or("", |lease| &lease.owner);
    let conditions = [
        (RemoveIf::Expired, "its lifetime is over".to_owned()),
        (RemoveIf::Abandoned, format!("its client {owner} is gone")),
        (RemoveIf::Broken, "broken".to_owned()),
    ];
    let found = conditions.into_iter().find(|(condition, _)| condition.allows(sandbox, now))?;
    (found.0 != RemoveIf::Broken || options.broken).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::info::SandboxStatus;

    #[test]
    fn a_broken_sandbox_is_left_alone_unless_asked() {
        let broken = SandboxInfo::new("sb".into(), "p", SandboxStatus::Error);
        assert!(left_behind(&broken, &GcOptions::default(), SystemTime::now()).is_none());
        let asked = left_behind(&broken, &GcOptions::default().broken(), SystemTime::now());
        assert_eq!(asked, Some((RemoveIf::Broken, "broken".to_owned())));
    }
}
