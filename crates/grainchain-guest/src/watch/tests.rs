//! Every change is made by the test; events are awaited, never slept for.

mod storms;
mod trees;

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::StreamExt;
use grainchain_core::facet::Watch;
use grainchain_core::{WatchEvent, WatchKind, WatchPath, WatchStream};

use crate::testing::{TestGuest, within};

async fn watch(guest: &TestGuest, request: impl Into<WatchPath>) -> WatchStream {
    guest.watch(request.into()).await.unwrap()
}

async fn next(stream: &mut WatchStream) -> WatchEvent {
    within(stream.next()).await.expect("the stream ended").unwrap()
}

/// Everything up to the appearance of `path`.
async fn until(stream: &mut WatchStream, path: &str) -> Vec<WatchEvent> {
    let mut events = Vec::new();
    loop {
        let event = next(stream).await;
        let last = event.path == path && event.kind == WatchKind::Created;
        events.push(event);
        if last {
            return events;
        }
    }
}

fn told(events: &[WatchEvent]) -> Vec<String> {
    events
        .iter()
        .map(|event| match &event.kind {
            WatchKind::Created => format!("+{}", event.path),
            WatchKind::Removed => format!("-{}", event.path),
            WatchKind::Modified => format!("~{}", event.path),
            WatchKind::Attributes => format!("@{}", event.path),
            WatchKind::RenamedTo(to) => format!("{}>{to}", event.path),
            WatchKind::Overflow => "overflow".to_owned(),
            other => format!("{other:?}"),
        })
        .collect()
}

/// What somebody who only hears the events believes to be there.
#[derive(Debug, Default)]
struct Model {
    paths: BTreeSet<String>,
    overflows: usize,
}

impl Model {
    fn of(root: &Path) -> Self {
        let mut model = Self::default();
        model.look(root);
        model
    }

    /// Looks again at everything.
    fn look(&mut self, root: &Path) {
        self.paths.clear();
        let mut open = vec![root.to_owned()];
        while let Some(directory) = open.pop() {
            let Ok(entries) = std::fs::read_dir(&directory) else { continue };
            for entry in entries.flatten() {
                let path = entry.path();
                self.paths.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(path);
                }
            }
        }
    }

    fn hear(&mut self, event: &WatchEvent, root: &Path) {
        match &event.kind {
            WatchKind::Created => {
                self.paths.insert(event.path.clone());
            }
            WatchKind::Removed => drop(self.take(&event.path)),
            WatchKind::RenamedTo(to) => {
                let moved = self.take(&event.path);
                self.take(to);
                self.paths.insert(to.clone());
                self.paths.extend(moved.into_iter().map(|below| format!("{to}{below}")));
            }
            WatchKind::Overflow => {
                self.overflows += 1;
                self.look(root);
            }
            _ => {}
        }
    }

    /// Takes out a path and all below, and returns what followed the path in each.
    fn take(&mut self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        let gone: Vec<_> =
            self.paths.iter().filter(|other| *other == path || other.starts_with(&below)).cloned().collect();
        for other in &gone {
            self.paths.remove(other);
        }
        gone.into_iter().map(|other| other[path.len()..].to_owned()).collect()
    }
}
