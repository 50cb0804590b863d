//! Where sandboxes live and what their commands see: the only reader of the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use grainchain_core::config::environment;
use grainchain_core::{Error, Result};
use serde::Deserialize;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The settings of `[providers.local]`. Everything has a default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LocalConfig {
    /// Where sandboxes live, made when missing. By default `GRAINCHAIN_LOCAL_ROOT`, else `$XDG_STATE_HOME/grainchain/local`, else
    /// `~/.local/state/grainchain/local`.
    pub root: Option<PathBuf>,
    /// The `PATH` of commands; this program's by default.
    pub path: Option<String>,
    /// Names of further variables that commands get from this program.
    pub inherit: Vec<String>,
}

impl LocalConfig {
    /// Sandboxes below `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: Some(root.into()), ..Self::default() }
    }

    /// Sets the `PATH` of commands.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Lets commands see this program's variable `name`.
    #[must_use]
    pub fn inherit(mut self, name: impl Into<String>) -> Self {
        self.inherit.push(name.into());
        self
    }

    /// Where sandboxes live.
    pub(crate) fn resolve_root(&self) -> Result<PathBuf> {
        let chosen = self.root.clone().or_else(|| environment("GRAINCHAIN_LOCAL_ROOT").map(PathBuf::from));
        let root = match chosen {
            Some(root) if root.as_os_str().is_empty() => {
                return Err(Error::config("the root of the sandboxes is empty")
                    .hint("name a directory, or leave it out")
                    .option("root"));
            }
            Some(root) => root,
            None => environment("XDG_STATE_HOME")
                .map(PathBuf::from)
                .filter(|folder| folder.is_absolute())
                .or_else(|| environment("HOME").map(|home| Path::new(&home).join(".local/state")))
                .map(|folder| folder.join("grainchain/local"))
                .ok_or_else(|| {
                    Error::config("nowhere to keep sandboxes: neither GRAINCHAIN_LOCAL_ROOT, XDG_STATE_HOME nor HOME is set")
                        .hint("set one of them, or `root` in [providers.local]")
                        .option("root")
                })?,
        };
        std::path::absolute(&root).map_err(|error| {
            Error::io(format_args!("resolve the root {}", root.display()), error).option("root")
        })
    }

    /// What every command sees before the sandbox's own variables.
    pub(crate) fn base_environment(&self, workspace: &Path, temporary: &Path) -> BTreeMap<String, String> {
        let path =
            self.path.clone().or_else(|| environment("PATH")).unwrap_or_else(|| DEFAULT_PATH.to_owned());
        let own = [
            ("HOME", workspace.display().to_string()),
            ("LANG", "C.UTF-8".to_owned()),
            ("PATH", path),
            ("TMPDIR", temporary.display().to_string()),
        ];
        let inherited = ["USER".to_owned()];
        let inherited =
            inherited.iter().chain(&self.inherit).filter_map(|name| Some((name.clone(), environment(name)?)));
        own.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(inherited).collect()
    }
}
