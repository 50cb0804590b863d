//! The engine that answers, and tests that need it.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use grainchain_core::types::id::random_id;
use grainchain_core::{Client, Error, ErrorKind, ListFilter, Provider, Result, Sandbox, SandboxConfig};
use grainchain_docker::{Docker, DockerConfig, GuestKind};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

/// A system of nothing but busybox, as `cargo xtask test` makes it.
pub(crate) const TINY: &str = "grainchain-test/tiny:1";

/// What a test answers with: nothing, or why it fails.
pub(crate) type Outcome = std::result::Result<(), Failed>;

type Run = dyn Fn(World) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send;

/// One behaviour.
pub(crate) struct Test {
    name: String,
    run: Box<Run>,
    impossible: Option<&'static str>,
}

impl Test {
    /// Reports it as NOT RUN where there is a reason.
    pub(crate) fn unless(mut self, reason: Option<&'static str>) -> Self {
        self.impossible = reason;
        self
    }
}

/// The test `name`.
pub(crate) fn test<F>(name: &str, run: impl Fn(World) -> F + Send + 'static) -> Test
where
    F: Future<Output = Outcome> + Send + 'static,
{
    Test { name: name.to_owned(), run: Box::new(move |world| Box::pin(run(world))), impossible: None }
}

/// A client of its own for each test: everything it makes carries its owner's label and is gone at the end.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) owner: String,
}

impl World {
    /// A world whose provider is set up by `change`.
    pub(crate) fn new(change: impl FnOnce(DockerConfig) -> DockerConfig) -> Result<Self> {
        let config = change(DockerConfig::default().image(TINY).guest(GuestKind::Engine));
        let owner = random_id("test");
        Ok(Self { client: Client::new(Docker::new(config)?).owner(owner.clone()), owner })
    }

    pub(crate) async fn sandbox(&self) -> Result<Sandbox> {
        self.create(SandboxConfig::default()).await
    }

    pub(crate) async fn create(&self, config: SandboxConfig) -> Result<Sandbox> {
        self.client.create(config).await
    }

    /// The sandboxes of this test that are there.
    pub(crate) async fn left(&self) -> Result<Vec<String>> {
        let all = self.client.list(ListFilter::default()).await?;
        let own =
            all.into_iter().filter(|info| info.lease.as_ref().is_some_and(|lease| lease.owner == self.owner));
        Ok(own.map(|info| info.id.to_string()).collect())
    }

    async fn close(&self) -> Result<()> {
        for id in self.left().await? {
            self.client.remove(&id.as_str().into()).await?;
        }
        Ok(())
    }
}

/// The output of `line`, which must succeed.
pub(crate) async fn sh(sandbox: &Sandbox, line: &str) -> std::result::Result<String, Failed> {
    let output = sandbox.execute(line).await?;
    if output.failed() {
        return Err(format!("`{line}` ended with {:?}: {}", output.status, output.stderr()).into());
    }
    Ok(output.stdout().into_owned())
}

/// What the docker command says.
pub(crate) fn docker(arguments: &[&str]) -> std::result::Result<String, Failed> {
    // An engine that is stuck must not hold up everything.
    let output = std::process::Command::new("timeout").args(["60", "docker"]).args(arguments).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The socket of the engine that answers, if it is behind one.
pub(crate) async fn socket() -> std::result::Result<Option<String>, Failed> {
    let docker = Docker::new(DockerConfig::default().image(TINY).guest(GuestKind::Engine))?;
    let place = docker.check().await?.place;
    let place = place.as_deref().and_then(|place| place.strip_prefix("the engine is unix://"));
    Ok(place.and_then(|place| Some(place.split_once(' ')?.0.to_owned())))
}

/// A port of this machine that nobody listens on.
pub(crate) fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The error, which must be of `kind`, name `option` and say what to do.
pub(crate) fn refused<T>(
    result: Result<T>,
    kind: ErrorKind,
    option: &str,
) -> std::result::Result<Error, Failed> {
    let Err(error) = result else { return Err(format!("was not refused, naming `{option}`").into()) };
    if error.kind() != kind || error.failed_option() != Some(option) || error.remedy().is_none() {
        return Err(format!("not as {kind} of `{option}` with a remedy: {error:?}").into());
    }
    Ok(error)
}

/// Runs this program as a client that a test has started.
#[expect(clippy::print_stderr, reason = "whoever started it reads why it ended")]
pub(crate) fn client<E: Debug>(work: impl Future<Output = std::result::Result<(), E>>) -> ExitCode {
    let runtime = Runtime::new().expect("the machine that runs tests can start threads");
    match runtime.block_on(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

/// Runs `tests` at the engine that answers.
#[expect(clippy::print_stderr, reason = "tests that cannot run say so aloud")]
pub(crate) fn run(tests: impl Iterator<Item = Test>) -> ExitCode {
    let runtime = Arc::new(Runtime::new().expect("the machine that runs tests can start threads"));
    let missing = runtime.block_on(missing());
    if let Some(reason) = &missing {
        eprintln!("\nNOT RUN: the tests at a real engine: {reason}\n");
    }
    let trials = tests.map(|test| {
        let runtime = Arc::clone(&runtime);
        let trial = Trial::test(test.name, move || {
            let world = World::new(|config| config)?;
            let outcome = runtime.block_on(runtime.spawn((test.run)(world.clone())));
            runtime.block_on(world.close())?;
            outcome.map_err(|error| Failed::from(error.to_string()))?
        });
        match (&missing, test.impossible) {
            (Some(_), _) => trial.with_kind("NOT RUN: no engine").with_ignored_flag(true),
            (None, Some(reason)) => trial.with_kind(format!("NOT RUN: {reason}")).with_ignored_flag(true),
            (None, None) => trial,
        }
    });
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(4));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Why there is nothing to run at.
async fn missing() -> Option<String> {
    let docker = match Docker::new(DockerConfig::default().image(TINY).guest(GuestKind::Engine)) {
        Ok(docker) => docker,
        Err(error) => return Some(error.to_string()),
    };
    match docker.check().await {
        Ok(health) => health.notes.into_iter().find(|note| note.contains(TINY)),
        Err(error) => Some(error.to_string()),
    }
}
