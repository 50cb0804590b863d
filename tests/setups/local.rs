//! Sandboxes on this machine.

use std::future::ready;
use std::sync::{Arc, OnceLock};

use grainchain_core::{Client, Error, Result};
use grainchain_local::{Local, LocalConfig};
use grainchain_testkit::{Bare, Setup, Tool};

use super::linked::Linked;

/// The provider `local` in a folder of its own, with the interpreters that this machine has.
pub(crate) fn setup() -> Setup {
    let tools = [Tool::Python, Tool::Node, Tool::Bash].into_iter().filter(|tool| installed(tool.as_str()));
    let provider = provider();
    Setup::new("local", move || ready(provider().map(Client::new)))
        .offers(tools)
        .probe(|mark| async move { processes(&mark) })
}

/// The same, with a link that breaks between the client and the inside of each sandbox.
pub(crate) fn linked() -> Setup {
    let tools = [Tool::Python, Tool::Node, Tool::Bash].into_iter().filter(|tool| installed(tool.as_str()));
    let provider = provider();
    Setup::new("linked", move || ready(provider().map(|local| Client::new(Linked::new(Arc::new(local))))))
        .offers(tools)
        .probe(|mark| async move { processes(&mark) })
}

/// The same with nothing but commands: the cases for what is not declared run here.
pub(crate) fn bare() -> Setup {
    let provider = provider();
    Setup::new("bare", move || ready(provider().map(|local| Client::new(Bare::new(Arc::new(local))))))
        .probe(|mark| async move { processes(&mark) })
}

/// Makes the provider, in a folder that goes when this goes.
fn provider() -> impl Fn() -> Result<Local> + Send + Sync + 'static {
    let folder = OnceLock::new();
    move || {
        let made = tempfile::tempdir().map_err(|error| Error::io("make a folder for sandboxes", error))?;
        let folder = folder.get_or_init(|| made);
        Local::new(LocalConfig::at(folder.path()))
    }
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// How many processes of this machine carry `mark` in their environment.
fn processes(mark: &str) -> Result<usize> {
    let entries = std::fs::read_dir("/proc").map_err(|error| Error::io("list processes", error))?;
    let wanted = format!("GRAINCHAIN_TESTKIT={mark}");
    let own = std::process::id().to_string();
    let marked = entries.filter_map(std::result::Result::ok).filter(|entry| {
        entry
            .file_name()
            .to_str()
            .is_some_and(|name| name != own && name.bytes().all(|byte| byte.is_ascii_digit()))
            && std::fs::read(entry.path().join("environ")).is_ok_and(|environment| {
                environment.split(|byte| *byte == 0).any(|line| line == wanted.as_bytes())
            })
    });
    Ok(marked.count())
}
