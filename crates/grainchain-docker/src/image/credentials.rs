//! How to log in to a registry, from the docker command's configuration and its helpers.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use grainchain_core::{Error, ErrorKind, Result, Secret};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::engine::{Credentials, read_config};

/// How the docker command names its own registry.
const HUB: &str = "https://index.docker.io/v1/";

/// How long a helper may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The credentials for the registry of `reference`; none when nobody logged in.
///
/// # Errors
///
/// `Config` when the configuration or a helper is broken: going on without them would hide why the registry refuses.
pub(super) async fn of(folder: &Path, reference: &str) -> Result<Option<Credentials>> {
    let config = {
        let folder = folder.to_owned();
        grainchain_core::blocking::run(move || read_config(&folder)).await?
    };
    let registry = registry(reference);
    let helper = config["credHelpers"][registry].as_str().or_else(|| config["credsStore"].as_str());
    match helper.filter(|helper| !helper.is_empty()) {
        Some(helper) => ask(helper, registry).await,
        None => Ok(entry(&config["auths"][registry])),
    }
}

/// The registry as the configuration names it.
fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host == "docker.io" || host == "index.docker.io" => HUB,
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB,
    }
}

fn entry(entry: &Value) -> Option<Credentials> {
    if let Some(token) = entry["identitytoken"].as_str().filter(|token| !token.is_empty()) {
        return Some(Credentials::Token(Secret::new(token)));
    }
    let joined = String::from_utf8(STANDARD.decode(entry["auth"].as_str()?.trim()).ok()?).ok()?;
    let (username, password) = joined.split_once(':')?;
    Some(Credentials::Password { username: username.to_owned(), password: Secret::new(password) })
}

async fn ask(helper: &str, registry: &str) -> Result<Option<Credentials>> {
    let program = format!("docker-credential-{helper}");
    let wrong = |reason: String| {
        Error::config(format!("the credential helper `{program}` cannot be used: {reason}"))
            .hint("mend it, or remove it from the docker command's config.json")
    };
    if helper.contains('/') {
        return Err(wrong("its name is a path".to_owned()));
    }
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| wrong(error.to_string()))?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read has no need to know.
        input.write_all(registry.as_bytes()).await.ok();
    }
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .map_err(|_| {
            Error::new(
                ErrorKind::Timeout,
                format!("the credential helper `{program}` gave no answer within {PATIENCE:?}"),
            )
        })?
        .map_err(|error| wrong(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        // That is how helpers say that nobody logged in.
        return if said.contains("credentials not found") {
            Ok(None)
        } else {
            Err(wrong(format!("it ended with {}", output.status)))
        };
    }
    let answer: Value = serde_json::from_str(&said).map_err(|_| wrong("its answer is no JSON".to_owned()))?;
    let (Some(username), Some(secret)) = (answer["Username"].as_str(), answer["Secret"].as_str()) else {
        return Err(wrong("its answer names no user".to_owned()));
    };
    Ok(Some(match username {
        "<token>" => Credentials::Token(Secret::new(secret)),
        _ => Credentials::Password { username: username.to_owned(), password: Secret::new(secret) },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_named_as_the_docker_command_names_them() {
        for (reference, name) in [
            ("python:3", HUB),
            ("library/python:3", HUB),
            ("docker.io/library/python", HUB),
            ("ghcr.io/a/b:1", "ghcr.io"),
            ("localhost:5000/a", "localhost:5000"),
            ("localhost/a", "localhost"),
        ] {
            assert_eq!(registry(reference), name, "{reference}");
        }
    }

    #[tokio::test]
    async fn names_and_passwords_are_found_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let auth = STANDARD.encode("me:hunter2:x");
        let config = serde_json::json!({ "auths": { "ghcr.io": { "auth": auth } } });
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let found = of(folder.path(), "ghcr.io/a/b:1").await.unwrap();
        assert!(!format!("{found:?}").contains("hunter2"));
        let Some(Credentials::Password { username, password }) = found else { panic!("none found") };
        assert_eq!((username.as_str(), password.expose()), ("me", "hunter2:x"));
        assert!(of(folder.path(), "python:3").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_helper_that_is_missing_is_an_error_and_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), r#"{"credsStore": "no-such-helper"}"#).unwrap();
        let error = of(folder.path(), "python:3").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("docker-credential-no-such-helper"), "{error}");
    }
}
