//! A context: what stays the same while its interpreters come and go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use grainchain_core::tree::Root;
use grainchain_core::{Command, ContextId, ContextInfo, Effect, Error, ErrorKind, Language, Result, RunCode};
use tokio::time::{Instant, timeout_at};

use super::interpreter::Interpreter;
use super::launch;
use super::run::Run;
use super::seat::{NoTurn, Place, Seat};
use super::wire::{self, Nonce};
use crate::ending;
use crate::guest::Guest;

/// How long an interpreter may take to greet. Node needs 50 ms, on a machine under load a second.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Where and with what its interpreters are started, and the seat of the present one.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) id: ContextId,
    pub(super) language: Language,
    /// Whether it is what code without a context runs in.
    pub(super) is_default: bool,
    driver: launch::Language,
    /// Holds the working directory and the variables.
    surroundings: Command,
    /// Absent once it is deleted.
    seat: Mutex<Option<Arc<Seat>>>,
}

/// An interpreter that is ours for one turn.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) interpreter: Interpreter,
    /// After the interpreter: the next one starts when this one is no more.
    pub(super) place: Place,
}

impl Live {
    /// Leaves the interpreter to the next run.
    pub(super) fn give_back(self) {
        let Self { mut interpreter, place } = self;
        interpreter.busy = false;
        interpreter.leave_runtime();
        place.give_back(interpreter);
    }
}

impl Context {
    pub(super) fn new(
        id: ContextId,
        language: Language,
        is_default: bool,
        surroundings: Command,
    ) -> Result<Self> {
        let driver = match language {
            Language::Python => launch::Language::Python,
            Language::JavaScript => launch::Language::JavaScript,
            Language::Bash => launch::Language::Bash,
            _ => {
                let what = format!("code in {language}");
                return Err(Error::unsupported(what, "use python, javascript or bash").option("language"));
            }
        };
        surroundings.validate()?;
        let seat = Mutex::new(Some(Seat::new()));
        Ok(Self { id, language, is_default, driver, surroundings, seat })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Seat>>> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seat(&self) -> Result<Arc<Seat>> {
        self.lock().clone().ok_or_else(|| unknown(&self.id))
    }

    /// None before its first interpreter, and while a restart has not come to the new one.
    pub(super) fn info(&self, guest: &Guest) -> Option<ContextInfo> {
        let (since, count) = self.lock().as_ref()?.seen()?;
        let path = guest.path(self.surroundings.working_directory.as_deref().unwrap_or_default());
        // `join` keeps an absolute path as it is, which is what it means to the root.
        let shown = guest.shared.root.host_path().join(path);
        let shown = shown.to_string_lossy();
        let shown = if shown.len() > 1 { shown.trim_end_matches('/') } else { &shown };
        let mut info = ContextInfo::new(self.id.clone(), self.language, shown, since);
        info.count = count;
        Some(info)
    }

    /// Reaps an interpreter that has ended by itself.
    pub(super) fn reap(&self) {
        if let Some(seat) = &*self.lock() {
            seat.reap();
        }
    }

    /// Sends `request` to the interpreter when it is its turn.
    pub(super) async fn begin(&self, guest: &Guest, request: RunCode) -> Result<Run> {
        let deadline = request.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let nonce = Nonce::random()
            .map_err(|error| Error::unexpected("the system gives no random bytes").caused_by(error))?;
        let bytes = wire::request(self.driver, nonce, &request.code)
            .map_err(|fault| Error::bad_request(fault.to_string()).option("code"))?;
        let mut live = self.occupy(guest, deadline, request.timeout).await?;
        let runs = guest.running();
        if let Err(refused) = runs {
            live.give_back();
            return Err(refused);
        }
        live.interpreter.busy = true;
        // What does not go in now is sent while the run is polled; nobody reads it if the interpreter has just died, and
        // the run will see that as well.
        let sent = live.interpreter.requests.write_now(&bytes).unwrap_or(0);
        drop(runs);
        let count = live.place.count();
        Ok(Run::new(live, nonce, bytes, sent, count, request.timeout.zip(deadline)))
    }

    /// Starts an interpreter unless one lives.
    pub(super) async fn settle(&self, guest: &Guest) -> Result<ContextInfo> {
        self.occupy(guest, None, None).await?.give_back();
        self.info(guest).ok_or_else(|| unknown(&self.id))
    }

    /// Waits for our turn, and starts an interpreter if none is left from the last one.
    async fn occupy(
        &self,
        guest: &Guest,
        deadline: Option<Instant>,
        timeout: Option<Duration>,
    ) -> Result<Live> {
        loop {
            let place = match self.seat()?.take(deadline).await {
                Ok(place) => place,
                Err(NoTurn::Closed) => continue,
                Err(NoTurn::Elapsed) => return Err(never_ran(timeout.unwrap_or_default())),
            };
            // None: somebody has restarted the context meanwhile.
            if let Some(live) = self.furnish(guest, place, deadline, timeout).await? {
                return Ok(live);
            }
        }
    }

    /// Finds a living interpreter in `place`, or starts one; none when the place was closed.
    async fn furnish(
        &self,
        guest: &Guest,
        place: Place,
        deadline: Option<Instant>,
        timeout: Option<Duration>,
    ) -> Result<Option<Live>> {
        if let Some(mut interpreter) = place.left_behind() {
            if interpreter.is_alive() {
                return Ok(Some(Live { interpreter, place }));
            }
            // Whatever it has left behind belonged to it.
            if let Err(error) = interpreter.tree.kill_until_gone().await {
                tracing::debug!(%error, "a context left processes behind");
            }
        }
        let turn = guest.shared.gate.turn_to_start().await;
        let interpreter = self.launch(guest)?;
        drop(turn);
        let mut live = Live { interpreter, place };
        if !live.place.sit_down(&live.interpreter.tree) {
            return Ok(None);
        }
        let limit = Instant::now() + START_LIMIT;
        let until = deadline.map_or(limit, |deadline| deadline.min(limit));
        match timeout_at(until, live.interpreter.greeted(self.driver)).await {
            Ok(Ok(())) => Ok(Some(live)),
            Ok(Err(_)) if live.place.is_closed() => Ok(None),
            Ok(Err(error)) => Err(error),
            Err(_elapsed) if until == limit => {
                let message =
                    format!("the interpreter for {} did not start within {START_LIMIT:?}", self.language);
                Err(Error::new(ErrorKind::Timeout, message).effect(Effect::None))
            }
            Err(_elapsed) => Err(never_ran(timeout.unwrap_or_default())),
        }
    }

    fn launch(&self, guest: &Guest) -> Result<Interpreter> {
        let directory: Option<Root> = guest.directory(self.surroundings.working_directory.as_deref())?;
        Interpreter::launch(guest, self.driver, directory.as_ref(), &self.surroundings)
    }

    /// Ends the interpreter, whatever it does, and starts the next before anybody else has a turn.
    pub(super) async fn restart(&self, guest: &Guest) -> Result<ContextInfo> {
        let seat = Seat::new();
        let place = Arc::clone(&seat).take(None).await;
        let old = self.lock().as_mut().map(|current| std::mem::replace(current, seat));
        end(old.ok_or_else(|| unknown(&self.id))?).await?;
        if let Ok(place) = place
            && let Some(live) = self.furnish(guest, place, None, None).await?
        {
            live.give_back();
        }
        self.info(guest).ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "the context was restarted or deleted by somebody else meanwhile")
        })
    }

    /// Ends the interpreter for good.
    pub(super) async fn delete(&self) -> Result<()> {
        let old = self.lock().take();
        end(old.ok_or_else(|| unknown(&self.id))?).await
    }
}

async fn end(seat: Arc<Seat>) -> Result<()> {
    let Some(tree) = seat.close() else { return Ok(()) };
    let killed = tree.kill_until_gone().await;
    seat.reap();
    killed.map(drop).map_err(|error| ending::failure("end the interpreter", error))
}

pub(super) fn unknown(id: &ContextId) -> Error {
    Error::not_found(format!("there is no context {id}")).hint("list the contexts, or create one")
}

fn never_ran(timeout: Duration) -> Error {
    let message = format!(
        "the context was busy with starting or with earlier code for the whole timeout of {timeout:?}"
    );
    Error::new(ErrorKind::Timeout, message)
        .hint("the code was not run; raise the timeout, or use another context")
        .effect(Effect::None)
}
