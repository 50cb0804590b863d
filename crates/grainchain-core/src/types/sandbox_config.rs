//! What a sandbox shall be like.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::types::command::validate_environment;
use crate::types::secret::Names;
use crate::types::size::ByteSize;

/// What the network of a sandbox may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NetworkPolicy {
    /// What the provider does by itself; its page says what that is.
    #[default]
    Default,
    /// Nothing.
    Off,
    /// Everything.
    Open,
    /// These host names (`*.example.org` for all below) and address ranges alone.
    Allow(Vec<String>),
}

/// A sandbox to create. Everything is optional; what a provider cannot honour it refuses by name.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct SandboxConfig {
    /// The image to start from, where sandboxes are containers.
    pub image: Option<String>,
    /// The provider's template to start from.
    pub template: Option<String>,
    /// The default timeout of `execute` and `run_code`: 300 s. None means that they may run as long as the sandbox lives.
    pub timeout: Option<Duration>,
    /// How long the sandbox lives: one hour by default. None means until it is closed, where the provider allows that.
    pub lifetime: Option<Duration>,
    /// How much memory all its processes may use.
    pub memory_limit: Option<ByteSize>,
    /// How many processors it may use; `0.5` is half of one.
    pub cpu_limit: Option<f64>,
    /// Variables of every command.
    pub environment_vars: BTreeMap<String, String>,
    /// Where commands start, made when missing; the provider's own place by default.
    pub working_directory: Option<String>,
    /// Whether it is removed when its client is gone; yes by default. `false` asks the provider for `keep_alive`.
    pub auto_cleanup: bool,
    /// Whether it outlives its client, to be found again with `connect`; no by default.
    pub keep_alive: bool,
    /// Labels of the user's own.
    pub metadata: BTreeMap<String, String>,
    /// What its network may reach.
    pub network: NetworkPolicy,
    /// Options of the one provider, by the names on its page; unknown ones are refused.
    pub provider_config: serde_json::Map<String, serde_json::Value>,
}

impl fmt::Debug for SandboxConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxConfig")
            .field("image", &self.image)
            .field("template", &self.template)
            .field("timeout", &self.timeout)
            .field("lifetime", &self.lifetime)
            .field("memory_limit", &self.memory_limit)
            .field("cpu_limit", &self.cpu_limit)
            .field("environment_vars", &Names(self.environment_vars.keys()))
            .field("working_directory", &self.working_directory)
            .field("auto_cleanup", &self.auto_cleanup)
            .field("keep_alive", &self.keep_alive)
            .field("metadata", &self.metadata)
            .field("network", &self.network)
            .field("provider_config", &Names(self.provider_config.keys()))
            .finish()
    }
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            image: None,
            template: None,
            timeout: Some(Duration::from_secs(300)),
            lifetime: Some(Duration::from_secs(3600)),
            memory_limit: None,
            cpu_limit: None,
            environment_vars: BTreeMap::new(),
            working_directory: None,
            auto_cleanup: true,
            keep_alive: false,
            metadata: BTreeMap::new(),
            network: NetworkPolicy::Default,
            provider_config: serde_json::Map::new(),
        }
    }
}

impl SandboxConfig {
    /// A sandbox of `image`.
    pub fn image(image: impl Into<String>) -> Self {
        Self { image: Some(image.into()), ..Self::default() }
    }

    /// A sandbox of the provider's `template`.
    pub fn template(template: impl Into<String>) -> Self {
        Self { template: Some(template.into()), ..Self::default() }
    }

    /// Sets the default timeout of commands and code.
    #[must_use]
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Sets how long it lives.
    #[must_use]
    pub fn lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> Self {
        self.lifetime = lifetime.into();
        self
    }

    /// Limits its memory.
    #[must_use]
    pub fn memory_limit(mut self, limit: ByteSize) -> Self {
        self.memory_limit = Some(limit);
        self
    }

    /// Limits its processors.
    #[must_use]
    pub fn cpu_limit(mut self, processors: f64) -> Self {
        self.cpu_limit = Some(processors);
        self
    }

    /// Sets a variable of every command.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment_vars.insert(name.into(), value.into());
        self
    }

    /// Sets where commands start.
    #[must_use]
    pub fn working_directory(mut self, path: impl Into<String>) -> Self {
        self.working_directory = Some(path.into());
        self
    }

    /// Lets it outlive its client.
    #[must_use]
    pub fn keep_alive(mut self) -> Self {
        self.keep_alive = true;
        self.auto_cleanup = false;
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Sets what its network may reach.
    #[must_use]
    pub fn network(mut self, policy: NetworkPolicy) -> Self {
        self.network = policy;
        self
    }

    /// Sets an option of the one provider.
    #[must_use]
    pub fn provider_option(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.provider_config.insert(name.into(), value.into());
        self
    }

    /// The options that ask for something of the provider; those at their defaults ask for nothing.
    pub fn used_options(&self) -> Vec<ConfigOption> {
        let default = Self::default();
        let mut used = Vec::new();
        let mut note = |is_used: bool, option| {
            if is_used {
                used.push(option);
            }
        };
        note(self.image.is_some(), ConfigOption::Image);
        note(self.template.is_some(), ConfigOption::Template);
        note(self.lifetime != default.lifetime, ConfigOption::Lifetime);
        note(self.memory_limit.is_some(), ConfigOption::MemoryLimit);
        note(self.cpu_limit.is_some(), ConfigOption::CpuLimit);
        note(!self.environment_vars.is_empty(), ConfigOption::EnvironmentVars);
        note(self.working_directory.is_some(), ConfigOption::WorkingDirectory);
        // Without cleaning up it outlives its client as well: the same favour, asked for in other words.
        note(self.keep_alive || !self.auto_cleanup, ConfigOption::KeepAlive);
        note(!self.metadata.is_empty(), ConfigOption::Metadata);
        note(self.network == NetworkPolicy::Off, ConfigOption::NetworkOff);
        note(self.network == NetworkPolicy::Open, ConfigOption::NetworkOpen);
        note(matches!(self.network, NetworkPolicy::Allow(_)), ConfigOption::NetworkAllow);
        note(!self.provider_config.is_empty(), ConfigOption::ProviderConfig);
        used
    }

    /// Refuses what no provider could honour.
    ///
    /// # Errors
    ///
    /// `BadRequest` naming the option.
    pub fn validate(&self) -> Result<()> {
        validate_environment(&self.environment_vars).map_err(|error| error.option("environment_vars"))?;
        if self.cpu_limit.is_some_and(|limit| !limit.is_finite() || limit <= 0.0) {
            return Err(Error::bad_request("a sandbox needs more than no processor")
                .hint("write a number above zero, as in 0.5")
                .option("cpu_limit"));
        }
        if self.memory_limit == Some(ByteSize::bytes(0)) {
            return Err(Error::bad_request("a sandbox needs more than no memory")
                .hint("write a size above zero, as in 512MiB")
                .option("memory_limit"));
        }
        for (option, duration) in [("timeout", self.timeout), ("lifetime", self.lifetime)] {
            if duration == Some(Duration::ZERO) {
                return Err(Error::bad_request("zero leaves no time for anything")
                    .hint("leave it out for the default, or set none for no limit")
                    .option(option));
            }
        }
        let texts = [
            ("image", &self.image),
            ("template", &self.template),
            ("working_directory", &self.working_directory),
        ];
        for (option, text) in texts {
            if text.as_ref().is_some_and(|text| text.is_empty() || text.contains('\0')) {
                return Err(Error::bad_request("the value is empty or holds a NUL byte")
                    .hint("name one, or leave the option out")
                    .option(option));
            }
        }
        if self.keep_alive && self.auto_cleanup {
            return Err(Error::bad_request(
                "a sandbox cannot both outlive its client and be removed with it",
            )
            .hint("set auto_cleanup to false as well")
            .option("keep_alive"));
        }
        Ok(())
    }
}

/// An option of [`SandboxConfig`] that a provider honours or refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConfigOption {
    /// `image`
    Image,
    /// `template`
    Template,
    /// `lifetime`
    Lifetime,
    /// `memory_limit`
    MemoryLimit,
    /// `cpu_limit`
    CpuLimit,
    /// `environment_vars`
    EnvironmentVars,
    /// `working_directory`
    WorkingDirectory,
    /// `keep_alive`
    KeepAlive,
    /// `metadata`
    Metadata,
    /// `network = off`
    NetworkOff,
    /// `network = open`
    NetworkOpen,
    /// `network = allow`
    NetworkAllow,
    /// `provider_config`
    ProviderConfig,
}

impl ConfigOption {
    /// The option as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Template => "template",
            Self::Lifetime => "lifetime",
            Self::MemoryLimit => "memory_limit",
            Self::CpuLimit => "cpu_limit",
            Self::EnvironmentVars => "environment_vars",
            Self::WorkingDirectory => "working_directory",
            Self::KeepAlive => "keep_alive",
            Self::Metadata => "metadata",
            Self::NetworkOff | Self::NetworkOpen | Self::NetworkAllow => "network",
            Self::ProviderConfig => "provider_config",
        }
    }
}

/// The option, with its value where providers differ by value: `network = off`.
impl fmt::Display for ConfigOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetworkOff => "network = off",
            Self::NetworkOpen => "network = open",
            Self::NetworkAllow => "network = allow",
            other => other.as_str(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_asks_for_nothing_and_is_valid() {
        assert!(SandboxConfig::default().used_options().is_empty());
        SandboxConfig::default().validate().unwrap();
        SandboxConfig::default().keep_alive().validate().unwrap();
    }

    #[test]
    fn a_sandbox_that_is_not_cleaned_up_asks_for_what_a_kept_one_asks_for() {
        let config = SandboxConfig { auto_cleanup: false, ..SandboxConfig::default() };
        assert_eq!(config.used_options(), [ConfigOption::KeepAlive]);
    }

    #[test]
    fn zero_is_not_taken_for_the_default() {
        let error = SandboxConfig::default().timeout(Duration::ZERO).validate().unwrap_err();
        assert_eq!(error.failed_option(), Some("timeout"));
    }

    #[test]
    fn debug_tells_the_names_of_variables_and_of_the_providers_options_alone() {
        let config = SandboxConfig::default().env("TOKEN", "hunter2").provider_option("password", "hunter2");
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("TOKEN") && shown.contains("password"), "{shown}");
    }

    #[test]
    fn every_option_that_is_set_is_reported_as_used() {
        let config = SandboxConfig::image("a")
            .memory_limit(ByteSize::gib(1))
            .env("A", "b")
            .network(NetworkPolicy::Off)
            .provider_option("x", 1);
        let used = config.used_options();
        assert_eq!(used.len(), 5, "{used:?}");
    }
}
