//! The explicit table of providers that a program was built with.

use std::sync::Arc;

use crate::client::Client;
use crate::config::{ProviderSettings, ProviderUri, Settings, goes_first};
use crate::error::{Error, Result};
use crate::provider::Provider;
use crate::types::sandbox_config::SandboxConfig;

/// One provider in the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The lower-case name, as in `grainchain.toml`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// What stands behind `://` in its URI.
    pub target: UriTarget,
    /// Makes the provider from its settings; sends nothing.
    pub build: fn(&ProviderSettings) -> Result<Arc<dyn Provider>>,
}

/// What stands behind `://` in a provider's URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriTarget {
    /// The image to start from, as in `docker://python:3.12-slim`.
    Image,
    /// The template to start from, as in `e2b://python-data-science`.
    Template,
    /// A setting of the provider, by this name.
    Setting(&'static str),
}

/// The table: which providers are enabled, and which are known but were left out of this program.
#[derive(Clone, Debug)]
pub struct Registry {
    enabled: Vec<Entry>,
    known: Vec<&'static str>,
}

impl Registry {
    /// A table of `enabled` providers; `known` names those that another build could enable, by the feature of the same name.
    pub fn new(
        enabled: impl IntoIterator<Item = Entry>,
        known: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        Self { enabled: enabled.into_iter().collect(), known: known.into_iter().collect() }
    }

    /// The same table with `entry` in the place of the enabled one of its name, for programs that build a provider their own way;
    /// without one of its name it is left as it is.
    #[must_use]
    pub fn replace(mut self, entry: Entry) -> Self {
        for enabled in self.enabled.iter_mut().filter(|enabled| enabled.name == entry.name) {
            *enabled = entry;
        }
        self
    }

    /// The enabled providers.
    pub fn entries(&self) -> &[Entry] {
        &self.enabled
    }

    /// The entry called `name`.
    ///
    /// # Errors
    ///
    /// `Config`, with the names that would have been right.
    pub fn entry(&self, name: &str) -> Result<&Entry> {
        if let Some(entry) = self.enabled.iter().find(|entry| entry.name == name) {
            return Ok(entry);
        }
        let enabled: Vec<_> = self.enabled.iter().map(|entry| entry.name).collect();
        let enabled = if enabled.is_empty() { "none".to_owned() } else { enabled.join(", ") };
        if self.known.contains(&name) {
            return Err(Error::config(format!("the provider `{name}` is not part of this program"))
                .hint(format!("build with the feature `{name}`, or use one of: {enabled}")));
        }
        let others: Vec<_> = self
            .known
            .iter()
            .filter(|known| !self.enabled.iter().any(|entry| entry.name == **known))
            .collect();
        let mut hint = format!("enabled here: {enabled}");
        if !others.is_empty() {
            let others: Vec<_> = others.into_iter().copied().collect();
            hint.push_str(&format!("; known but not part of this program: {}", others.join(", ")));
        }
        Err(Error::config(format!("there is no provider `{name}`")).hint(hint))
    }

    /// Refuses settings of providers that do not exist: a misspelt name would be ignored silently.
    fn check(&self, settings: &Settings) -> Result<()> {
        for own in settings.configured_providers().filter(|own| !self.known.contains(&own.name())) {
            self.entry(own.name()).map_err(|error| match own.place() {
                Some(place) => {
                    let message = format!("{place}: providers.{}: {}", own.name(), error.message());
                    Error::config(message).hint(error.remedy().unwrap_or_default())
                }
                None => error,
            })?;
        }
        Ok(())
    }

    /// A client of the provider that `settings` choose, with the configured defaults for its sandboxes.
    ///
    /// # Errors
    ///
    /// `Config` naming file, line and key.
    pub fn client(&self, settings: &Settings) -> Result<Client> {
        self.client_of(&settings.default_provider, settings)
    }

    /// A client of the provider `name`, or of the provider that a URI such as `docker://python:3.12-slim?memory=2GiB` describes.
    ///
    /// # Errors
    ///
    /// `Config` naming file, line and key, or the part of the URI.
    pub fn client_of(&self, name: &str, settings: &Settings) -> Result<Client> {
        self.check(settings)?;
        if !name.contains("://") {
            let entry = self.entry(name).map_err(|error| placed(error, name, settings))?;
            let provider = (entry.build)(&settings.provider(name))?;
            return Ok(Client::from_arc(provider).defaults(settings.sandbox_defaults.clone()));
        }
        let uri: ProviderUri = name.parse().map_err(|error| placed(error, name, settings))?;
        let entry = self.entry(&uri.provider).map_err(|error| placed(error, name, settings))?;
        let mut own = settings.provider(&uri.provider);
        let mut defaults: SandboxConfig = settings.sandbox_defaults.clone();
        apply(uri, entry.target, &mut own, &mut defaults).map_err(|error| placed(error, name, settings))?;
        Ok(Client::from_arc((entry.build)(&own)?).defaults(defaults))
    }
}

/// Sets what a URI says: options of every provider's sandboxes, and settings of the one.
fn apply(
    uri: ProviderUri,
    target: UriTarget,
    own: &mut ProviderSettings,
    defaults: &mut SandboxConfig,
) -> Result<()> {
    let place = match target {
        UriTarget::Image => "image",
        UriTarget::Template => "template",
        UriTarget::Setting(key) => key,
    };
    let mut query = uri.query;
    query.sort_by_key(|(key, _)| !goes_first(key));
    for (key, value) in &query {
        if key == place && uri.target.is_some() {
            return Err(Error::config(format!("the {key} is given twice: before the `?` and behind it"))
                .hint("write it once")
                .option(key));
        }
        if !crate::config::apply_uri_option(defaults, key, value)? {
            own.set(key, value);
        }
    }
    if let Some(text) = uri.target {
        match target {
            UriTarget::Image => defaults.image = Some(text),
            UriTarget::Template => defaults.template = Some(text),
            UriTarget::Setting(key) => own.set(key, &text),
        }
    }
    Ok(())
}

/// Says where the default provider, which is at fault, was chosen; not when the caller has named another.
fn placed(error: Error, name: &str, settings: &Settings) -> Error {
    if name != settings.default_provider {
        return error;
    }
    let option = error.failed_option().map(|option| format!("option `{option}`: ")).unwrap_or_default();
    let message = format!("{}: default_provider: {option}{}", settings.chosen_by, error.message());
    let placed = Error::config(message);
    match error.remedy() {
        Some(remedy) => placed.hint(remedy),
        None => placed,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn registry() -> Registry {
        let build = |_: &ProviderSettings| Err(Error::unexpected("nothing is built here"));
        let entry = Entry { name: "here", about: "", target: UriTarget::Image, build };
        Registry::new([entry], ["here", "elsewhere"])
    }

    fn refusal(text: &str) -> String {
        let settings = Settings::parse(text, Path::new("test.toml"), &|_| None).unwrap();
        registry().client(&settings).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_provider_is_answered_with_those_there_are() {
        let error = refusal("default_provider = \"nowhere\"");
        assert!(error.contains("`nowhere`") && error.contains("enabled here: here"), "{error}");
        assert!(error.contains("elsewhere"), "{error}");
        assert!(error.starts_with("test.toml:1: "), "{error}");
    }

    #[test]
    fn a_fault_in_the_uri_of_the_default_provider_is_told_with_its_line() {
        for uri in ["here://x?memory=lots", "here://x?memory", "here://x?image=y"] {
            let error = refusal(&format!("\ndefault_provider = \"{uri}\""));
            assert!(error.starts_with("test.toml:2: default_provider: "), "{error}");
        }
    }

    #[test]
    fn a_uri_that_keeps_nothing_alive_takes_back_all_of_a_files_keep_alive() {
        for (uri, kept, cleaned) in [
            ("here://?keep_alive=false", false, true),
            ("here://?auto_cleanup=false&keep_alive=false", false, false),
            ("here://?keep_alive=true", true, false),
        ] {
            let mut defaults = SandboxConfig::default().keep_alive();
            let mut own = ProviderSettings::new("here");
            apply(uri.parse().unwrap(), UriTarget::Image, &mut own, &mut defaults).unwrap();
            assert_eq!((defaults.keep_alive, defaults.auto_cleanup), (kept, cleaned), "{uri}");
        }
    }

    #[test]
    fn a_program_without_providers_says_so() {
        let registry = Registry::new([], ["local"]);
        let error = registry.client(&Settings::default()).unwrap_err().to_string();
        assert!(error.contains("use one of: none"), "{error}");
    }

    #[test]
    fn a_provider_that_was_left_out_is_answered_with_its_feature() {
        let error = refusal("default_provider = \"elsewhere\"");
        assert!(error.contains("feature `elsewhere`"), "{error}");
    }

    #[test]
    fn an_entry_replaces_the_enabled_one_of_its_name_and_enables_nothing() {
        let build = |_: &ProviderSettings| Err(Error::unexpected("built another way"));
        let other = |name| Entry { name, about: "", target: UriTarget::Image, build };
        let registry = registry().replace(other("here")).replace(other("elsewhere"));
        assert_eq!(registry.entries().len(), 1);
        let settings =
            Settings::parse("default_provider = \"here\"", Path::new("test.toml"), &|_| None).unwrap();
        assert_eq!(registry.client(&settings).unwrap_err().to_string(), "built another way");
    }

    #[test]
    fn settings_of_a_misspelt_provider_are_not_ignored() {
        let error = refusal("default_provider = \"here\"\n[providers.heer]\nx = 1");
        assert!(error.starts_with("test.toml:2: providers.heer: "), "{error}");
    }

    #[test]
    fn settings_of_a_provider_that_was_left_out_are_no_fault() {
        let error = refusal("default_provider = \"here\"\n[providers.elsewhere]\nx = 1");
        assert_eq!(error, "nothing is built here");
    }
}
