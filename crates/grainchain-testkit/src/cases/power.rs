//! Standing still, going on, ending and waking.

use grainchain_core::{ErrorKind, SandboxStatus};

use super::support::{gone, numbers, secs, sh};
use crate::case::cases;
use crate::check::fails;
use crate::poll::until;

cases! { power:
    fn a_paused_sandbox_stands_still_and_goes_on(cx) needs [Pause, Files] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "(while :; do echo x >> count; sleep 1; done) >/dev/null 2>&1 &").await?;
        until("it counts", async || Ok(sandbox.exists("count").await?)).await?;
        sandbox.pause().await?;
        same!(sandbox.status().await?, SandboxStatus::Paused);
        sandbox.resume().await?;
        same!(sandbox.status().await?, SandboxStatus::Running);
        let seen = sh(&sandbox, "cat count").await?;
        until("it counts on", async || Ok(sh(&sandbox, "cat count").await? != seen)).await?;
    }

    fn a_command_in_a_paused_sandbox_is_refused_and_does_not_hang(cx) needs [Pause] {
        let sandbox = cx.sandbox().await?;
        sandbox.pause().await?;
        let error = fails(sandbox.execute("echo x").timeout(secs(20)).await, &[ErrorKind::Conflict])?;
        check!(error.remedy().is_some(), "does not say to resume: {error}");
        sandbox.resume().await?;
        same!(sh(&sandbox, "echo x").await?, "x\n");
    }

    fn pausing_and_resuming_twice_is_no_error_or_a_conflict(cx) needs [Pause] {
        let sandbox = cx.sandbox().await?;
        sandbox.pause().await?;
        if let Err(error) = sandbox.pause().await { same!(error.kind(), ErrorKind::Conflict); }
        sandbox.resume().await?;
        if let Err(error) = sandbox.resume().await { same!(error.kind(), ErrorKind::Conflict); }
        same!(sh(&sandbox, "echo x").await?, "x\n");
    }

    fn a_command_that_runs_survives_a_pause(cx) needs [Pause, Processes] {
        let sandbox = cx.sandbox().await?;
        let mut process = sandbox.spawn("echo up; while [ ! -e go ]; do sleep 1; done; exit 6").await?;
        super::processes::read_until(&mut process, "up\n").await?;
        sandbox.pause().await?;
        sandbox.resume().await?;
        sh(&sandbox, "echo > go").await?;
        same!(process.wait().await?.code(), Some(6));
    }

    fn a_paused_sandbox_can_be_closed(cx) needs [Pause] {
        let sandbox = cx.create(cx.config()).await?;
        sh(&sandbox, "sleep 300 >/dev/null 2>&1 &").await?;
        sandbox.pause().await?;
        sandbox.close().await?;
        same!(cx.listed().await?, Vec::new());
    }

    fn terminating_ends_processes_and_keeps_files(cx) needs [Terminate] {
        let sandbox = cx.sandbox().await?;
        let running = numbers(&sh(&sandbox, "echo kept > f; sleep 300 >/dev/null 2>&1 & echo $!").await?)?;
        sandbox.terminate().await?;
        same!(sandbox.status().await?, SandboxStatus::Stopped);
        fails(sandbox.execute("true").timeout(secs(20)).await, &[ErrorKind::Conflict])?;
        sandbox.wake_up().await?;
        same!(sandbox.status().await?, SandboxStatus::Running);
        same!(sh(&sandbox, "cat f").await?, "kept\n");
        gone(&sandbox, &running).await?;
    }

    fn snapshots_survive_a_termination(cx) needs [Terminate, Snapshots] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo before > f").await?;
        let snapshot = sandbox.create_snapshot("point").await?;
        sandbox.terminate().await?;
        sandbox.wake_up().await?;
        sh(&sandbox, "echo after > f").await?;
        sandbox.restore_snapshot(&snapshot.id).await?;
        same!(sh(&sandbox, "cat f").await?, "before\n");
    }

    fn a_terminated_sandbox_can_be_closed(cx) needs [Terminate] {
        let sandbox = cx.create(cx.config()).await?;
        sandbox.terminate().await?;
        sandbox.close().await?;
        same!(cx.listed().await?, Vec::new());
    }
}
