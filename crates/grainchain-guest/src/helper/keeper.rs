//! How long the sandbox lives.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use grainchain_core::{Error, ErrorKind};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::boot::Boot;
use crate::message::{Control, SandboxState};
use crate::optional::if_any;

/// How long whoever asked for the end may take to hear that it comes.
const FAREWELL: Duration = Duration::from_secs(1);

/// Ends the sandbox when its lifetime is over, when no client was there for too long, or when it is told to.
#[derive(Debug)]
pub(super) struct Keeper {
    started_at: SystemTime,
    lease: Option<Duration>,
    clients: watch::Receiver<usize>,
    term: Mutex<Term>,
    /// Told whenever the term changes.
    changed: watch::Sender<()>,
}

#[derive(Clone, Copy, Debug)]
struct Term {
    end: Option<(Instant, SystemTime)>,
    is_over: bool,
}

impl Keeper {
    pub(super) fn new(boot: &Boot, clients: watch::Receiver<usize>) -> Arc<Self> {
        Arc::new(Self {
            started_at: SystemTime::now(),
            lease: boot.lease,
            clients,
            term: Mutex::new(Term { end: end_of(boot.lifetime), is_over: false }),
            changed: watch::Sender::new(()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Term> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when it is time, with the reason.
    pub(super) async fn wait(&self) -> Error {
        let (mut clients, mut changed) = (self.clients.clone(), self.changed.subscribe());
        loop {
            let term = *self.lock();
            if term.is_over {
                // The answer goes out first.
                timeout(FAREWELL, async { while clients.wait_for(|count| *count == 0).await.is_err() {} })
                    .await
                    .ok();
                return over("it was told to end");
            }
            let is_alone = *clients.borrow_and_update() == 0;
            let mut end = std::pin::pin!(term.end.map(|(end, _)| sleep_until(end)));
            let mut lease = std::pin::pin!(self.lease.filter(|_| is_alone).map(sleep));
            let (mut end, mut lease) = (end.as_mut().as_pin_mut(), lease.as_mut().as_pin_mut());
            tokio::select! {
                () = if_any(&mut end) => return over("its lifetime is over"),
                () = if_any(&mut lease) => return over("no client was there for as long as its lease"),
                // Both live as long as this does.
                _ = clients.changed() => {}
                _ = changed.changed() => {}
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Term)) {
        change(&mut self.lock());
        self.changed.send_replace(());
    }
}

fn over(reason: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("the sandbox ends: {reason}"))
}

/// What is too far for a clock is no end.
fn end_of(lifetime: Option<Duration>) -> Option<(Instant, SystemTime)> {
    let lifetime = lifetime?;
    Some((Instant::now().checked_add(lifetime)?, SystemTime::now().checked_add(lifetime)?))
}

impl Keeper {
    /// How the sandbox is now.
    pub(super) fn state(&self) -> SandboxState {
        let clients = u32::try_from(*self.clients.borrow()).unwrap_or(u32::MAX);
        SandboxState::new(self.started_at, self.lock().end.map(|(_, end)| end), clients)
    }

    /// Carries out what changes it.
    pub(super) fn control(&self, control: Control) {
        match control {
            Control::State => {}
            Control::SetLifetime(lifetime) => self.change(|term| term.end = end_of(lifetime)),
            Control::Shutdown => self.change(|term| term.is_over = true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(lifetime: Option<u64>, lease: Option<u64>) -> (Arc<Keeper>, watch::Sender<usize>) {
        let (clients, seen) = watch::channel(0);
        let boot = Boot {
            sandbox: String::new(),
            token: String::new(),
            user: String::new(),
            working_directory: String::new(),
            lifetime: lifetime.map(Duration::from_secs),
            lease: lease.map(Duration::from_secs),
            capabilities: Vec::new(),
        };
        (Keeper::new(&boot, seen), clients)
    }

    async fn lives_for(keeper: &Keeper) -> Duration {
        let begun = Instant::now();
        keeper.wait().await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_its_lifetime_whoever_is_there() {
        let (keeper, clients) = keeper(Some(60), Some(10));
        clients.send_replace(1);
        assert_eq!(lives_for(&keeper).await.as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_nobody_was_there_for_as_long_as_its_lease() {
        let (keeper, clients) = keeper(Some(60), Some(10));
        assert_eq!(lives_for(&keeper).await.as_secs(), 10);
        let coming_and_going = async {
            for count in [1, 2, 1, 0] {
                sleep(Duration::from_secs(8)).await;
                clients.send_replace(count);
            }
        };
        let (lived, ()) = tokio::join!(lives_for(&keeper), coming_and_going);
        assert_eq!(lived.as_secs(), 4 * 8 + 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_lifetime_counts_from_now_and_none_is_none() {
        let (keeper, _clients) = keeper(Some(60), None);
        let change = async {
            sleep(Duration::from_secs(30)).await;
            keeper.control(Control::SetLifetime(None));
            assert_eq!(keeper.state().expires_at(), None);
            sleep(Duration::from_secs(1000)).await;
            keeper.control(Control::SetLifetime(Some(Duration::from_secs(5))));
            assert!(keeper.state().expires_at().is_some());
        };
        let (lived, ()) = tokio::join!(lives_for(&keeper), change);
        assert_eq!(lived.as_secs(), 1035);
    }

    #[tokio::test(start_paused = true)]
    async fn told_to_end_it_ends_within_a_second() {
        let (keeper, _clients) = keeper(None, None);
        keeper.control(Control::Shutdown);
        assert!(lives_for(&keeper).await <= FAREWELL);
    }
}
