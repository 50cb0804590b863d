//! What a guest lets happen, and the gate through which every program is started.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use grainchain_core::{Error, ErrorKind, Result};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock as Turns, RwLockReadGuard as Turn};

/// What a guest lets happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Everything.
    Running,
    /// For a moment nothing new is started: whoever wants to waits. What runs may stand still as well.
    Still,
    /// Nothing new is started: whoever wants to is refused. What runs stands still.
    Frozen,
    /// Nothing is started; files can still be reached.
    Stopped,
    /// Nothing: the sandbox has ended.
    Closed,
}

/// The stage, and who waits for it to change.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Held for reading while a program is being started, so that none slips through while everything is frozen.
    stage: RwLock<Stage>,
    /// Shared by whoever is about to start something; taken alone for as long as everything is still.
    turns: Arc<Turns<()>>,
    shut: Mutex<Option<OwnedRwLockWriteGuard<()>>>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { stage: RwLock::new(Stage::Running), turns: Arc::default(), shut: Mutex::default() }
    }

    fn look(&self) -> RwLockReadGuard<'_, Stage> {
        self.stage.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.look()
    }

    /// Changes the stage, whatever it was.
    pub(crate) fn set(&self, to: Stage) {
        let shut = if to == Stage::Still { Arc::clone(&self.turns).try_write_owned().ok() } else { None };
        self.change(to, shut, |_| None);
    }

    /// Changes the stage unless nothing is left to be changed.
    ///
    /// # Errors
    ///
    /// When the sandbox is stopped or closed.
    pub(crate) fn turn(&self, to: Stage) -> Result<()> {
        self.change(to, None, ended).map_or(Ok(()), Err)
    }

    /// Lets starts wait, from when those under way are done until the next change of the stage.
    ///
    /// # Errors
    ///
    /// When the sandbox is stopped or closed.
    pub(crate) async fn hold_starts(&self) -> Result<()> {
        let shut = Arc::clone(&self.turns).write_owned().await;
        self.change(Stage::Still, Some(shut), ended).map_or(Ok(()), Err)
    }

    /// Changes the stage and who may start at one moment, unless `refuse` has an objection to that.
    fn change(
        &self,
        to: Stage,
        shut: Option<OwnedRwLockWriteGuard<()>>,
        refuse: impl FnOnce(Stage) -> Option<Error>,
    ) -> Option<Error> {
        let mut stage = self.stage.write().unwrap_or_else(PoisonError::into_inner);
        let refused = refuse(*stage);
        if refused.is_none() {
            *stage = to;
            let mut held = self.shut.lock().unwrap_or_else(PoisonError::into_inner);
            if to != Stage::Still {
                *held = None;
            } else if shut.is_some() {
                *held = shut;
            }
        }
        refused
    }

    /// Waits while everything is held still for a moment, and keeps it from being held still until the answer is dropped. To be held
    /// for a start and no longer.
    pub(crate) async fn turn_to_start(&self) -> Turn<'_, ()> {
        self.turns.read().await
    }

    /// Keeps the sandbox from being frozen or stopped while it is held; refuses when it already is. While everything is held still
    /// for a moment, what is asked is done after it.
    pub(crate) fn running(&self) -> Result<RwLockReadGuard<'_, Stage>> {
        let stage = self.look();
        match *stage {
            Stage::Running | Stage::Still => Ok(stage),
            Stage::Frozen => {
                Err(Error::new(ErrorKind::Conflict, "the sandbox is paused").hint("resume it first"))
            }
            at @ (Stage::Stopped | Stage::Closed) => Err(ended(at).unwrap_or_else(closed)),
        }
    }

    /// As [`running`](Self::running), but refuses also while everything is held still: what is about to start must have waited for
    /// its [turn](Self::turn_to_start).
    pub(crate) fn startable(&self) -> Result<RwLockReadGuard<'_, Stage>> {
        let stage = self.running()?;
        if *stage == Stage::Still {
            let message = "the sandbox is held still for a moment";
            return Err(Error::new(ErrorKind::Conflict, message).hint("try again"));
        }
        Ok(stage)
    }

    /// Refuses everything once the sandbox has ended.
    pub(crate) fn ensure_open(&self) -> Result<()> {
        if self.stage() == Stage::Closed { Err(closed()) } else { Ok(()) }
    }
}

fn ended(stage: Stage) -> Option<Error> {
    match stage {
        Stage::Running | Stage::Still | Stage::Frozen => None,
        Stage::Stopped => {
            Some(Error::new(ErrorKind::Conflict, "the sandbox is stopped").hint("wake it up first"))
        }
        Stage::Closed => Some(closed()),
    }
}

fn closed() -> Error {
    Error::not_found("the sandbox is closed").hint("create a new one")
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use grainchain_core::facet::{Code, Exec, Processes};
    use grainchain_core::{Command, CreateContext, ErrorKind, Language};

    use super::*;
    use crate::testing::{TestGuest, eventually, in_a_view_of_its_own, within, without_proc};

    /// Whether the first look at `work` finds it waiting.
    fn waits(work: std::pin::Pin<&mut impl Future>) -> bool {
        matches!(work.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
    }

    #[tokio::test]
    async fn what_starts_while_everything_is_still_waits_and_then_runs() {
        let guest = TestGuest::new();
        guest.run("while :; do echo >>ticks; done >/dev/null 2>&1 &").await;
        let size = || std::fs::metadata(guest.path().join("ticks")).map_or(0, |file| file.len());
        eventually("it works", || size() > 100).await;
        assert!(guest.hold_still().await.unwrap() >= 1);
        assert_eq!(guest.stage(), Stage::Still);
        let before = size();
        let mut execute = pin!(guest.execute(Command::shell("touch started")));
        let mut spawn = pin!(guest.spawn(Command::shell("touch spawned")));
        assert!(waits(execute.as_mut()) && waits(spawn.as_mut()));
        assert_eq!((size(), guest.exists("started"), guest.exists("spawned")), (before, false, false));
        guest.thaw().await.unwrap();
        assert!(within(execute).await.unwrap().success());
        assert!(within(within(spawn).await.unwrap().wait()).await.unwrap().success());
        assert!(guest.exists("started") && guest.exists("spawned"));
        eventually("it works again", || size() > before).await;
    }

    #[tokio::test]
    async fn an_interpreter_that_is_to_start_while_everything_is_still_waits_as_well() {
        let guest = TestGuest::new();
        guest.hold_starts().await.unwrap();
        let mut created = pin!(guest.create_context(CreateContext::new(Language::Bash)));
        assert!(waits(created.as_mut()));
        assert_eq!(guest.alive(), 0);
        guest.set_stage(Stage::Running);
        within(created).await.unwrap();
        assert_eq!(guest.alive(), 1);
    }

    #[tokio::test]
    async fn who_waits_for_a_start_is_told_when_the_sandbox_is_paused_or_ends_instead() {
        for (stage, kind) in [
            (Stage::Frozen, ErrorKind::Conflict),
            (Stage::Stopped, ErrorKind::Conflict),
            (Stage::Closed, ErrorKind::NotFound),
        ] {
            let guest = TestGuest::new();
            guest.hold_starts().await.unwrap();
            let mut execute = pin!(guest.execute(Command::shell("true")));
            assert!(waits(execute.as_mut()));
            guest.set_stage(stage);
            assert_eq!(within(execute).await.unwrap_err().kind(), kind, "{stage:?}");
        }
    }

    #[tokio::test]
    async fn a_start_under_way_is_waited_for_and_one_given_up_holds_nobody_up() {
        let gate = Gate::new();
        let turn = gate.turn_to_start().await;
        let mut hold = pin!(gate.hold_starts());
        assert!(waits(hold.as_mut()));
        assert_eq!(gate.stage(), Stage::Running);
        drop(turn);
        within(hold).await.unwrap();
        {
            let mut given_up = pin!(gate.turn_to_start());
            assert!(waits(given_up.as_mut()));
        }
        gate.set(Stage::Running);
        drop(within(gate.turn_to_start()).await);
        within(gate.hold_starts()).await.unwrap();
    }

    #[tokio::test]
    async fn what_has_ended_is_neither_frozen_nor_brought_back_by_a_thaw() {
        let guest = TestGuest::new();
        for (stage, kind) in [(Stage::Stopped, ErrorKind::Conflict), (Stage::Closed, ErrorKind::NotFound)] {
            guest.set_stage(stage);
            assert_eq!(guest.freeze().await.unwrap_err().kind(), kind);
            assert_eq!(guest.hold_still().await.unwrap_err().kind(), kind);
            guest.thaw().await.unwrap();
            assert_eq!((guest.stage(), guest.error("true").await.kind()), (stage, kind));
        }
    }

    #[test]
    fn what_could_not_be_told_to_go_on_stays_frozen() {
        in_a_view_of_its_own(async || {
            let guest = TestGuest::new();
            for still in [false, true] {
                guest.run("sleep 1000 >/dev/null 2>&1 &").await;
                if still { guest.hold_still().await } else { guest.freeze().await }.unwrap();
                let error = without_proc(guest.thaw()).await.unwrap_err();
                assert!(error.to_string().contains("resume"), "{error}");
                assert!(error.remedy().is_some(), "{error}");
                assert_eq!(guest.stage(), Stage::Frozen);
                assert_eq!(guest.error("true").await.kind(), ErrorKind::Conflict);
                assert!(guest.thaw().await.unwrap() >= 1);
                assert_eq!(guest.stage(), Stage::Running);
                assert!(guest.run("true").await.success());
            }
        });
    }
}
