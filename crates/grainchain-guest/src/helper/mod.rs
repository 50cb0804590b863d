//! The program that is a sandbox's first process: it serves a [`Guest`] over a link, ends with the lifetime, and reaps.
//!
//! It runs as a user of its own that nothing else in the sandbox may become, with the right to become other users and to end their
//! processes, and no other. Whoever made the sandbox tells it everything in one variable ([`Boot`]) and reaches it by its standard
//! streams; everybody else by `dial`, a second run of the same program.

mod boot;
mod dial;
mod door;
mod keeper;
mod kept;
mod memory;
mod privileges;
mod reach;
mod warden;

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use grainchain_core::tree::Root;
use grainchain_core::{Content, Error, Result, UnpackSummary};

pub use self::boot::{BOOT, Boot};
use self::keeper::Keeper;
use self::kept::Keeping;
pub use self::reach::reach;
use crate::ending;
use crate::guest::{Guest, GuestConfig};
use crate::link::{Listener, ListenerConfig, Token};
use crate::message::{Control, Hello, SandboxState, WireError};
use crate::serve::{Host, serve};
use crate::users::Account;

/// The user that the helper runs as, and its group. Nothing else in a sandbox may be this user.
pub const HELPER_USER: u32 = 65433;

/// What commands are marked with: there is one sandbox to a kernel's view of its processes.
const TAG: u32 = 1;

/// Commands are the first to go when memory runs out, so that the helper is there to tell of it.
const COMMANDS_FIRST: i16 = 1000;

/// How many threads work on files at the same time. They stay once they were started.
const MOST_THREADS: usize = 128;
/// How many of them are there from the beginning.
const WARM_THREADS: usize = 3;
/// Longer than anything lives.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Runs the program `arguments` ask for: `dial`, or the sandbox's first process. Returns only when that failed.
///
/// # Errors
///
/// When the sandbox cannot be set up as the [`Boot`] says; `dial` fails when no helper answers.
pub fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => guard(),
        [word] if word == "dial" => dial::dial(),
        _ => Err(Error::bad_request("usage: grainchain-helper [dial]")
            .hint("without arguments it is a sandbox's first process")),
    }
}

/// `error` as a helper that cannot run says it on its standard error.
pub fn complaint(error: &Error) -> String {
    // Nothing in it can fail to be written.
    serde_json::to_string(&WireError::new(error).0).unwrap_or_default()
}

/// The error that a helper's [`complaint`] is about; none when the text is none.
pub fn understand(complaint: &str) -> Option<Error> {
    let told: WireError = serde_json::from_str(complaint.trim()).ok()?;
    Some(told.into_error(Bytes::new()))
}

/// Whether there is a capability of this name, as in `NET_BIND_SERVICE`.
pub fn is_capability(name: &str) -> bool {
    privileges::is_capability(name)
}

/// The sandbox's first process.
fn guard() -> Result<()> {
    memory::settle();
    let (boot, environment) = Boot::take()?;
    let root = Root::open("/")?;
    let account = Account::find(&root, &boot.user)?;
    if account.uid == HELPER_USER {
        return Err(Error::config(format!("the user {HELPER_USER} is the helper's own")).option("user"));
    }
    boot::make_directory(&boot.working_directory, &account)?;
    // Before the first thread: what a thread may do, it has from the one that started it.
    let can_keep = privileges::settle(&account, &boot.capabilities)?;
    warden::block_signals()?;
    let keeping = if can_keep { Some(Keeping::start()?) } else { None };
    privileges::seal(&boot.capabilities)?;
    let guest = Guest::new(config(&boot, environment, account))?;
    let started = thread::Builder::new().name("grainchain-serve".into()).spawn(move || {
        let failure = serve_all(boot, guest, keeping);
        warden::end(&failure);
    });
    started.map_err(|error| Error::io("start the helper's thread", error))?;
    warden::watch()
}

fn config(boot: &Boot, environment: BTreeMap<String, String>, account: Account) -> GuestConfig {
    GuestConfig::new("/", TAG)
        .working_directory(boot.working_directory.trim_start_matches('/'))
        .environment(environment)
        .user(account)
        .contained()
        .oom_score_adj(COMMANDS_FIRST)
}

/// Serves whoever comes, on a runtime of one thread that never ends: children belong to the thread that started them, and what is
/// nobody's child any more to the first one, where the warden waits.
fn serve_all(boot: Boot, guest: Guest, keeping: Option<Keeping>) -> Error {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_io().enable_time().max_blocking_threads(MOST_THREADS).thread_keep_alive(FOR_EVER);
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => return Error::io("start the helper's runtime", error),
    };
    runtime.block_on(async {
        warm_up();
        match begin(&boot, guest, keeping) {
            Ok((keeper, listener)) => {
                tokio::spawn(door::serve_stdio(listener.clone()));
                tokio::select! {
                    error = door::serve_socket(listener) => error,
                    reason = keeper.wait() => reason,
                }
            }
            Err(error) => error,
        }
    })
}

/// Starts the threads that files are worked on with, and one to end commands with, while there may be more of them: commands can use up
/// every process and thread that the sandbox may have.
fn warm_up() {
    ending::stand_by();
    let all = Arc::new(Barrier::new(WARM_THREADS));
    for _ in 0..WARM_THREADS {
        let all = Arc::clone(&all);
        tokio::task::spawn_blocking(move || {
            all.wait();
        });
    }
}

fn begin(boot: &Boot, guest: Guest, keeping: Option<Keeping>) -> Result<(Arc<Keeper>, Listener)> {
    let hello = Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sandbox: boot.sandbox.clone(),
        working_directory: boot.working_directory.clone(),
    };
    let words = serde_json::to_vec(&hello)
        .map_err(|error| Error::unexpected("no words of welcome").caused_by(error))?;
    let token = Token::new(boot.token.clone().into_bytes())?;
    let (listener, requests) = Listener::new(ListenerConfig::new(token).words(words));
    let keeper = Keeper::new(boot, listener.connected());
    let host = Arc::new(Caretaker { keeper: Arc::clone(&keeper), guest: guest.clone(), keeping });
    tokio::spawn(serve(requests, guest, host));
    Ok((keeper, listener))
}

/// Answers what the guest itself cannot.
#[derive(Debug)]
struct Caretaker {
    keeper: Arc<Keeper>,
    guest: Guest,
    /// Where the container was given what it takes.
    keeping: Option<Keeping>,
}

impl Caretaker {
    fn keeping(&self) -> Result<&Keeping> {
        self.keeping.as_ref().ok_or_else(|| {
            Error::unsupported(
                "keeping folders in this sandbox",
                "make it with CHOWN, DAC_OVERRIDE, FOWNER and FSETID",
            )
        })
    }
}

#[async_trait]
impl Host for Caretaker {
    fn state(&self) -> SandboxState {
        self.keeper.state()
    }

    async fn control(&self, control: Control) -> Result<()> {
        if control == Control::Shutdown {
            // Whoever is told that all ends may rely on it. What cannot be stopped ends with this process.
            self.guest.hold_still().await.ok();
        }
        self.keeper.control(control);
        Ok(())
    }

    async fn hold_still(&self) -> Result<()> {
        self.guest.hold_still().await.map(drop)
    }

    async fn go_on(&self) -> Result<()> {
        self.guest.thaw().await.map(drop)
    }

    async fn keep(&self, path: String) -> Result<Content> {
        self.keeping()?.keep(&self.guest, &path)
    }

    async fn bring_back(&self, path: String, kept: Content) -> Result<UnpackSummary> {
        self.keeping()?.bring_back(&self.guest, &path, kept).await
    }
}
