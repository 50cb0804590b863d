//! No process is free any more.

use std::time::Duration;

use grainchain_core::{ErrorKind, Sandbox};
use grainchain_testkit::{Outcome, fails, until};

use super::support::{container, equal, goes_on, is_there, require, secs, sh};

/// Starts processes for ever: a shell that talks to somebody goes on where others give up.
const BOMB: &str = "yes 'sleep 300 &' | sh -i >/dev/null 2>&1";

/// Holds as many threads as can be had, and takes what becomes free meanwhile: the next command may have been there just then.
const THREADS: &str = "import threading, time\nhold = threading.Event()\nwhile True:\n    try: threading.Thread(target=hold.wait, daemon=True).start()\n    except RuntimeError: time.sleep(0.01)\n";

/// Waits until the sandbox can start nothing any more.
async fn full(sandbox: &Sandbox) -> Outcome {
    until("there is no process left to be had", async || {
        let tried = sandbox.execute("true").timeout(secs(10)).await;
        Ok(!matches!(tried, Ok(output) if output.success()))
    })
    .await
}

/// Waits until commands run again.
async fn free(sandbox: &Sandbox) -> Outcome {
    until("commands run again", async || {
        let tried = sandbox.execute("true").timeout(secs(10)).await;
        Ok(matches!(tried, Ok(output) if output.success()))
    })
    .await
}

/// Holds files to be served.
async fn serves_files(sandbox: &Sandbox) -> Outcome {
    equal("the file", &sandbox.download_file("note").await?[..], &b"written before"[..])?;
    equal("its size", sandbox.stat("note").await?.size, 14)?;
    equal("files", sandbox.list_files(".").await?.len(), 1)?;
    sandbox.upload_file("other", "written now").await?;
    Ok(sandbox.remove("other").await?)
}

cases! { docker_pids:
    fn a_fork_bomb_does_not_keep_files_from_being_served_and_ends_with_its_timeout(cx) needs [Processes, Files] tags [Heavy] {
        let sandbox = cx.create(cx.config().provider_option("pids", 64)).await?;
        sandbox.upload_file("note", "written before").await?;
        let own = sandbox.clone();
        let bomb = tokio::spawn(async move { own.execute(BOMB).timeout(Duration::from_secs(20)).await });
        full(&sandbox).await?;
        for _ in 0..5 { serves_files(&sandbox).await?; }
        let ended = bomb.await.map_err(|_| "the bomb was lost")?;
        fails(ended, &[ErrorKind::Timeout])?;
        free(&sandbox).await?;
        goes_on(&sandbox).await?;
    }

    fn a_command_that_finds_no_process_is_told_why(cx) needs [Processes] tags [Heavy] {
        let sandbox = cx.create(cx.config().provider_option("pids", 64)).await?;
        let _bomb = sandbox.spawn(BOMB).await?;
        full(&sandbox).await?;
        let error = fails(sandbox.execute("true").timeout(secs(10)).await, &[ErrorKind::Exhausted])?;
        require(error.remedy().is_some(), format!("does not say what to do: {error}"))?;
    }

    fn a_fork_bomb_is_killed_with_all_that_it_started(cx) needs [Processes, TreeKill] tags [Heavy] {
        let sandbox = cx.create(cx.config().provider_option("pids", 64)).await?;
        let mut bomb = sandbox.spawn(BOMB).await?;
        full(&sandbox).await?;
        bomb.kill().await?;
        bomb.wait().await?;
        free(&sandbox).await?;
        until("nothing of it is left", async || {
            let seen = sh(&sandbox, "cat /proc/[0-9]*/comm 2>/dev/null || :").await?;
            Ok(!seen.lines().any(|name| name == "sleep" || name == "yes"))
        }).await?;
    }

    fn threads_count_as_processes_and_leave_room_for_the_helper(cx) needs [Processes, Files] with [Python] tags [Heavy] {
        let sandbox = cx.create(cx.config().provider_option("pids", 64)).await?;
        sandbox.upload_file("note", "written before").await?;
        let mut threads = sandbox.spawn(["python3", "-c", THREADS]).await?;
        full(&sandbox).await?;
        for _ in 0..5 { serves_files(&sandbox).await?; }
        threads.kill().await?;
        threads.wait().await?;
        free(&sandbox).await?;
    }

    fn a_sandbox_full_of_processes_can_be_looked_at_and_closed(cx) tags [Heavy] {
        let sandbox = cx.create(cx.config().provider_option("pids", 64)).await?;
        let own = sandbox.clone();
        let bomb = tokio::spawn(async move { own.execute(BOMB).await.map(drop) });
        full(&sandbox).await?;
        equal("its id", &sandbox.info().await?.id, sandbox.id())?;
        sandbox.close().await?;
        until("the container is gone", async || Ok(!is_there(&container(&sandbox)).await?)).await?;
        // It ends with the sandbox, however that is told.
        bomb.await.map_err(|_| "the bomb was lost")?.ok();
    }

    fn one_sandbox_full_of_processes_does_not_disturb_another(cx) tags [Heavy] {
        let (bad, good) = (cx.create(cx.config().provider_option("pids", 64)).await?, cx.sandbox().await?);
        let own = bad.clone();
        let bomb = tokio::spawn(async move { own.execute(BOMB).await.map(drop) });
        full(&bad).await?;
        for _ in 0..5 { goes_on(&good).await?; }
        bad.close().await?;
        bomb.await.map_err(|_| "the bomb was lost")?.ok();
    }
}
