//! The engine's own exec, where it differs from other ways of running commands.

use std::time::{Duration, Instant};

use grainchain_core::ErrorKind;

use crate::world::{Outcome, Test, World, sh, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test(
            "exec::what_a_timeout_leaves_is_looked_for_and_killed",
            what_a_timeout_leaves_is_looked_for_and_killed,
        ),
        test(
            "exec::a_program_that_speaks_as_the_engine_is_not_taken_for_it",
            a_program_that_speaks_as_the_engine_is_not_taken_for_it,
        ),
        test(
            "exec::a_running_command_does_not_keep_others_from_looking",
            a_running_command_does_not_keep_others_from_looking,
        ),
        test(
            "exec::a_sandbox_that_was_removed_behind_our_back_is_closed",
            a_sandbox_that_was_removed_behind_our_back_is_closed,
        ),
    ]
}

/// Waits until `line` says nothing.
async fn silent(sandbox: &grainchain_core::Sandbox, line: &str) -> Outcome {
    let begun = Instant::now();
    while !sh(sandbox, line).await?.is_empty() {
        if begun.elapsed() > Duration::from_secs(20) {
            return Err(format!("`{line}` still says something").into());
        }
    }
    Ok(())
}

async fn what_a_timeout_leaves_is_looked_for_and_killed(world: World) -> Outcome {
    let sandbox = world.sandbox().await?;
    let result = sandbox.execute("setsid sleep 7654 & sleep 7654").timeout(Duration::from_secs(1)).await;
    assert!(matches!(&result, Err(error) if error.kind() == ErrorKind::Timeout), "{result:?}");
    silent(&sandbox, "pgrep -f '[s]leep 7654'; :").await
}

async fn a_program_that_speaks_as_the_engine_is_not_taken_for_it(world: World) -> Outcome {
    let sandbox = world.sandbox().await?;
    let output = sandbox.execute("echo 'OCI runtime exec failed: just kidding'; exit 126").await?;
    assert_eq!(output.exit_code(), Some(126));
    Ok(())
}

async fn a_running_command_does_not_keep_others_from_looking(world: World) -> Outcome {
    let sandbox = world.sandbox().await?;
    let running = tokio::spawn(sandbox.execute("sleep 60").into_future());
    let snapshot =
        tokio::time::timeout(Duration::from_secs(30), sandbox.create_snapshot("meanwhile")).await??;
    sandbox.delete_snapshot(&snapshot.id).await?;
    running.abort();
    Ok(())
}

async fn a_sandbox_that_was_removed_behind_our_back_is_closed(world: World) -> Outcome {
    let sandbox = world.sandbox().await?;
    let other = World::new(|config| config)?;
    other.client.remove(sandbox.id()).await?;
    let error = sandbox.execute("true").await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    sandbox.close().await?;
    Ok(())
}
