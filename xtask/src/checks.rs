//! What can be said without running anything of ours.

use crate::{Result, cargo, matrix, tidy};

/// Packages that a program depending on `grainchain-local` alone must not compile.
const NETWORK_STACK: &[&str] =
    &["hyper", "reqwest", "rustls", "native-tls", "h2", "openssl", "bollard", "tonic"];

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
        ("grainchain-testkit", &[][..]),
        ("grainchain", &["local"][..]),
        ("grainchain-cli", &["local"][..]),
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
        "--prefix",
        "none",
    ])?;
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let unwanted: Vec<_> = NETWORK_STACK.iter().filter(|name| names.contains(name)).collect();
    if !unwanted.is_empty() {
        return Err(format!(
            "grainchain-local must not compile a network stack, but its tree has {unwanted:?}"
        ));
    }
    let mut distinct = names;
    distinct.sort_unstable();
    distinct.dedup();
    println!(
        "\n── cargo tree: grainchain-local compiles {} packages, none of them a network stack",
        distinct.len()
    );
    Ok(())
}

fn documentation() -> Result {
    let mut command = cargo::cargo(&["doc", "--workspace", "--no-deps", "--quiet", "--exclude", "xtask"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    cargo::run_with(&mut command)
}
