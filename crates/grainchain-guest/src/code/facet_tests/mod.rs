//! The facet as users meet it, with real interpreters.

mod attacks;
mod cells;
mod contexts;
mod ends;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use grainchain_core::facet::Code;
use grainchain_core::{
    CodeError, CodeEvent, CodeStream, ContextId, CreateContext, Error, ErrorKind, Language, MimeBundle,
    Result, RunCode,
};
use tempfile::TempDir;

use crate::{Guest, GuestConfig};

/// A limit for whatever has to happen at some time.
const LIMIT: Duration = Duration::from_secs(60);

/// A sandbox of its own; nothing of it is left at the end of the test.
struct Setup {
    guest: Guest,
    folder: TempDir,
    tag: u32,
}

impl Drop for Setup {
    fn drop(&mut self) {
        crate::kill_processes_of(self.tag).expect("everything ends");
    }
}

fn sandbox() -> Setup {
    sandbox_with_path("/usr/local/bin:/usr/bin:/bin")
}

fn sandbox_with_path(path: &str) -> Setup {
    let folder = TempDir::new().expect("a folder");
    let tag = getrandom::u32().expect("a number");
    let environment = BTreeMap::from([("PATH".to_owned(), path.to_owned())]);
    let guest = Guest::new(GuestConfig::new(folder.path(), tag).environment(environment)).expect("a guest");
    Setup { guest, folder, tag }
}

/// Whether the interpreter is on this machine. A test that cannot run says so.
fn has(language: Language) -> bool {
    let program = match language {
        Language::JavaScript => "node",
        Language::Bash => "bash",
        _ => "python3",
    };
    let found = ["/usr/local/bin", "/usr/bin", "/bin"]
        .iter()
        .any(|folder| std::path::Path::new(folder).join(program).exists());
    if !found {
        report(&format!("NOT RUN: THERE IS NO {program}"));
    }
    found
}

fn report(text: &str) {
    eprintln!("{text}");
}

/// What a run did, collected.
#[derive(Debug, Default)]
struct Cell {
    out: String,
    err: String,
    value: Option<MimeBundle>,
    displays: Vec<MimeBundle>,
    raised: Option<CodeError>,
    count: u64,
    failed: Option<Error>,
}

impl Cell {
    fn text(&self) -> &str {
        let value = self.value.as_ref().and_then(MimeBundle::text);
        value.unwrap_or_else(|| panic!("no value: {self:?}"))
    }

    fn raised(&self) -> (&str, &str) {
        let raised = self.raised.as_ref().unwrap_or_else(|| panic!("no error: {self:?}"));
        (&raised.name, &raised.value)
    }

    fn failed(&self) -> (ErrorKind, String) {
        let failed = self.failed.as_ref().unwrap_or_else(|| panic!("did not fail: {self:?}"));
        (failed.kind(), failed.to_string())
    }
}

async fn collect(mut events: CodeStream) -> Cell {
    let mut cell = Cell::default();
    let mut over = false;
    while let Some(event) = tokio::time::timeout(LIMIT, events.next()).await.expect("an event in time") {
        assert!(!over, "an event after the last: {event:?}");
        match event {
            Ok(CodeEvent::Stdout(bytes)) => cell.out.push_str(&String::from_utf8_lossy(&bytes)),
            Ok(CodeEvent::Stderr(bytes)) => cell.err.push_str(&String::from_utf8_lossy(&bytes)),
            Ok(CodeEvent::Display(bundle)) => cell.displays.push(bundle),
            Ok(CodeEvent::Value(bundle)) => assert!(cell.value.replace(bundle).is_none(), "two values"),
            Ok(CodeEvent::Raised(error)) => assert!(cell.raised.replace(error).is_none(), "two errors"),
            Ok(CodeEvent::Done { count }) => {
                cell.count = count;
                over = true;
            }
            Ok(other) => panic!("an unknown event: {other:?}"),
            Err(error) => {
                cell.failed = Some(error);
                over = true;
            }
        }
    }
    assert!(over, "no last event: {cell:?}");
    cell
}

impl Setup {
    async fn stream(&self, request: RunCode) -> Result<CodeStream> {
        tokio::time::timeout(LIMIT, self.guest.run_code(request)).await.expect("a start in time")
    }

    async fn request(&self, request: RunCode) -> Cell {
        collect(self.stream(request).await.unwrap()).await
    }

    async fn python(&self, code: &str) -> Cell {
        self.request(RunCode::new(code)).await
    }

    async fn run(&self, language: Language, code: &str) -> Cell {
        self.request(RunCode::new(code).language(language)).await
    }

    /// How many processes it has.
    fn alive(&self) -> usize {
        self.guest.pids().unwrap().len()
    }

    async fn create(&self, language: Language) -> ContextId {
        self.guest.create_context(CreateContext::new(language)).await.unwrap().id
    }
}

/// Reads events until stdout contains `text`.
async fn until_printed(events: &mut CodeStream, text: &str) {
    let mut out = String::new();
    while !out.contains(text) {
        match tokio::time::timeout(LIMIT, events.next()).await.expect("an event in time") {
            Some(Ok(CodeEvent::Stdout(bytes))) => out.push_str(&String::from_utf8_lossy(&bytes)),
            Some(Ok(_)) => {}
            other => panic!("it ended before it printed {text:?}: {other:?}, {out:?}"),
        }
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
