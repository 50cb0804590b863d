//! What the helper is told at its start.

use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;
use std::time::Duration;

use grainchain_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::users::Account;

/// The variable that holds a [`Boot`] as JSON. No command sees it.
pub const BOOT: &str = "GRAINCHAIN_BOOT";

/// How a sandbox is to be, in the words of whoever made it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// The sandbox's id, said in welcome.
    pub sandbox: String,
    /// What clients must know: sixteen bytes or more.
    pub token: String,
    /// Whom commands run as: `uid`, `uid:gid`, `name` or `name:group`.
    pub user: String,
    /// Where commands start, absolute. Made for the user when it is not there.
    pub working_directory: String,
    /// How long the sandbox lives; without limit when absent.
    pub lifetime: Option<Duration>,
    /// How long it lives without any client; without limit when absent.
    pub lease: Option<Duration>,
    /// The capabilities that a command which is root has, by name without `CAP_`.
    pub capabilities: Vec<String>,
}

impl std::fmt::Debug for Boot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Boot").field("sandbox", &self.sandbox).finish_non_exhaustive()
    }
}

impl Boot {
    /// As the variable's value.
    ///
    /// # Errors
    ///
    /// `Unexpected` when it cannot be written, which no value is known to cause.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::unexpected("the helper's orders cannot be written").caused_by(error))
    }

    /// The orders, and the rest of the environment, which is that of commands.
    pub(super) fn take() -> Result<(Self, BTreeMap<String, String>)> {
        // A variable that is no text cannot be one of ours, and commands are told text alone.
        let mut variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let json = variables.remove(BOOT).ok_or_else(|| {
            Error::config(format!("the variable {BOOT} is not set"))
                .hint("this program is started by the provider, as a sandbox's first process")
        })?;
        let boot = serde_json::from_str(&json).map_err(|error| {
            Error::config(format!("the variable {BOOT} is not understood")).caused_by(error)
        })?;
        Ok((boot, variables))
    }
}

/// Makes `path` for `account` where it is not there. One that is there stays as it is.
pub(super) fn make_directory(path: &str, account: &Account) -> Result<()> {
    let fail = |error: std::io::Error| {
        Error::bad_request(format!("the working directory {path:?} cannot be made"))
            .hint("name a folder that is there, or one where folders can be made")
            .option("working_directory")
            .caused_by(error)
    };
    let missing: Vec<_> = Path::new(path).ancestors().take_while(|path| !path.exists()).collect();
    for path in missing.iter().rev() {
        std::fs::DirBuilder::new().mode(0o755).create(path).map_err(fail)?;
    }
    // Only then: what is somebody else's cannot be written to, by root either.
    for path in missing {
        chown(path, Some(account.uid), Some(account.gid)).map_err(fail)?;
    }
    if Path::new(path).is_dir() {
        return Ok(());
    }
    Err(fail(std::io::ErrorKind::NotADirectory.into()))
}
