//! What can be said without running anything of ours.

use std::collections::BTreeSet;

use crate::{Result, cargo, matrix, tidy};

/// Packages that a program depending on `grainchain-local` alone must not compile, by the beginnings of their names.
const NETWORK_STACK: &[&str] = &[
    "attohttpc",
    "aws-lc",
    "axum",
    "bollard",
    "curl",
    "grainchain-http",
    "h2",
    "h3",
    "http",
    "hyper",
    "isahc",
    "native-tls",
    "openssl",
    "quinn",
    "reqwest",
    "rustls",
    "tonic",
    "tower-http",
    "tungstenite",
    "ureq",
    "warp",
];

/// Every check, cheapest first.
pub(crate) fn all() -> Result {
    cargo::run(&["fmt", "--all", "--check"])?;
    tidy::run()?;
    dependencies()?;
    cargo::run(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])?;
    features()?;
    documentation()?;
    matrix::check()
}

/// Package by package: across a workspace features unify and hide mistakes.
pub(crate) fn features() -> Result {
    let packages = [
        ("grainchain-core", &[][..]),
        ("grainchain-guest", &["link"][..]),
        ("grainchain-local", &[][..]),
        ("grainchain-docker", &[][..]),
        ("grainchain-testkit", &[][..]),
        ("grainchain", &["local", "docker"][..]),
        ("grainchain-cli", &["local", "docker"][..]),
    ];
    for (package, features) in packages {
        cargo::run(&["check", "--quiet", "--package", package])?;
        if features.is_empty() {
            continue;
        }
        cargo::run(&["check", "--quiet", "--package", package, "--no-default-features"])?;
        for feature in features {
            cargo::run(&[
                "check",
                "--quiet",
                "--package",
                package,
                "--no-default-features",
                "--features",
                feature,
            ])?;
        }
        cargo::run(&["check", "--quiet", "--package", package, "--all-features"])?;
    }
    Ok(())
}

/// Proves what small programs need not compile.
fn dependencies() -> Result {
    let tree = cargo::output(&[
        "tree",
        "--package",
        "grainchain-local",
        "--edges",
        "normal,build",
        // On every system, not on this one alone.
        "--target",
        "all",
        "--prefix",
        "none",
    ])?;
    let compiled = without_network("grainchain-local", &tree)?;
    println!("\n── cargo tree: grainchain-local compiles {compiled} packages, none of them a network stack");
    Ok(())
}

/// Counts the packages in the `tree` of `package` as `cargo tree` prints it, none of which may be a network stack.
fn without_network(package: &str, tree: &str) -> Result<usize> {
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    // Nothing would be proved by something that is no tree.
    for expected in [package, "grainchain-core"] {
        if !names.contains(expected) {
            return Err(format!("`cargo tree` of {package} does not name {expected}"));
        }
    }
    let is_network = |name: &str| {
        NETWORK_STACK.iter().any(|stack| {
            name.strip_prefix(stack).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    let unwanted: Vec<_> = names.iter().filter(|name| is_network(name)).collect();
    if unwanted.is_empty() {
        return Ok(names.len());
    }
    Err(format!("{package} must not compile a network stack, but its tree has {unwanted:?}"))
}

fn documentation() -> Result {
    let mut command = cargo::cargo(&["doc", "--workspace", "--no-deps", "--quiet", "--exclude", "xtask"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    cargo::run_with(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "grainchain-local v0.1.0 (/somewhere)\ngrainchain-core v0.1.0 (/somewhere)\ntokio v1.0.0\ntokio v1.0.0 (*)\n";

    #[test]
    fn a_tree_without_a_network_stack_passes() {
        assert_eq!(without_network("grainchain-local", TREE), Ok(3));
    }

    #[test]
    fn a_network_stack_anywhere_in_the_tree_is_named() {
        for name in ["reqwest", "hyper-util", "http", "rustls-webpki", "grainchain-http"] {
            let error = without_network("grainchain-local", &format!("{TREE}{name} v1.0.0\n")).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn what_only_sounds_like_one_is_none() {
        assert_eq!(
            without_network("grainchain-local", &format!("{TREE}httpdate v1.0.0\nh2o v1.0.0\n")),
            Ok(5)
        );
    }

    #[test]
    fn an_empty_tree_proves_nothing() {
        assert!(without_network("grainchain-local", "").is_err());
        assert!(without_network("grainchain-local", "grainchain-local v0.1.0\n").is_err());
    }
}
