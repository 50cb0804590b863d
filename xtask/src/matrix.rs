//! `docs/capabilities.md`, generated from what the providers declare and conformance measures.

use std::fs;

use crate::{Result, cargo};

const PAGE: &str = "docs/capabilities.md";

fn generate() -> Result<String> {
    cargo::output(&["run", "--quiet", "--package", "grainchain-tests", "--bin", "matrix"])
}

/// Writes the page.
pub(crate) fn write() -> Result {
    fs::write(cargo::root().join(PAGE), generate()?).map_err(|error| format!("write {PAGE}: {error}"))?;
    println!("wrote {PAGE}");
    Ok(())
}

/// Compares the page with what would be written.
pub(crate) fn check() -> Result {
    let page =
        fs::read_to_string(cargo::root().join(PAGE)).map_err(|error| format!("read {PAGE}: {error}"))?;
    if page == generate()? {
        println!("\n── {PAGE} is up to date");
        return Ok(());
    }
    Err(format!("{PAGE} is not what the providers declare; run `cargo xtask matrix`"))
}
