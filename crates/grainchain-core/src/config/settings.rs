//! What a program was configured with.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::file::{self, at, line_at};
use super::uri::without_options;
use super::{Lookup, defaults, environment};
use crate::error::{Error, Result};
use crate::types::sandbox_config::SandboxConfig;

const FILE_NAME: &str = "grainchain.toml";

/// The provider of a program that nothing was configured for.
const LAST_RESORT: &str = "local";

/// What a program was configured with: the default provider, each provider's settings, and the defaults of sandboxes.
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The provider's name or URI. `local` when nothing was configured at all.
    pub default_provider: String,
    /// Where the default provider was chosen, in words.
    pub chosen_by: String,
    /// The defaults of sandboxes.
    pub sandbox_defaults: SandboxConfig,
    /// The file that was read.
    pub file: Option<PathBuf>,
    providers: BTreeMap<String, ProviderSettings>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("default_provider", &without_options(&self.default_provider))
            .field("chosen_by", &self.chosen_by)
            .field("sandbox_defaults", &self.sandbox_defaults)
            .field("file", &self.file)
            .field("providers", &self.providers)
            .finish()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_provider: LAST_RESORT.to_owned(),
            chosen_by: "nothing is configured".to_owned(),
            sandbox_defaults: SandboxConfig::default(),
            file: None,
            providers: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// The settings of this program: the file that `GRAINCHAIN_CONFIG` names, else `grainchain.toml` in the working directory, else
    /// in the user's configuration folder (`$XDG_CONFIG_HOME/grainchain` or `~/.config/grainchain`), else none.
    /// `GRAINCHAIN_DEFAULT_PROVIDER` overrides the file's `default_provider`.
    ///
    /// # Errors
    ///
    /// `Config` naming file, line and key, also when such a file is there and cannot be read: it is never passed over.
    pub fn load() -> Result<Self> {
        let settings = match find(&environment)? {
            Some(path) => Self::read(&path, &environment)?,
            None => Self::default(),
        };
        Ok(settings.overridden(&environment))
    }

    /// The settings in `path`, with `GRAINCHAIN_DEFAULT_PROVIDER` overriding its `default_provider`.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load), and `NotFound` when there is no such file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::read(path.as_ref(), &environment)?.overridden(&environment))
    }

    fn read(path: &Path, lookup: Lookup<'_>) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| {
            let missing = error.kind() == ErrorKind::NotFound;
            let error = Error::io(format_args!("read the configuration {}", path.display()), error);
            let error = if missing { error } else { Error::config(error.message()).caused_by(error) };
            error.hint("name a file of UTF-8 text that you may read")
        })?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let line = line_at(&bytes, error.valid_up_to());
            Error::config(format!("{}:{line}: this is not UTF-8 text", path.display())).caused_by(error)
        })?;
        Self::parse(text, path, lookup)
    }

    /// The settings in `text`, with errors that name `origin` and variables from `lookup`.
    ///
    /// # Errors
    ///
    /// `Config` naming origin, line and key.
    pub fn parse(text: &str, origin: &Path, lookup: Lookup<'_>) -> Result<Self> {
        let mut settings = Self { file: Some(origin.to_owned()), ..Self::default() };
        let used = RefCell::new(Vec::new());
        let noting = |name: &str| {
            let value = lookup(name);
            used.borrow_mut().extend(value.clone());
            value
        };
        let entries = file::parse(text, origin, &noting)?;
        let used = used.into_inner();
        for (key, located) in entries {
            let line = located.line;
            match key.as_str() {
                "default_provider" => {
                    let Value::String(name) = located.plain() else {
                        return Err(at(origin, line, &key, "write the name of a provider, as in \"local\""));
                    };
                    settings.chosen_by = format!("{}:{line}", origin.display());
                    settings.default_provider = name;
                }
                "providers" => {
                    let tables = located
                        .table()
                        .map_err(|_| at(origin, line, &key, "write tables such as [providers.local]"))?;
                    for (name, located) in tables {
                        let line = located.line;
                        let key = format!("providers.{name}");
                        let entries = located.table().map_err(|_| at(origin, line, &key, "write a table"))?;
                        let mut own = ProviderSettings::new(&name);
                        own.origin = Some(origin.to_owned());
                        own.line = Some(line);
                        own.hidden.clone_from(&used);
                        for (key, located) in entries {
                            own.lines.insert(key.clone(), located.line);
                            own.values.insert(key, located.plain());
                        }
                        settings.providers.insert(name, own);
                    }
                }
                "sandbox_defaults" => {
                    let entries = located.table().map_err(|_| at(origin, line, &key, "write a table"))?;
                    let mut lines = BTreeMap::new();
                    for (key, located) in entries {
                        let line = located.line;
                        lines.insert(key.clone(), line);
                        defaults::apply(&mut settings.sandbox_defaults, &key, located.plain()).map_err(
                            |reason| {
                                at(origin, line, &format!("sandbox_defaults.{key}"), hide(reason, &used))
                            },
                        )?;
                    }
                    let valid = settings.sandbox_defaults.validate();
                    valid.map_err(|error| {
                        let line =
                            error.failed_option().and_then(|option| lines.get(option)).unwrap_or(&line);
                        at(origin, *line, "sandbox_defaults", error)
                    })?;
                }
                _ => {
                    let known = "the keys are default_provider, [providers.NAME] and [sandbox_defaults]";
                    return Err(at(origin, line, &key, format_args!("there is no such key; {known}")));
                }
            }
        }
        if settings.default_provider == LAST_RESORT && settings.chosen_by == Self::default().chosen_by {
            settings.chosen_by = format!("{} names no default_provider", origin.display());
        }
        Ok(settings)
    }

    fn overridden(mut self, lookup: Lookup<'_>) -> Self {
        if let Some(name) = lookup("GRAINCHAIN_DEFAULT_PROVIDER") {
            self.default_provider = name;
            self.chosen_by = "GRAINCHAIN_DEFAULT_PROVIDER".to_owned();
        }
        self
    }

    /// The settings of the provider `name`; empty when the file has none.
    pub fn provider(&self, name: &str) -> ProviderSettings {
        self.providers.get(name).cloned().unwrap_or_else(|| ProviderSettings::new(name))
    }

    /// The providers that the file has settings of.
    pub fn configured_providers(&self) -> impl Iterator<Item = &ProviderSettings> {
        self.providers.values()
    }
}

/// The file to read, if there is one.
fn find(lookup: Lookup<'_>) -> Result<Option<PathBuf>> {
    if let Some(path) = lookup("GRAINCHAIN_CONFIG") {
        let path = PathBuf::from(path);
        if !path.is_file() {
            return Err(Error::config(format!(
                "GRAINCHAIN_CONFIG names {}, which is no file",
                path.display()
            ))
            .hint("correct or unset it"));
        }
        return Ok(Some(path));
    }
    let here = PathBuf::from(FILE_NAME);
    let folder = lookup("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| lookup("HOME").map(|home| PathBuf::from(home).join(".config")));
    let users = folder.map(|folder| folder.join("grainchain").join(FILE_NAME));
    for path in [Some(here), users].into_iter().flatten() {
        if is_there(&path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Whether there is a file to read. One that is there but cannot be read is an error: going on without it would take work that was
/// meant for somewhere else to `local`.
fn is_there(path: &Path) -> Result<bool> {
    let unusable = |reason: &dyn std::fmt::Display| {
        Error::config(format!("the configuration {} cannot be used: {reason}", path.display()))
            .hint("mend or remove it, or name another one with GRAINCHAIN_CONFIG")
    };
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(true),
        Ok(_) => Err(unusable(&"it is no regular file")),
        Err(error) => match error.kind() {
            ErrorKind::NotFound if path.is_symlink() => Err(unusable(&"it is a link to nothing")),
            ErrorKind::NotFound | ErrorKind::NotADirectory => Ok(false),
            _ => Err(unusable(&error)),
        },
    }
}

/// The settings of one provider, with the lines they stand in.
#[derive(Clone)]
pub struct ProviderSettings {
    name: String,
    values: Map<String, Value>,
    lines: BTreeMap<String, usize>,
    line: Option<usize>,
    origin: Option<PathBuf>,
    /// Values of variables and of URIs, which no error may repeat.
    hidden: Vec<String>,
}

/// Shorter values are no secrets, and to strike them out would garble the words around them.
const SHORTEST_SECRET: usize = 6;

/// `reason` without the values of `hidden`: whoever takes a key for a number is not told the key.
fn hide(reason: String, hidden: &[String]) -> String {
    let secrets = hidden.iter().filter(|value| value.len() >= SHORTEST_SECRET);
    secrets.fold(reason, |reason, secret| {
        reason
            .replace(secret.as_str(), "[redacted]")
            .replace(&secret.escape_debug().to_string(), "[redacted]")
    })
}

impl std::fmt::Debug for ProviderSettings {
    // Values may be keys and tokens; names are enough to find a fault.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.values.keys().collect();
        f.debug_struct("ProviderSettings")
            .field("name", &self.name)
            .field("keys", &keys)
            .finish_non_exhaustive()
    }
}

impl ProviderSettings {
    /// No settings of the provider `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            values: Map::new(),
            lines: BTreeMap::new(),
            line: None,
            origin: None,
            hidden: Vec::new(),
        }
    }

    /// The provider's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file and line that they stand in, as errors name them.
    pub fn place(&self) -> Option<String> {
        Some(format!("{}:{}", self.origin.as_ref()?.display(), self.line?))
    }

    /// The keys that are set.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Sets a key from a text, as a URI or a command line gives it: numbers and truth values are taken as such.
    pub fn set(&mut self, key: &str, value: &str) {
        self.hidden.push(value.to_owned());
        let value = match serde_json::from_str(value) {
            Ok(value @ (Value::Bool(_) | Value::Number(_))) => value,
            _ => Value::String(value.to_owned()),
        };
        self.lines.remove(key);
        self.values.insert(key.to_owned(), value);
    }

    /// The settings as a provider's own type, which should deny unknown fields.
    ///
    /// # Errors
    ///
    /// `Config` naming file, line and key.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(Value::Object(self.values.clone())).map_err(|error| {
            let reason = error.to_string();
            let key = self.culprit::<T>(&reason);
            let path = key.map_or_else(
                || format!("providers.{}", self.name),
                |key| format!("providers.{}.{key}", self.name),
            );
            // A key without a line was not in the file: a URI or a command line has set it.
            let reason = hide(reason, &self.hidden);
            let line = key.map_or(self.line, |key| self.lines.get(key).copied());
            match (&self.origin, line) {
                (Some(origin), Some(line)) => at(origin, line, &path, reason),
                _ => Error::config(format!("{path}: {reason}")),
            }
        })
    }

    /// The key at fault: the one whose absence changes the complaint, or that the complaint quotes.
    fn culprit<T: DeserializeOwned>(&self, reason: &str) -> Option<&str> {
        let position = |key: &&String| reason.find(&format!("`{key}`"));
        let quoted = self.values.keys().filter(|key| position(key).is_some()).min_by_key(position);
        let changes = |key: &&String| {
            let mut without = self.values.clone();
            without.remove(*key);
            match serde_json::from_value::<T>(Value::Object(without)) {
                Ok(_) => true,
                Err(other) => other.to_string() != reason && !other.to_string().contains("missing field"),
            }
        };
        quoted.or_else(|| self.values.keys().find(changes)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests;
