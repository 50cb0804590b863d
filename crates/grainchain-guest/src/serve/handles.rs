//! Which processes clients follow, and what they have not confirmed to have seen.
//!
//! A process's events are told when a client asks for them, never ahead: what nobody has asked for stays with the process, for whoever
//! attaches next. What was told and not confirmed, because the client went away at that moment, is kept for the same purpose.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use grainchain_core::types::process::ProcessControl;
use grainchain_core::{
    Effect, Error, ExitStatus, Process, ProcessEvent, ProcessId, ProcessInfo, ProcessState, Result,
};

use crate::link::Sender;

/// How many processes are kept for clients that went away without confirming.
const PARKED: usize = 256;

/// A process as one client follows it.
#[derive(Debug)]
pub(super) struct Follow {
    pub(super) info: ProcessInfo,
    /// Absent when everything that it had to say is in `told`.
    process: Option<Process>,
    /// Told and not confirmed, from the event number `confirmed` on.
    told: VecDeque<ProcessEvent>,
    confirmed: u64,
    pub(super) ended: bool,
}

impl Follow {
    pub(super) fn new(info: ProcessInfo, process: Option<Process>, told: VecDeque<ProcessEvent>) -> Self {
        let ended = process.is_none();
        Self { info, process, told, confirmed: 0, ended }
    }

    /// The client has seen so many events.
    pub(super) fn confirm(&mut self, seen: u64) -> Result<()> {
        let fresh = seen.checked_sub(self.confirmed).and_then(|fresh| usize::try_from(fresh).ok());
        let Some(fresh) = fresh.filter(|fresh| *fresh <= self.told.len()) else {
            return Err(Error::bad_request("events are confirmed that were never told"));
        };
        self.told.drain(..fresh);
        self.confirmed = seen;
        Ok(())
    }

    /// Waits for what the process does next, and takes what else it has done by then. Nothing when something waits to be confirmed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub(super) async fn advance(&mut self, most: usize) -> Result<()> {
        let mut bytes = 0;
        while !self.ended && bytes < most {
            let Some(process) = &mut self.process else { break };
            let next = if self.told.is_empty() {
                process.next().await
            } else {
                match futures_util::FutureExt::now_or_never(process.next()) {
                    Some(next) => next,
                    None => break,
                }
            };
            match next? {
                Some(event) => {
                    let event = match event {
                        ProcessEvent::Stdout(output) => self.output(output, ProcessEvent::Stdout, &mut bytes),
                        ProcessEvent::Stderr(output) => self.output(output, ProcessEvent::Stderr, &mut bytes),
                        ProcessEvent::Started => continue,
                        event => event,
                    };
                    self.told.push_back(event);
                }
                None => self.ended = true,
            }
        }
        Ok(())
    }

    /// Splits output into what fits into frames, and returns the last piece.
    fn output(
        &mut self,
        mut output: Bytes,
        event: fn(Bytes) -> ProcessEvent,
        bytes: &mut usize,
    ) -> ProcessEvent {
        *bytes += output.len();
        while output.len() > Sender::MAX {
            self.told.push_back(event(output.split_to(Sender::MAX)));
        }
        event(output)
    }

    /// What the client has to be told, all that it has not confirmed.
    pub(super) fn untold(&self) -> impl Iterator<Item = &ProcessEvent> {
        self.told.iter()
    }

    /// What was told and not confirmed.
    pub(super) fn into_told(self) -> VecDeque<ProcessEvent> {
        self.told
    }

    fn exit(&self) -> Option<ExitStatus> {
        self.told.iter().find_map(|event| match event {
            ProcessEvent::Exited(status) => Some(*status),
            _ => None,
        })
    }
}

/// The processes that clients follow, and those that they left behind.
#[derive(Debug, Default)]
pub(super) struct Handles(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    held: HashMap<u64, Held>,
    last: u64,
    parked: VecDeque<Follow>,
}

#[derive(Debug)]
struct Held {
    id: ProcessId,
    control: Arc<dyn ProcessControl>,
    follow: Arc<tokio::sync::Mutex<Follow>>,
}

impl Handles {
    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a process until the guard is dropped.
    pub(super) fn hold(&self, control: Arc<dyn ProcessControl>, follow: Follow) -> Hold<'_> {
        let mut all = self.lock();
        all.last += 1;
        let handle = all.last;
        let id = follow.info.id.clone();
        all.held.insert(handle, Held { id, control, follow: Arc::new(tokio::sync::Mutex::new(follow)) });
        Hold { handles: self, handle }
    }

    pub(super) fn control(&self, handle: u64) -> Result<Arc<dyn ProcessControl>> {
        self.lock().held.get(&handle).map(|held| Arc::clone(&held.control)).ok_or_else(gone)
    }

    pub(super) fn follow(&self, handle: u64) -> Result<Arc<tokio::sync::Mutex<Follow>>> {
        self.lock().held.get(&handle).map(|held| Arc::clone(&held.follow)).ok_or_else(gone)
    }

    /// What was told of process `id` to a client that has gone since.
    pub(super) fn unpark(&self, id: &ProcessId) -> Option<Follow> {
        let mut all = self.lock();
        let place = all.parked.iter().position(|follow| follow.info.id == *id)?;
        all.parked.remove(place)
    }

    /// Adds those whose end was told to nobody who confirmed it.
    pub(super) fn add_parked(&self, list: &mut Vec<ProcessInfo>) {
        for follow in &self.lock().parked {
            if let Some(status) = follow.exit()
                && list.iter().all(|info| info.id != follow.info.id)
            {
                let mut info = follow.info.clone();
                info.state = ProcessState::Exited(status);
                list.push(info);
            }
        }
    }
}

fn gone() -> Error {
    Error::not_found("the handle of the process is gone").effect(Effect::None)
}

/// One process that a client follows.
#[derive(Debug)]
pub(super) struct Hold<'a> {
    handles: &'a Handles,
    pub(super) handle: u64,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut all = self.handles.lock();
        let Some(held) = all.held.remove(&self.handle) else { return };
        // Somebody else who follows it has seen for himself.
        if all.held.values().any(|other| other.id == held.id) {
            return;
        }
        let Ok(follow) = Arc::try_unwrap(held.follow) else { return };
        let mut follow = follow.into_inner();
        if !follow.told.is_empty() {
            // The process itself is let go: what it does from now on stays with it.
            follow.process = None;
            all.parked.push_back(follow);
            if all.parked.len() > PARKED {
                all.parked.pop_front();
            }
        }
    }
}
