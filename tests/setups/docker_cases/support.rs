//! What several families need.

use std::fmt::Debug;
use std::process::{Command, Output as CommandOutput};
use std::time::Duration;

use grainchain_core::{Output, Sandbox};
use grainchain_testkit::{Context, Failure, Outcome};

/// Root and somebody: the walls are the same, whoever a command runs as.
pub(super) const EVERYBODY: [&str; 2] = ["0:0", "1000:1000"];

/// What kernels and tools say of what may not be done.
const REFUSALS: [&str; 5] =
    ["not permitted", "permission denied", "read-only file system", "must be superuser", "are you root"];

pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn require(condition: bool, otherwise: impl Into<String>) -> Outcome {
    if condition { Ok(()) } else { Err(Failure::new(otherwise)) }
}

/// Fails the case unless both are equal.
pub(super) fn equal<L: PartialEq<R> + Debug, R: Debug>(what: &str, is: L, should_be: R) -> Outcome {
    require(is == should_be, format!("{what}: is {is:?}, should be {should_be:?}"))
}

/// Runs `line`, which must succeed.
pub(super) async fn sh(sandbox: &Sandbox, line: &str) -> Outcome<String> {
    let output = sandbox.execute(line).timeout(secs(40)).await?;
    succeeded(line, &output)
}

/// Runs `line` as `user`, which must succeed.
pub(super) async fn sh_as(sandbox: &Sandbox, user: &str, line: &str) -> Outcome<String> {
    let output = run_as(sandbox, user, line).await?;
    succeeded(&format!("{line}` as `{user}"), &output)
}

fn succeeded(what: &str, output: &Output) -> Outcome<String> {
    require(output.success(), format!("`{what}` ended with {:?}: {}", output.status, output.stderr()))?;
    Ok(output.stdout().into_owned())
}

/// Runs `line` as `user`, however it ends.
pub(super) async fn run_as(sandbox: &Sandbox, user: &str, line: &str) -> Outcome<Output> {
    Ok(sandbox.execute(line).user(user).timeout(secs(40)).await?)
}

/// Holds each of `lines` to be refused, to root and to somebody, in words that say so; and the sandbox to go on.
pub(super) async fn refused(sandbox: &Sandbox, lines: &[&str]) -> Outcome {
    for user in EVERYBODY {
        for line in lines {
            let output = run_as(sandbox, user, line).await?;
            let said = output.combined();
            require(!output.success(), format!("`{line}` as {user} succeeded: {said}"))?;
            let lower = said.to_lowercase();
            require(
                REFUSALS.iter().any(|words| lower.contains(words)),
                format!("`{line}` as {user} failed for another reason ({:?}): {said}", output.status),
            )?;
        }
    }
    goes_on(sandbox).await
}

/// Holds the sandbox to run commands.
pub(super) async fn goes_on(sandbox: &Sandbox) -> Outcome {
    equal("a command afterwards", sh(sandbox, "echo goes on").await?.as_str(), "goes on\n")
}

/// Asks the engine past Grainchain.
pub(super) async fn docker(arguments: &[&str]) -> Outcome<CommandOutput> {
    let mut command = Command::new("docker");
    command.args(arguments);
    match tokio::task::spawn_blocking(move || command.output()).await {
        Ok(output) => Ok(output?),
        Err(_) => Err("the thread that asked the engine was lost".into()),
    }
}

/// What the engine answers past Grainchain, which must be no error.
pub(super) async fn engine(arguments: &[&str]) -> Outcome<String> {
    let output = docker(arguments).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    require(output.status.success(), format!("docker {arguments:?}: {said}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What the engine calls the sandbox's container.
pub(super) fn container(sandbox: &Sandbox) -> String {
    format!("grainchain-{}", sandbox.id())
}

/// Whether the engine still has a container of that name.
pub(super) async fn is_there(name: &str) -> Outcome<bool> {
    let filter = format!("name=^/?{name}$");
    Ok(!engine(&["ps", "-aq", "--filter", &filter]).await?.is_empty())
}

/// Holds the engine to have no container and no volume of this case's, whatever their state.
pub(super) async fn nothing_left(cx: &Context) -> Outcome {
    let label = format!("label=grainchain.owner={}", cx.mark());
    let containers = engine(&["ps", "-a", "--format", "{{.Names}} {{.Status}}", "--filter", &label]).await?;
    require(containers.is_empty(), format!("a container is left: {containers}"))?;
    let volumes = engine(&["volume", "ls", "-q", "--filter", &format!("name={}-", cx.mark())]).await?;
    require(volumes.is_empty(), format!("a volume is left: {volumes}"))
}
