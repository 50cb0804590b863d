//! The settings in effect, each with its origin, and without secrets.

use grainchain::config::format_duration;
use grainchain::{NetworkPolicy, Result, SandboxConfig, Settings};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::exit::Failure;
use crate::output::{Printer, Table};

/// What stands for a secret.
const MASK: &str = "[redacted]";

/// The settings in effect.
#[derive(Debug, Serialize)]
pub(super) struct Effective {
    file: Option<String>,
    settings: Vec<Setting>,
}

#[derive(Debug, Serialize)]
struct Setting {
    key: String,
    value: Value,
    origin: String,
}

impl Effective {
    /// Prints them as a table.
    pub(super) fn show(&self, printer: Printer) -> Result<(), Failure> {
        let mut table = Table::new(["KEY", "VALUE", "ORIGIN"]);
        for setting in &self.settings {
            let value = match &setting.value {
                Value::String(text) => text.clone(),
                Value::Null => "none".to_owned(),
                other => other.to_string(),
            };
            table.row([&setting.key, &value, &setting.origin]);
        }
        printer.table(&table)
    }
}

/// What is in effect, with `said` chosen on the command line.
///
/// # Errors
///
/// Never for settings that were read; what cannot be shown is a fault of ours.
pub(super) fn effective(settings: &Settings, said: Option<&str>) -> Result<Effective> {
    let file = settings.file.as_ref().map(|file| file.display().to_string());
    let from_file = file.clone().unwrap_or_else(|| "default".to_owned());
    let (provider, origin) = match said {
        Some(said) => (said, "--provider"),
        None => (settings.default_provider.as_str(), settings.chosen_by.as_str()),
    };
    let mut all = vec![Setting {
        key: "default_provider".to_owned(),
        value: without_secrets(provider).into(),
        origin: origin.to_owned(),
    }];
    for own in settings.configured_providers() {
        let values: Map<String, Value> = own.parse()?;
        all.extend(values.into_iter().map(|(key, value)| Setting {
            value: masked(&key, value),
            key: format!("providers.{}.{key}", own.name()),
            origin: from_file.clone(),
        }));
    }
    let defaults = options(&SandboxConfig::default());
    for ((key, value), (_, default)) in options(&settings.sandbox_defaults).into_iter().zip(defaults) {
        let origin = if value == default { "default".to_owned() } else { from_file.clone() };
        all.push(Setting { key: format!("sandbox_defaults.{key}"), value, origin });
    }
    Ok(Effective { file, settings: all })
}

/// The options of sandboxes by name. Of variables only the names: their values may be anything.
fn options(config: &SandboxConfig) -> Vec<(&'static str, Value)> {
    let duration = |duration: Option<std::time::Duration>| duration.map(format_duration).into();
    let variables = config.environment_vars.keys().map(|name| (name.clone(), Value::from(MASK)));
    let network = match &config.network {
        NetworkPolicy::Default => Value::from("default"),
        NetworkPolicy::Off => Value::from("off"),
        NetworkPolicy::Open => Value::from("open"),
        NetworkPolicy::Allow(names) => serde_json::json!({ "allow": names }),
        _ => Value::from("unknown"),
    };
    vec![
        ("image", config.image.clone().into()),
        ("template", config.template.clone().into()),
        ("timeout", duration(config.timeout)),
        ("lifetime", duration(config.lifetime)),
        ("memory_limit", config.memory_limit.map(|limit| limit.to_string()).into()),
        ("cpu_limit", config.cpu_limit.into()),
        ("environment_vars", Value::Object(variables.collect())),
        ("working_directory", config.working_directory.clone().into()),
        ("auto_cleanup", config.auto_cleanup.into()),
        ("keep_alive", config.keep_alive.into()),
        (
            "metadata",
            config
                .metadata
                .iter()
                .map(|(key, value)| (key.clone(), masked(key, Value::from(value.as_str()))))
                .collect::<Map<_, _>>()
                .into(),
        ),
        ("network", network),
        ("provider_config", masked("", Value::Object(config.provider_config.clone()))),
    ]
}

/// Whether a value under this key is nobody's business.
fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["key", "token", "secret", "pass", "credential", "auth", "cookie", "private", "signature"]
        .iter()
        .any(|word| key.contains(word))
        || key
            .split(|character: char| !character.is_ascii_alphanumeric())
            .any(|word| matches!(word, "pat" | "pwd" | "pw"))
}

/// `value` with secrets masked, however deep they are.
fn masked(key: &str, value: Value) -> Value {
    if is_secret(key) {
        return MASK.into();
    }
    match value {
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| {
                let value = masked(&key, value);
                (key, value)
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.into_iter().map(|item| masked("", item)).collect::<Vec<_>>().into(),
        Value::String(text) => without_secrets(&text).into(),
        other => other,
    }
}

/// A text without the secrets that addresses carry: `https://user:password@host/?token=…` has two usual places for them.
fn without_secrets(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let end = place.find(['/', '#']).unwrap_or(place.len());
    let place = match place[..end].rsplit_once('@') {
        Some((_, host)) => format!("{MASK}@{host}{}", &place[end..]),
        None => place.to_owned(),
    };
    let Some(query) = query else { return format!("{scheme}://{place}") };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        // Percent signs may hide what a key is called.
        Some((key, _)) if is_secret(key) || key.contains('%') => format!("{key}={MASK}"),
        _ => pair.to_owned(),
    });
    format!("{scheme}://{place}?{}", pairs.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let settings = Settings::parse(text, std::path::Path::new("g.toml"), &|_| None).unwrap();
        serde_json::to_string(&effective(&settings, None).unwrap()).unwrap()
    }

    #[test]
    fn no_secret_is_shown_however_it_is_spelt_and_however_deep() {
        let text = r#"
            default_provider = "e2b://t?api_key=hunter2"
            [providers.e2b]
            api_key = "hunter2"
            AccessToken = "hunter2"
            proxy = "http://me:hunter2@proxy:3128/x"
            database = "postgres://db:5432/x?sslmode=on&password=hunter2"
            endpoint = "https://h/?p%61ssword=hunter2"
            vendor-pat = "hunter2"
            passphrase = "hunter2"
            nested = { list = [{ client_secret = "hunter2" }] }
            [sandbox_defaults]
            environment_vars = { DATABASE_URL = "hunter2" }
            metadata = { token = "hunter2" }
            provider_config = { registry_password = "hunter2" }
        "#;
        let shown = shown(text);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("DATABASE_URL") && shown.contains("proxy:3128/x"), "{shown}");
        assert!(shown.contains("db:5432/x?sslmode=on"), "{shown}");
    }

    #[test]
    fn what_is_no_secret_is_shown_with_its_origin() {
        let shown = shown("[providers.local]\nroot = \"/srv/boxes\"\n[sandbox_defaults]\ntimeout = 90\n");
        assert!(
            shown.contains(r#"{"key":"providers.local.root","value":"/srv/boxes","origin":"g.toml"}"#),
            "{shown}"
        );
        assert!(
            shown.contains(r#"{"key":"sandbox_defaults.timeout","value":"90s","origin":"g.toml"}"#),
            "{shown}"
        );
        assert!(
            shown.contains(r#"{"key":"sandbox_defaults.lifetime","value":"1h","origin":"default"}"#),
            "{shown}"
        );
    }
}
