//! Settings that are right and wrong.

use std::time::Duration;

use serde::Deserialize;

use super::*;
use crate::types::size::ByteSize;

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
fn the_file_of_the_documentation_is_understood() {
    let settings = parse(
        r#"
        default_provider = "e2b"
        [providers.e2b]
        api_key = "${KEY}"
        [sandbox_defaults]
        timeout = 180
        lifetime = "2h"
        memory_limit = "2GB"
        working_directory = "/workspace"
        auto_cleanup = true
        network = { allow = ["example.org"] }
        environment_vars = { A = "b" }
        "#,
    )
    .unwrap();
    assert_eq!(settings.default_provider, "e2b");
    assert_eq!(settings.provider("e2b").parse::<Own>().unwrap().api_key, "sesame");
    let defaults = &settings.sandbox_defaults;
    assert_eq!(defaults.timeout, Some(Duration::from_secs(180)));
    assert_eq!(defaults.lifetime, Some(Duration::from_secs(7200)));
    assert_eq!(defaults.memory_limit, Some(ByteSize::bytes(2_000_000_000)));
    assert!(!format!("{settings:?}").contains("sesame"));
}

#[test]
fn a_file_that_cannot_be_read_is_not_taken_for_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    assert!(!is_there(&path).unwrap());
    assert!(!is_there(&path.join("below")).unwrap());
    std::os::unix::fs::symlink("nothing", &path).unwrap();
    assert!(is_there(&path).unwrap_err().message().contains("a link to nothing"));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(is_there(&path).unwrap_err().remedy().is_some());
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    assert!(is_there(&path).unwrap());
}

#[test]
fn what_is_no_text_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    std::fs::write(&path, b"default_provider = \"x\"\n# caf\xe9\n").unwrap();
    let error = Settings::read(&path, &|_| None).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Config);
    assert_eq!(error.message(), format!("{}:2: this is not UTF-8 text", path.display()));
    let error = Settings::read(folder.path(), &|_| None).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Config, "{error}");
    let error = Settings::read(&folder.path().join("none"), &|_| None).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::NotFound, "{error}");
}

#[test]
fn every_fault_names_file_line_and_key() {
    for (text, place) in [
        ("\nnonsense = 1", "test.toml:2: nonsense"),
        ("a = \n", "test.toml:1"),
        ("[providers]\ne2b = 3", "test.toml:2: providers.e2b"),
        ("[sandbox_defaults]\n\nimages = \"x\"", "test.toml:3: sandbox_defaults.images"),
        ("[sandbox_defaults]\nmemory_limit = \"lots\"", "test.toml:2: sandbox_defaults.memory_limit"),
        ("[sandbox_defaults]\ntimeout = 0", "test.toml:2: sandbox_defaults"),
        (
            "[providers.x]\nkey = \"${MISSING}\"",
            "test.toml:2: providers.x.key: the environment variable MISSING",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Config);
        assert!(error.message().starts_with(place), "{error} for {text:?}");
    }
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

#[test]
fn debug_hides_the_options_of_a_provider_that_is_a_uri() {
    let settings = parse("default_provider = \"e2b://t?api_key=sesame\"").unwrap();
    assert!(!format!("{settings:?}").contains("sesame"), "{settings:?}");
}

#[test]
fn the_environment_overrides_the_default_provider() {
    let settings = parse("default_provider = \"e2b\"").unwrap();
    let settings =
        settings.overridden(&|name| (name == "GRAINCHAIN_DEFAULT_PROVIDER").then(|| "docker".to_owned()));
    assert_eq!(settings.default_provider, "docker");
}

#[test]
fn without_any_configuration_the_provider_is_local_and_says_so() {
    let settings = Settings::default();
    assert_eq!(settings.default_provider, "local");
    assert_eq!(settings.chosen_by, "nothing is configured");
}
