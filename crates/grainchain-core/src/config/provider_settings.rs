//! The settings of one provider.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::file::{Located, at};
use crate::error::{Error, Result};

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
pub(super) fn hide(reason: String, hidden: &[String]) -> String {
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

    /// The settings that stand in `origin` in a table at `line`.
    pub(super) fn read(
        name: &str,
        origin: &Path,
        line: usize,
        entries: Vec<(String, Located)>,
        hidden: Vec<String>,
    ) -> Self {
        let mut own = Self { origin: Some(origin.to_owned()), line: Some(line), hidden, ..Self::new(name) };
        for (key, located) in entries {
            own.lines.insert(key.clone(), located.line);
            own.values.insert(key, located.plain());
        }
        own
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
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::config::Settings;

    fn parse(text: &str) -> Result<Settings> {
        Settings::parse(text, Path::new("test.toml"), &|name| (name == "KEY").then(|| "sesame".to_owned()))
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the deserialising matters")]
    struct Own {
        api_key: String,
        #[serde(default)]
        retries: u32,
    }

    #[test]
    fn a_providers_own_type_finds_the_line_of_a_wrong_key_and_of_a_wrong_type() {
        let settings = parse("[providers.x]\napi_key = \"a\"\n\nretry = 1").unwrap();
        let error = settings.provider("x").parse::<Own>().unwrap_err();
        assert!(error.message().starts_with("test.toml:4: providers.x.retry: unknown field"), "{error}");
        let settings = parse("[providers.x]\napi_key = \"a\"\nretries = \"many\"").unwrap();
        let error = settings.provider("x").parse::<Own>().unwrap_err();
        assert!(error.message().starts_with("test.toml:3: providers.x.retries: "), "{error}");
    }

    #[test]
    fn a_fault_never_repeats_the_value_of_a_variable_or_of_a_uri() {
        let settings = parse("[providers.x]\napi_key = \"a\"\nretries = \"${KEY}\"").unwrap();
        let mut own = settings.provider("x");
        let error = own.parse::<Own>().unwrap_err();
        assert!(error.message().starts_with("test.toml:3: providers.x.retries: "), "{error}");
        assert!(!format!("{error:#}").contains("sesame"), "{error:#}");
        own.set("retries", "open \"it\"");
        let error = own.parse::<Own>().unwrap_err();
        assert!(!format!("{error:#}").contains("open"), "{error:#}");
        let error = parse("[sandbox_defaults]\ntimeout = \"${KEY}\"").unwrap_err();
        assert!(!format!("{error:#}").contains("sesame"), "{error:#}");
    }

    #[test]
    fn a_missing_key_is_told_with_the_line_of_its_table_and_a_uris_key_without_one() {
        let settings = parse("\n[providers.x]\nretries = 1").unwrap();
        let error = settings.provider("x").parse::<Own>().unwrap_err();
        assert!(error.message().starts_with("test.toml:2: providers.x: missing field"), "{error}");
        let mut own = parse("[providers.x]\napi_key = \"a\"\nretries = 1").unwrap().provider("x");
        own.set("retries", "many");
        let error = own.parse::<Own>().unwrap_err();
        assert!(error.message().starts_with("providers.x.retries: "), "{error}");
    }
}
