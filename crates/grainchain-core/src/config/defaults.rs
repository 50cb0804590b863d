//! `[sandbox_defaults]` and the options of a URI: both end in a [`SandboxConfig`].

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::duration::parse_duration;
use crate::error::{Error, Result};
use crate::types::sandbox_config::{NetworkPolicy, SandboxConfig};

/// The keys of `[sandbox_defaults]`.
pub(super) const KEYS: &[&str] = &[
    "image",
    "template",
    "timeout",
    "lifetime",
    "memory_limit",
    "cpu_limit",
    "environment_vars",
    "working_directory",
    "auto_cleanup",
    "keep_alive",
    "metadata",
    "network",
    "provider_config",
];

/// Sets one option from its value in a file.
///
/// # Errors
///
/// The reason in words; the caller knows key, file and line.
pub(super) fn apply(config: &mut SandboxConfig, key: &str, value: Value) -> std::result::Result<(), String> {
    match key {
        "image" => config.image = Some(typed(value)?),
        "template" => config.template = Some(typed(value)?),
        "timeout" => config.timeout = duration(value)?,
        "lifetime" => config.lifetime = duration(value)?,
        "memory_limit" => config.memory_limit = Some(typed(value)?),
        "cpu_limit" => config.cpu_limit = Some(typed(value)?),
        "environment_vars" => config.environment_vars = typed(value)?,
        "working_directory" => config.working_directory = Some(typed(value)?),
        "auto_cleanup" => config.auto_cleanup = typed(value)?,
        "keep_alive" => {
            config.keep_alive = typed(value)?;
            config.auto_cleanup &= !config.keep_alive;
        }
        "metadata" => config.metadata = typed(value)?,
        "network" => config.network = network(value)?,
        "provider_config" => config.provider_config = typed(value)?,
        _ => return Err(format!("there is no such option; the options are {}", KEYS.join(", "))),
    }
    Ok(())
}

fn typed<T: DeserializeOwned>(value: Value) -> std::result::Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Seconds, a text such as `5m`, or `none` for no limit.
fn duration(value: Value) -> std::result::Result<Option<Duration>, String> {
    match value {
        Value::String(text) if text == "none" => Ok(None),
        Value::String(text) => parse_duration(&text).map(Some).map_err(|error| error.to_string()),
        Value::Number(number) => {
            parse_duration(&number.to_string()).map(Some).map_err(|error| error.to_string())
        }
        _ => Err("write seconds, a text such as \"5m\", or \"none\"".to_owned()),
    }
}

fn network(value: Value) -> std::result::Result<NetworkPolicy, String> {
    serde_json::from_value(value)
        .map_err(|_| "write \"default\", \"off\", \"open\" or { allow = [\"example.org\"] }".to_owned())
}

/// The name in a file of the option that a URI calls `key`.
pub(super) fn full_name(key: &str) -> &str {
    match key {
        "memory" => "memory_limit",
        "cpu" => "cpu_limit",
        "workdir" => "working_directory",
        other => other,
    }
}

/// Sets the option that a URI's query names; `false` when the option is not one of every provider's.
///
/// # Errors
///
/// `Config` naming the option.
pub fn apply_uri_option(config: &mut SandboxConfig, key: &str, value: &str) -> Result<bool> {
    let key = full_name(key);
    if !KEYS.contains(&key) || matches!(key, "environment_vars" | "metadata" | "provider_config") {
        return Ok(false);
    }
    let value = match key {
        "cpu_limit" | "auto_cleanup" | "keep_alive" => {
            serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))
        }
        _ => Value::String(value.to_owned()),
    };
    apply(config, key, value).map_err(|reason| Error::config(reason).option(key))?;
    Ok(true)
}
