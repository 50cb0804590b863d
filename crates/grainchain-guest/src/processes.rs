//! Commands that run beside the caller.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use grainchain_core::facet::Processes;
use grainchain_core::types::process::ProcessControl;
use grainchain_core::{
    Command, Error, OutputStream, Process, ProcessId, ProcessInfo, ProcessState, Program, Result,
};
use tokio::time::Instant;

use crate::ending;
use crate::guest::Guest;
use crate::start::{Input, Keyboard, Started};
use crate::sys::pipe::Capacity;
use crate::sys::scan::{Depth, Selector};
use crate::sys::tree;

mod control;
mod events;
mod journal;
mod pump;
mod record;

#[cfg(test)]
mod tests;

use events::Events;
use pump::{Pump, Stream};
use record::Record;

/// How many processes that have ended wait for somebody to fetch their result.
const FINISHED: usize = 256;
/// How many characters of a command line a list shows.
const SHOWN: usize = 200;

/// The processes whose result was not fetched yet.
#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    all: BTreeMap<ProcessId, Arc<Record>>,
    /// In the order of their end.
    finished: VecDeque<ProcessId>,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has ended; the oldest that nobody wanted is forgotten.
    fn finished(&self, record: &Record) {
        let mut forgotten = None;
        let mut table = self.lock();
        if !table.all.contains_key(&record.id) || table.finished.contains(&record.id) {
            return;
        }
        table.finished.push_back(record.id.clone());
        if table.finished.len() > FINISHED
            && let Some(oldest) = table.finished.pop_front()
        {
            forgotten = table.all.remove(&oldest);
        }
        drop(table);
        drop(forgotten);
    }

    /// Its result is known to whoever wanted it.
    fn fetched(&self, record: &Record) {
        let mut table = self.lock();
        let forgotten = table.all.remove(&record.id);
        table.finished.retain(|id| *id != record.id);
        drop(table);
        drop(forgotten);
    }
}

#[async_trait]
impl Processes for Guest {
    /// Starts `command`. Its unread output is kept up to 1 MiB, both streams together.
    ///
    /// While handles are attached, each sees all output from where it came in, and the slowest of them holds the process
    /// back: when the 1 MiB and the pipe are full, the process waits. Without a handle the oldest output is dropped instead,
    /// and the next handle is told how much. On a terminal the keyboard is open, also without piped stdin.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready leaves nothing behind.
    async fn spawn(&self, command: Command) -> Result<Process> {
        let (timeout, shown) = (command.timeout, shown(&command.program));
        let started = self.start_in_turn(command, Capacity::Large, Keyboard::Open).await?;
        let Started { child, tree, stdout, stderr, input, terminal, started_at, begun } = started;
        let (feed, writer) = match input {
            Input::Done => (None, None),
            Input::Feed(feed) => (Some(feed), None),
            Input::Open(writer) => (None, Some(writer)),
        };
        let id = ProcessId::new(tree.command().get().to_string());
        let record = Arc::new(Record::new(id.clone(), tree, shown, started_at, terminal, writer));
        let table = Arc::clone(&self.shared.processes);
        table.lock().all.insert(id, Arc::clone(&record));
        // A limit beyond what the clock can hold is none.
        let timeout = timeout.and_then(|limit| Some((Instant::from_std(begun).checked_add(limit)?, limit)));
        let streams =
            [Stream::new(OutputStream::Stdout, Some(stdout)), Stream::new(OutputStream::Stderr, stderr)];
        let process = handle(&record, &table)?;
        tokio::spawn(Pump { record, table, child, streams, feed, timeout }.run());
        Ok(process)
    }

    async fn attach(&self, id: &ProcessId) -> Result<Process> {
        let table = &self.shared.processes;
        let record = table.lock().all.get(id).cloned();
        handle(&record.ok_or_else(|| unknown(id))?, table)
    }

    async fn list(&self) -> Result<Vec<ProcessInfo>> {
        self.ensure_open()?;
        let records: Vec<_> = self.shared.processes.lock().all.values().cloned().collect();
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let selector = Selector {
            leaders: self.shared.leaders.all(),
            depth: Depth::Marks.max(self.shared.depth().min(Depth::Relations)),
            ..Selector::sandbox(self.shared.tag)
        };
        let found = ending::on_thread(move || tree::find(&selector)).await?;
        let found = found.map_err(|error| Error::io("list the processes", error))?;
        let stopped = |pid| found.iter().any(|entry| entry.pid == pid && matches!(entry.state, 'T' | 't'));
        let infos = records.iter().map(|record| {
            let pid = record.tree.leader().pid();
            let state = match *record.status() {
                Some(status) => ProcessState::Exited(status),
                None if stopped(pid) => ProcessState::Stopped,
                None => ProcessState::Running,
            };
            let mut info =
                ProcessInfo::new(record.id.clone(), record.command.as_str(), state, record.started_at);
            info.pid = u32::try_from(pid).ok();
            info.pty = record.terminal.is_some();
            info
        });
        Ok(infos.collect())
    }
}

fn handle(record: &Arc<Record>, table: &Arc<Table>) -> Result<Process> {
    let events = Events::attach(record, table).ok_or_else(|| unknown(&record.id))?;
    let control: Arc<dyn ProcessControl> = Arc::<Record>::clone(record);
    Ok(Process::new(record.id.clone(), Box::pin(events), control))
}

fn unknown(id: &ProcessId) -> Error {
    Error::not_found(format!("there is no process {id}, or its result was fetched already"))
        .hint("list the processes")
}

/// A command line as a list shows it.
pub(crate) fn shown(program: &Program) -> String {
    let line = match program {
        Program::Shell(line) => line.clone(),
        Program::Argv(argv) => argv.join(" "),
        _ => String::new(),
    };
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
