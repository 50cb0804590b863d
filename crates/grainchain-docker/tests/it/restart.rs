//! An engine that goes away in the midst of a command, and a client that does.

use std::process::Stdio;

use grainchain_core::{ErrorKind, SandboxConfig};
use grainchain_docker::{DockerConfig, GuestKind};
use libtest_mimic::Failed;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::engine::{OwnEngine, impossible};
use crate::world::{Outcome, Test, World, docker, sh, test};

/// The argument that makes a client of this program.
const CLIENT: &str = "--client";

pub(crate) fn tests() -> Vec<Test> {
    let own = [
        test("restart::a_command_ends_with_the_engine", a_command_ends_with_the_engine),
        test(
            "restart::a_command_ends_with_the_engine_that_carries_it",
            a_command_ends_with_the_engine_that_carries_it,
        ),
        test("restart::what_needs_no_engine_goes_on_without_it", what_needs_no_engine_goes_on_without_it),
    ];
    let killed = test(
        "restart::a_client_that_is_killed_leaves_nothing_after_its_lease",
        a_client_that_is_killed_leaves_nothing_after_its_lease,
    );
    own.into_iter().map(|test| test.unless(impossible())).chain([killed]).collect()
}

fn at(
    engine: &OwnEngine,
    change: impl FnOnce(DockerConfig) -> DockerConfig,
) -> grainchain_core::Result<World> {
    World::new(|config| {
        let mut config = change(config.guest(GuestKind::Helper));
        config.host = Some(engine.host());
        config
    })
}

/// Restarts the engine in the midst of a command. It takes containers along that are to vanish at their end, whatever it was told: so the
/// command ends with an error, and not never.
async fn ends(change: impl FnOnce(DockerConfig) -> DockerConfig) -> Outcome {
    let mut engine = OwnEngine::start().await?;
    let world = at(&engine, change)?;
    let sandbox = world.sandbox().await?;
    let own = sandbox.clone();
    let command = tokio::spawn(async move { own.execute("touch begun; sleep 300").await });
    sh(&sandbox, "until [ -e begun ]; do :; done").await?;
    engine.kill().await?;
    engine.go_on().await?;
    let error = command.await?.expect_err("its sandbox is gone");
    assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Connection), "{error:?}");
    assert!(error.remedy().is_some(), "{error:?}");
    assert_eq!(sandbox.execute("true").await.expect_err("it is gone").kind(), ErrorKind::NotFound);
    assert!(world.left().await?.is_empty());
    // The engine and the client go on.
    let next = world.sandbox().await?;
    assert_eq!(sh(&next, "echo there").await?, "there\n");
    Ok(next.close().await?)
}

async fn a_command_ends_with_the_engine(_: World) -> Outcome {
    ends(|config| config).await
}

async fn a_command_ends_with_the_engine_that_carries_it(_: World) -> Outcome {
    ends(|config| config.shortcut(false)).await
}

async fn what_needs_no_engine_goes_on_without_it(_: World) -> Outcome {
    let mut engine = OwnEngine::start().await?;
    let world = at(&engine, |config| config)?;
    let sandbox = world.sandbox().await?;
    engine.kill().await?;
    assert_eq!(sh(&sandbox, "echo there").await?, "there\n");
    let error = world.create(SandboxConfig::default()).await.expect_err("there is no engine");
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
    assert!(error.remedy().is_some(), "{error:?}");
    engine.go_on().await?;
    Ok(sandbox.close().await?)
}

/// What this program does as a client: makes a sandbox, says what its container is called, and stays until it is killed.
#[expect(clippy::print_stdout, reason = "so it tells whoever kills it")]
pub(crate) async fn be_a_client() -> grainchain_core::Result<()> {
    let world = World::new(|config| config.guest(GuestKind::Helper))?;
    let sandbox = world.create(SandboxConfig::default().provider_option("lease", "1s")).await?;
    let _process = sandbox.spawn("sleep 300").await?;
    println!("grainchain-{}", sandbox.id());
    std::future::pending().await
}

/// Whether this program was started as a client.
pub(crate) fn is_a_client() -> bool {
    std::env::args().any(|argument| argument == CLIENT)
}

async fn a_client_that_is_killed_leaves_nothing_after_its_lease(_: World) -> Outcome {
    let mut client = Command::new(std::env::current_exe()?)
        .arg(CLIENT)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let said = client.stdout.take().ok_or("no output")?;
    let name = BufReader::new(said).lines().next_line().await?.ok_or("the client has ended")?;
    docker(&["inspect", &name])?;
    client.kill().await?;
    let gone = async {
        loop {
            match docker(&["inspect", &name]) {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) if error.message().is_some_and(|said| said.contains("No such")) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), gone)
        .await
        .map_err(|_| Failed::from(format!("{name} is there for a minute")))?
}
