//! What no lint knows: names, sizes, documentation, and where things may stand.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Result, cargo};

/// A source file longer than this holds two subjects.
const LONGEST_FILE: usize = 500;

/// What may stand at the top level, dot-files aside.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "crates",
    "docs",
    "examples",
    "target",
    "tests",
    "xtask",
];

/// Files that every provider crate has.
const PROVIDER_FILES: &[&str] = &["config.rs", "lib.rs", "provider.rs", "sandbox.rs", "lifecycle.rs"];

/// Crates that are providers.
const PROVIDERS: &[&str] = &["docker", "local"];

/// Runs every check and names all faults at once.
pub(crate) fn run() -> Result {
    let root = cargo::root();
    let mut faults = Vec::new();
    top_level(&root, &mut faults)?;
    for file in sources(&root)? {
        let text = fs::read_to_string(&file).map_err(|error| format!("read {}: {error}", file.display()))?;
        let name = file.strip_prefix(&root).unwrap_or(&file).display().to_string();
        source(&name, &text, &mut faults);
    }
    crates(&root, &mut faults)?;
    if faults.is_empty() {
        println!("\n── tidy");
        return Ok(());
    }
    Err(format!("tidy found {}:\n  {}", faults.len(), faults.join("\n  ")))
}

fn top_level(root: &Path, faults: &mut Vec<String>) -> Result {
    for path in entries(root)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()) {
            faults.push(format!("{name}: the top level shows only what a newcomer should open"));
        }
    }
    Ok(())
}

fn source(name: &str, text: &str, faults: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        faults.push(format!("{name}: {lines} lines; past {LONGEST_FILE} it holds two subjects"));
    }
    let is_test = ["/tests/", "_tests/", "/tests.rs", "_tests.rs"].iter().any(|part| name.contains(part));
    let documented = is_test || text.starts_with("//!") || text.starts_with("#![doc = include_str!(");
    if !documented {
        faults.push(format!("{name}: begins without saying what the file is for (`//! …`)"));
    }
    let is_root = name.ends_with("/lib.rs") || name.ends_with("/mod.rs");
    if is_root && name.ends_with("/lib.rs") && lines > 150 {
        faults.push(format!("{name}: lib.rs declares, it does not work"));
    }
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let code = line.split("//").next().unwrap_or_default();
        if code.contains("#[ignore")
            && !code.contains("started by the other tests")
            && !name.starts_with("xtask/")
        {
            faults.push(format!(
                "{name}:{number}: an ignored test passes silently; make it run or say NOT RUN"
            ));
        }
        if code.contains("thread::sleep(") && !name.starts_with("xtask/") {
            faults.push(format!("{name}:{number}: wait for an event instead of sleeping"));
        }
        for word in ["TODO", "FIXME", "XXX"] {
            if line.contains(word) && !name.starts_with("xtask/") {
                faults.push(format!("{name}:{number}: {word} belongs into an issue"));
            }
        }
    }
}

fn crates(root: &Path, faults: &mut Vec<String>) -> Result {
    for folder in entries(&root.join("crates"))? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let manifest =
            fs::read_to_string(folder.join("Cargo.toml")).map_err(|error| format!("{name}: {error}"))?;
        if !manifest.contains(&format!("name = \"{name}\"")) {
            faults.push(format!("crates/{name}: a folder is named exactly as its package"));
        }
        if !folder.join("README.md").is_file() {
            faults.push(format!("crates/{name}: has no README.md, which is its documentation's first page"));
        }
        if !manifest.contains("[lints]\nworkspace = true") {
            faults.push(format!("crates/{name}/Cargo.toml: the lints are the workspace's"));
        }
        let versioned = manifest.lines().find(|line| line.contains("version = \"") && line.contains('{'));
        if let Some(line) = versioned {
            faults.push(format!("crates/{name}/Cargo.toml: versions stand once, in the root: {line}"));
        }
        features(&name, &manifest, &folder, faults)?;
    }
    let facets: Vec<String> = stems(&root.join("crates/grainchain-core/src/facet"))?;
    for provider in PROVIDERS {
        let source = root.join(format!("crates/grainchain-{provider}/src"));
        for file in PROVIDER_FILES {
            if !source.join(file).is_file() {
                faults.push(format!("crates/grainchain-{provider}/src/{file}: every provider has it"));
            }
        }
        if !root.join(format!("docs/providers/{provider}.md")).is_file() {
            faults.push(format!("docs/providers/{provider}.md: every provider has a page"));
        }
        for file in entries(&source)? {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let stem = file.file_stem().and_then(OsStr::to_str).unwrap_or_default().to_owned();
            let implements = text
                .lines()
                .filter_map(|line| line.strip_prefix("impl "))
                .filter_map(|line| line.split(' ').next());
            for facet in implements.map(snake).filter(|facet| facets.contains(facet)) {
                if stem != facet {
                    faults.push(format!(
                        "{}: the facet {facet} stands in {facet}.rs, as in core",
                        file.strip_prefix(root).unwrap_or(&file).display()
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Every feature is explained in the crate's README.
fn features(name: &str, manifest: &str, folder: &Path, faults: &mut Vec<String>) -> Result {
    let Some((_, section)) = manifest.split_once("[features]") else { return Ok(()) };
    let readme = fs::read_to_string(folder.join("README.md")).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    for feature in lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = ")) {
        let feature = feature.0.trim();
        if feature != "default" && !readme.contains(&format!("`{feature}`")) {
            faults.push(format!("crates/{name}/README.md: the feature `{feature}` is not explained"));
        }
    }
    Ok(())
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

fn stems(folder: &Path) -> Result<Vec<String>> {
    let files = entries(folder)?;
    Ok(files.iter().filter_map(|file| file.file_stem()?.to_str().map(str::to_owned)).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(folder).map_err(|error| format!("list {}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = listed.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    Ok(paths)
}

fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["crates", "examples", "tests", "xtask"].iter().map(|name| root.join(name)).collect();
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            if path.is_dir() && path.file_name() != Some(OsStr::new("target")) {
                folders.push(path);
            } else if path.extension() == Some(OsStr::new("rs")) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
