//! The umbrella crate as its users meet it. The environment belongs to a whole program, so that a program of its own meets each one:
//! this test binary, started again for a single test that says what it found.

#![expect(clippy::unwrap_used, reason = "in a test that is the failure")]

use std::path::Path;
use std::process::{Command, Stdio};

/// What the program of a test finds: the provider, or the error.
#[test]
#[ignore = "started by the other tests, as a program of its own"]
fn program() {
    let client = match std::env::var_os("ASKED_FOR") {
        Some(name) => grainchain::client_of(&name.to_string_lossy()),
        None => grainchain::client(),
    };
    match client {
        Ok(client) => println!(
            "[provider {} {:?}]",
            client.provider_info().name,
            client.default_config().environment_vars
        ),
        Err(error) => println!("[error {error}]"),
    }
}

/// Starts that program in `folder` with `variables` alone.
fn found(folder: &Path, variables: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "program", "--ignored", "--nocapture"])
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let begin = text.find('[').unwrap_or_else(|| panic!("the program said nothing: {text}"));
    text[begin..].lines().next().unwrap().to_owned()
}

fn with_file(text: &str, variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("grainchain.toml"), text).unwrap();
    found(folder.path(), variables)
}

#[test]
fn with_nothing_configured_the_provider_is_local() {
    let folder = tempfile::tempdir().unwrap();
    assert!(found(folder.path(), &[]).starts_with("[provider local"));
}

#[test]
fn the_file_in_the_working_directory_counts() {
    let said = with_file(
        "default_provider = \"local\"\n[sandbox_defaults]\nenvironment_vars = { A = \"b\" }\n",
        &[],
    );
    assert_eq!(said, "[provider local {\"A\": \"b\"}]");
}

#[test]
fn the_file_that_a_variable_names_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("elsewhere.toml");
    std::fs::write(&path, "[sandbox_defaults]\nenvironment_vars = { FROM = \"elsewhere\" }\n").unwrap();
    let said = found(folder.path(), &[("GRAINCHAIN_CONFIG", path.to_str().unwrap())]);
    assert!(said.contains("elsewhere"), "{said}");
}

#[test]
fn a_named_file_that_is_missing_is_an_error_and_not_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let said = found(folder.path(), &[("GRAINCHAIN_CONFIG", "/no/such/grainchain.toml")]);
    assert!(said.starts_with("[error") && said.contains("/no/such/grainchain.toml"), "{said}");
}

#[test]
fn a_variable_overrides_the_default_provider_of_the_file() {
    let said = with_file("default_provider = \"local\"\n", &[("GRAINCHAIN_DEFAULT_PROVIDER", "nowhere")]);
    assert!(said.starts_with("[error") && said.contains("nowhere"), "{said}");
}

#[test]
fn an_unknown_provider_is_answered_with_the_enabled_ones() {
    let folder = tempfile::tempdir().unwrap();
    let said = found(folder.path(), &[("ASKED_FOR", "locl")]);
    assert!(said.contains("`locl`") && said.contains("enabled here: local"), "{said}");
}

#[test]
fn a_uri_names_a_provider_and_its_options() {
    let folder = tempfile::tempdir().unwrap();
    let uri = format!("local://{}", folder.path().join("boxes").display());
    let said = found(folder.path(), &[("ASKED_FOR", &uri)]);
    assert!(said.starts_with("[provider local"), "{said}");
    let said = found(folder.path(), &[("ASKED_FOR", "local://?no_such_option=1")]);
    assert!(said.starts_with("[error") && said.contains("no_such_option"), "{said}");
}

#[test]
fn a_wrong_key_is_named_with_file_and_line() {
    let said = with_file("default_provider = \"local\"\n\n[providers.local]\nrooot = \"x\"\n", &[]);
    assert!(said.contains("grainchain.toml:4") && said.contains("rooot"), "{said}");
    let said = with_file("defualt_provider = \"local\"\n", &[]);
    assert!(said.contains("grainchain.toml:1") && said.contains("defualt_provider"), "{said}");
    let said = with_file("\n[sandbox_defaults]\ntimeot = 3\n", &[]);
    assert!(said.contains("grainchain.toml:3") && said.contains("timeot"), "{said}");
}

#[test]
fn broken_toml_is_named_with_file_and_line() {
    let said = with_file("default_provider = \"local\"\n[providers\n", &[]);
    assert!(said.starts_with("[error") && said.contains("grainchain.toml:2"), "{said}");
}

#[test]
fn a_missing_variable_is_named_with_file_line_and_key() {
    let said = with_file("[providers.local]\nroot = \"${NOT_SET_ANYWHERE}\"\n", &[]);
    assert!(
        said.contains("NOT_SET_ANYWHERE") && said.contains("grainchain.toml:2") && said.contains("root"),
        "{said}"
    );
    let said = with_file("[sandbox_defaults]\nenvironment_vars = { A = \"${NOT_SET:-fallback}\" }\n", &[]);
    assert_eq!(said, "[provider local {\"A\": \"fallback\"}]");
}

#[test]
fn a_secret_value_is_not_printed_with_the_error() {
    let said = with_file("[providers.local]\nrooot = \"${TOKEN}\"\n", &[("TOKEN", "hunter2")]);
    assert!(said.starts_with("[error") && !said.contains("hunter2"), "{said}");
}
