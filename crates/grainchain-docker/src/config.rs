//! Which engine, and what containers are like by default: the only reader of the environment.

use std::path::PathBuf;

use grainchain_core::config::environment;
use grainchain_core::{ByteSize, Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::engine::Surroundings;
use crate::options::ContainerOptions;

/// The image of sandboxes that name none.
pub const DEFAULT_IMAGE: &str = "python:3.12-slim";

/// What runs commands inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum GuestKind {
    /// A small static program of ours is the container's first process and serves every facet.
    #[default]
    Helper,
    /// The engine's own exec: commands that run to their end, and what the engine does by itself. Works on every platform, needs
    /// `sleep` in the image (and `sh` to kill what a timeout leaves), and takes some fifty times as long for each command.
    Engine,
}

/// The settings of `[providers.docker]`. Everything has a default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
#[non_exhaustive]
pub struct DockerConfig {
    /// The engine, as in `DOCKER_HOST`. By default that variable, `DOCKER_CONTEXT`, the docker command's current context, then the
    /// usual sockets.
    pub host: Option<String>,
    /// The folder of `ca.pem`, `cert.pem` and `key.pem`: the engine, which must be a `tcp://` one, is reached by TLS. By default
    /// `DOCKER_CERT_PATH` if `DOCKER_TLS_VERIFY` is set, or what belongs to the context.
    pub cert_path: Option<PathBuf>,
    /// The image of sandboxes that name none: `python:3.12-slim`.
    pub image: Option<String>,
    /// What runs commands inside.
    pub guest: GuestKind,
    /// Whether helpers are reached without the engine in between where that is possible, which makes everything faster: this program
    /// is root on the engine's machine, and enters a sandbox's network for a moment to open a socket. By default they are.
    pub shortcut: Option<bool>,
    /// The memory of sandboxes that name none: 2 GiB.
    pub memory: Option<ByteSize>,
    /// The processors of sandboxes that name none: all.
    pub cpus: Option<f64>,
    /// How many layers the image of a snapshot or a copy may have before one is made of them: 120. Storage stacks some more.
    pub max_layers: Option<usize>,
    /// The options of containers that `provider_config` does not set.
    pub container: ContainerOptions,
}

/// The keys that are the provider's own; all others are options of containers.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Own {
    host: Option<String>,
    cert_path: Option<PathBuf>,
    image: Option<String>,
    guest: GuestKind,
    shortcut: Option<bool>,
    memory: Option<ByteSize>,
    cpus: Option<f64>,
    max_layers: Option<usize>,
}

const OWN: &[&str] = &["host", "cert_path", "image", "guest", "shortcut", "memory", "cpus", "max_layers"];

impl TryFrom<Map<String, Value>> for DockerConfig {
    type Error = String;

    fn try_from(values: Map<String, Value>) -> std::result::Result<Self, String> {
        let (own, rest): (Map<_, _>, Map<_, _>) =
            values.into_iter().partition(|(key, _)| OWN.contains(&key.as_str()));
        let own: Own = serde_json::from_value(Value::Object(own)).map_err(|error| error.to_string())?;
        let keys: Vec<_> = rest.keys().cloned().collect();
        let container = serde_json::from_value(Value::Object(rest))
            .map_err(|error| with_own_keys(error.to_string(), &keys))?;
        let Own { host, cert_path, image, guest, shortcut, memory, cpus, max_layers } = own;
        Ok(Self { host, cert_path, image, guest, shortcut, memory, cpus, max_layers, container })
    }
}

/// Adds our own keys to those that a refusal of one of `keys` says would have been right; inside of an option they would be wrong.
fn with_own_keys(refusal: String, keys: &[String]) -> String {
    let own: Vec<_> = OWN.iter().map(|key| format!("`{key}`")).collect();
    match keys.iter().find(|key| refusal.starts_with(&format!("unknown field `{key}`"))) {
        Some(_) => refusal.replacen("expected one of ", &format!("expected one of {}, ", own.join(", ")), 1),
        None => refusal,
    }
}

impl DockerConfig {
    /// Sandboxes at the engine that `host` names, as in `DOCKER_HOST`.
    pub fn at(host: impl Into<String>) -> Self {
        Self { host: Some(host.into()), ..Self::default() }
    }

    /// Sets the folder of the certificates for TLS to the engine.
    #[must_use]
    pub fn cert_path(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cert_path = Some(folder.into());
        self
    }

    /// Sets the image of sandboxes that name none.
    #[must_use]
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = Some(image.into());
        self
    }

    /// Sets what runs commands inside.
    #[must_use]
    pub fn guest(mut self, guest: GuestKind) -> Self {
        self.guest = guest;
        self
    }

    /// Sets whether helpers are reached without the engine in between where that is possible.
    #[must_use]
    pub fn shortcut(mut self, shortcut: bool) -> Self {
        self.shortcut = Some(shortcut);
        self
    }

    /// Sets how many layers the image of a snapshot or a copy may have before one is made of them.
    #[must_use]
    pub fn max_layers(mut self, layers: usize) -> Self {
        self.max_layers = Some(layers);
        self
    }

    /// Sets the options of containers that `provider_config` does not set.
    #[must_use]
    pub fn container(mut self, options: ContainerOptions) -> Self {
        self.container = options;
        self
    }

    /// Refuses settings that no sandbox could have, before the first is made.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.cpus.is_some_and(|cpus| !cpus.is_finite() || cpus <= 0.0) {
            return Err(Error::config("a sandbox needs more than no processor")
                .hint("write a number above zero, as in 0.5")
                .option("cpus"));
        }
        if let Some(image) = &self.image {
            crate::engine::reference(image)?;
        }
        self.container.validate()
    }

    /// What the engine is looked for with.
    pub(crate) fn surroundings(&self) -> Surroundings {
        let folder = |name: &str| environment(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let is_set = |name: &str| environment(name).is_some_and(|value| !value.is_empty());
        let home = folder("HOME");
        Surroundings {
            configured: self.host.clone(),
            docker_host: environment("DOCKER_HOST"),
            docker_context: environment("DOCKER_CONTEXT"),
            cert_path: self.cert_path.clone(),
            tls_verify: is_set("DOCKER_TLS_VERIFY"),
            tls: is_set("DOCKER_TLS"),
            docker_cert_path: folder("DOCKER_CERT_PATH"),
            config_folder: config_folder(),
            home,
            runtime_folder: folder("XDG_RUNTIME_DIR"),
        }
    }
}

/// The folder of the docker command's own configuration.
pub(crate) fn config_folder() -> Option<PathBuf> {
    let named = environment("DOCKER_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".docker")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_settings_of_the_provider_and_of_its_containers_stand_in_one_table() {
        let config: DockerConfig = serde_json::from_value(
            json!({ "image": "alpine:3", "guest": "engine", "memory": "1GiB", "pids": 64, "network": "bridge" }),
        )
        .unwrap();
        assert_eq!((config.image.as_deref(), config.guest), (Some("alpine:3"), GuestKind::Engine));
        assert_eq!((config.memory, config.container.pids), (Some(ByteSize::gib(1)), Some(64)));
        assert_eq!(config.container.network.as_deref(), Some("bridge"));
    }

    #[test]
    fn an_unknown_setting_is_refused_by_name() {
        let error =
            serde_json::from_value::<DockerConfig>(json!({ "privilegd": true })).unwrap_err().to_string();
        assert!(error.contains("`privilegd`"), "{error}");
        // The right words are named, ours as well as those of containers, but not where they would be wrong.
        assert!(error.contains("`image`, ") && error.contains("`pids`, "), "{error}");
        let error = serde_json::from_value::<DockerConfig>(json!({ "ulimits": [{ "hrd": 1 }] })).unwrap_err();
        assert!(!error.to_string().contains("`image`"), "{error}");
    }

    #[test]
    fn settings_that_no_sandbox_could_have_are_refused_before_the_first() {
        let config: DockerConfig = serde_json::from_value(json!({ "cpus": 0 })).unwrap();
        assert_eq!(config.validate().unwrap_err().failed_option(), Some("cpus"));
        let config: DockerConfig = serde_json::from_value(json!({ "image": "a b" })).unwrap();
        assert_eq!(config.validate().unwrap_err().failed_option(), Some("image"));
    }
}
