//! Builds the helper that runs in every sandbox: the program of `grainchain-guest`, static and small, for the platform that this crate
//! is built for. Elsewhere than on Linux, or without its sources beside this crate, there is none, and `guest = "helper"` says so.
//!
//! `GRAINCHAIN_HELPER` names a program that was built before, to be used instead.

#![expect(clippy::disallowed_methods, reason = "a build step is told everything by its environment")]

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

/// What a sandbox's first process may weigh: every engine is sent one.
const MOST_BYTES: u64 = 2 << 20;

fn main() -> Result {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=GRAINCHAIN_HELPER");
    println!("cargo::rustc-check-cfg=cfg(has_helper)");
    let program = match env::var_os("GRAINCHAIN_HELPER") {
        Some(given) => {
            println!("cargo::rerun-if-changed={}", given.display());
            Some(PathBuf::from(given))
        }
        None => build()?,
    };
    let Some(program) = program else { return Ok(()) };
    let size = fs::metadata(&program).map_err(|error| format!("{}: {error}", program.display()))?.len();
    if size > MOST_BYTES {
        return Err(format!("the helper has {size} bytes, more than {MOST_BYTES}").into());
    }
    fs::copy(&program, Path::new(&variable("OUT_DIR")?).join("helper"))?;
    println!("cargo::rustc-cfg=has_helper");
    Ok(())
}

/// The helper from the sources beside this crate; none where there are none, or where it could not run.
fn build() -> Result<Option<PathBuf>> {
    let crates = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("..");
    let guest = crates.join("grainchain-guest");
    if variable("CARGO_CFG_TARGET_OS")? != "linux" || !guest.join("Cargo.toml").is_file() {
        return Ok(None);
    }
    for sources in [
        "grainchain-guest/src",
        "grainchain-guest/Cargo.toml",
        "grainchain-core/src",
        "grainchain-core/Cargo.toml",
        "../Cargo.lock",
        "grainchain-docker/helper.ld",
    ] {
        let sources = crates.join(sources);
        println!("cargo::rerun-if-changed={}", sources.display());
    }
    let target = variable("TARGET")?;
    let folder = shared_folder(Path::new(&variable("OUT_DIR")?)).join("helper");
    let mut cargo = Command::new(variable("CARGO")?);
    // What the outer build sets is for the outer build: its flags, and a linter in the place of the compiler.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_") || text.starts_with("RUSTC") || text == "RUSTFLAGS" {
            let is_a_place =
                ["CARGO_HOME", "CARGO_NET_OFFLINE"].contains(&&*text) || text.starts_with("CARGO_REGISTR");
            if !is_a_place {
                cargo.env_remove(&name);
            }
        }
    }
    cargo
        .current_dir(&guest)
        .args(["build", "--locked", "--offline", "--quiet", "--profile", "helper", "--features", "helper"])
        .args(["--bin", "grainchain-helper", "--target", &target, "--target-dir"])
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&target)?.join("\x1f"));
    let status = cargo.status()?;
    if !status.success() {
        return Err(format!(
            "the helper cannot be built for {target} ({status}); GRAINCHAIN_HELPER may name one that was built elsewhere"
        )
        .into());
    }
    Ok(Some(folder.join(target).join("helper/grainchain-helper")))
}

fn flags(target: &str) -> Result<Vec<String>> {
    let mut flags: Vec<String> = [
        // Any image, also one without a loader, at a place that is decided now.
        "-Ctarget-feature=+crt-static",
        "-Crelocation-model=static",
        // It ends when it panics: nothing ever walks up the stack.
        "-Cforce-unwind-tables=no",
        "-Clink-arg=-Wl,-z,noseparate-code",
    ]
    .map(str::to_owned)
    .into();
    // The linker that comes with the compiler here folds equal functions, and leaves out what it is told to.
    if target == "x86_64-unknown-linux-gnu" {
        let script = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("helper.ld");
        flags.push("-Clink-arg=-Wl,--icf=all,--no-eh-frame-hdr".to_owned());
        flags.push(format!("-Clink-arg=-Wl,-T,{}", script.display()));
    }
    Ok(flags)
}

/// The target folder that all profiles share, so that the helper is built once and not once for each.
fn shared_folder(out: &Path) -> &Path {
    out.ancestors().filter(|folder| folder.join("CACHEDIR.TAG").is_file()).last().unwrap_or(out)
}

fn variable(name: &str) -> Result<String> {
    env::var(name).map_err(|error| format!("{name}: {error}").into())
}
