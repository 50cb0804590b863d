//! What a sandbox is told at its making, and what its commands see.

use std::collections::BTreeMap;

use grainchain_core::{Client, ErrorKind, NetworkPolicy, Sandbox, SandboxConfig};
use grainchain_local::{Local, LocalConfig};

use crate::world::{refused, run, world};

async fn environment(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let text = run(sandbox, "env").await;
    text.lines().filter_map(|line| line.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

#[tokio::test]
async fn commands_start_where_they_were_told() {
    let world = world();
    for (wanted, below) in [
        ("~", ""),
        ("~/", ""),
        (".", ""),
        ("~/a/b", "a/b"),
        ("a", "a"),
        ("a/b/", "a/b"),
        ("./a/./b", "a/b"),
        ("a b/é", "a b/é"),
        ("-", "-"),
    ] {
        let config = SandboxConfig::default().working_directory(wanted);
        let sandbox = world.client.create(config).await.unwrap();
        let workspace = world.folder(sandbox.id().as_str()).join("workspace");
        let expected = if below.is_empty() { workspace } else { workspace.join(below) };
        let expected = std::fs::canonicalize(expected).unwrap();
        assert_eq!(run(&sandbox, "pwd -P").await, expected.to_str().unwrap(), "{wanted}");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn working_directories_elsewhere_are_refused_by_name() {
    let world = world();
    let long = "x".repeat(300);
    for wanted in ["/", "/tmp", "..", "a/../..", "~root", "~//etc", "~/../x", "", "a\0b", &long] {
        let config = SandboxConfig::default().working_directory(wanted);
        let error = world.client.create(config).await.unwrap_err();
        assert_eq!(error.failed_option(), Some("working_directory"), "{wanted:?}: {error:#}");
    }
    assert!(world.ids().await.is_empty());
    assert!(world.limbo().is_empty());
}

#[tokio::test]
async fn commands_inherit_nothing_but_what_is_documented() {
    let world = world();
    let sandbox = world.client.create(SandboxConfig::default().env("OWN", "value")).await.unwrap();
    let seen = environment(&sandbox).await;
    // The shell adds the last ones by itself, the guest the mark.
    let known = [
        "GRAINCHAIN_COMMAND",
        "HOME",
        "LANG",
        "OWN",
        "PATH",
        "TMPDIR",
        "USER",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
    ];
    let unknown: Vec<_> = seen.keys().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let folder = world.folder(sandbox.id().as_str());
    assert_eq!(seen["HOME"], folder.join("workspace").to_str().unwrap());
    assert_eq!(seen["TMPDIR"], folder.join("tmp").to_str().unwrap());
    assert_eq!((seen["LANG"].as_str(), seen["OWN"].as_str()), ("C.UTF-8", "value"));
    assert_eq!(run(&sandbox, "touch \"$TMPDIR/x\" && echo here").await, "here");
}

#[tokio::test]
async fn further_variables_are_inherited_by_name_and_the_sandbox_overrides_them() {
    let world = world();
    let config = LocalConfig::at(world.root())
        .inherit("CARGO_PKG_NAME")
        .inherit("NOT_SET_ANYWHERE")
        .path("/bin:/usr/bin");
    let client = Client::new(Local::new(config).unwrap());
    let sandbox = client.create(SandboxConfig::default()).await.unwrap();
    let seen = environment(&sandbox).await;
    assert_eq!(seen["CARGO_PKG_NAME"], "grainchain-local");
    assert_eq!(seen["PATH"], "/bin:/usr/bin");
    assert!(!seen.contains_key("NOT_SET_ANYWHERE"));
    let config = SandboxConfig::default().env("CARGO_PKG_NAME", "own").env("HOME", "/");
    let sandbox = client.create(config).await.unwrap();
    let seen = environment(&sandbox).await;
    assert_eq!((seen["CARGO_PKG_NAME"].as_str(), seen["HOME"].as_str()), ("own", "/"));
}

#[tokio::test]
async fn options_that_local_cannot_honour_are_refused_by_name() {
    let world = world();
    let config = SandboxConfig::default;
    for (config, option) in [
        (SandboxConfig::image("python:3"), "image"),
        (SandboxConfig::template("x"), "template"),
        (config().memory_limit(grainchain_core::ByteSize::mib(1)), "memory_limit"),
        (config().cpu_limit(1.0), "cpu_limit"),
        (config().network(NetworkPolicy::Off), "network"),
        (config().network(NetworkPolicy::Allow(vec!["example.org".into()])), "network"),
        (config().provider_option("x", 1), "provider_config"),
    ] {
        let error = world.client.create(config).await.unwrap_err();
        assert_eq!((error.kind(), error.failed_option()), (ErrorKind::Unsupported, Some(option)));
    }
    world.client.create(config().network(NetworkPolicy::Open)).await.unwrap();
}

#[tokio::test]
async fn a_preview_is_this_machine_and_port_zero_is_none() {
    let world = world();
    let sandbox = world.sandbox().await;
    assert_eq!(sandbox.preview_url(8080).await.unwrap().url, "http://127.0.0.1:8080");
    refused(sandbox.preview_url(0).await, ErrorKind::BadRequest, "0");
    sandbox.close_port(8080).await.unwrap();
}

#[tokio::test]
async fn a_check_makes_the_root_and_names_what_is_missing() {
    let world = world();
    let config = LocalConfig::at(world.root()).path("/nowhere");
    let health = Client::new(Local::new(config).unwrap()).check().await.unwrap();
    assert!(health.notes.iter().any(|note| note.contains("not isolated")), "{health:?}");
    assert!(health.notes.iter().any(|note| note.contains("python3")), "{health:?}");
    assert!(world.root().is_dir());
}
