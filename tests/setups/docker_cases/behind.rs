//! What happens to a container past Grainchain, and what ends without anybody asking for it.

use std::time::Duration;

use grainchain_core::{ErrorKind, ListFilter, SandboxStatus};
use grainchain_testkit::{Context, Outcome, fails, until};

use super::support::{container, engine, equal, goes_on, is_there, nothing_left, require, secs, sh};

/// Whether a sandbox that was made with the metadata of this case is listed.
async fn is_listed(cx: &Context, id: &grainchain_core::SandboxId) -> Outcome<bool> {
    Ok(cx.client().list(ListFilter::default()).await?.iter().any(|info| info.id == *id))
}

/// Waits until the engine has no container of that name.
async fn vanishes(name: &str) -> Outcome {
    until(&format!("{name} vanishes"), async || Ok(!is_there(name).await?)).await
}

cases! { docker_behind:
    fn a_container_that_somebody_removed_is_a_sandbox_that_is_not_found(cx) {
        let sandbox = cx.sandbox().await?;
        goes_on(&sandbox).await?;
        engine(&["rm", "-f", &container(&sandbox)]).await?;
        fails(sandbox.execute("true").await, &[ErrorKind::NotFound])?;
        fails(sandbox.info().await, &[ErrorKind::NotFound])?;
        fails(sandbox.pause().await, &[ErrorKind::NotFound])?;
        fails(cx.client().connect(sandbox.id().clone()).await, &[ErrorKind::NotFound])?;
        fails(cx.client().remove(sandbox.id()).await, &[ErrorKind::NotFound])?;
        require(!is_listed(&cx, sandbox.id()).await?, "it is still listed")?;
        sandbox.close().await?;
        sandbox.close().await?;
    }

    fn and_all_that_its_helper_did_is_not_found_either(cx) needs [Processes, Files, Ports] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("note", "x").await?;
        engine(&["rm", "-f", &container(&sandbox)]).await?;
        fails(sandbox.download_file("note").await, &[ErrorKind::NotFound])?;
        fails(sandbox.upload_file("note", "y").await, &[ErrorKind::NotFound])?;
        fails(sandbox.stat("note").await, &[ErrorKind::NotFound])?;
        fails(sandbox.spawn("true").await, &[ErrorKind::NotFound])?;
        fails(sandbox.list_processes().await, &[ErrorKind::NotFound])?;
        fails(sandbox.preview_url(80).await, &[ErrorKind::NotFound])?;
        fails(sandbox.set_lifetime(secs(60)).await, &[ErrorKind::NotFound])?;
    }

    fn a_command_whose_container_is_removed_ends_with_an_error(cx) {
        let sandbox = cx.sandbox().await?;
        let own = sandbox.clone();
        let command = tokio::spawn(async move { own.execute("echo begun; sleep 300").await });
        until("the command runs", async || Ok(sh(&sandbox, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; :").await?.contains("sleep 300"))).await?;
        engine(&["rm", "-f", &container(&sandbox)]).await?;
        match command.await.map_err(|_| "the command was lost")? {
            // The engine tells of an end by a signal.
            Ok(output) => require(!output.success(), "a command that was cut off is told as a success")?,
            Err(error) => require(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Connection), format!("{error:?}"))?,
        }
    }

    fn a_process_whose_container_is_killed_ends_with_an_error(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let mut process = sandbox.spawn("sleep 300").await?;
        engine(&["kill", &container(&sandbox)]).await?;
        match process.wait().await {
            Ok(status) => require(!status.success(), "a process that was cut off is told as a success")?,
            Err(error) => require(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Connection), format!("{error:?}"))?,
        }
        vanishes(&container(&sandbox)).await?;
    }

    fn a_container_that_somebody_stopped_leaves_nothing(cx) {
        let sandbox = cx.sandbox().await?;
        engine(&["stop", "-t", "1", &container(&sandbox)]).await?;
        vanishes(&container(&sandbox)).await?;
        fails(sandbox.execute("true").await, &[ErrorKind::NotFound])?;
        nothing_left(&cx).await?;
    }

    fn a_container_that_somebody_paused_is_resumed_by_us(cx) {
        let sandbox = cx.sandbox().await?;
        engine(&["pause", &container(&sandbox)]).await?;
        equal("its status", sandbox.status().await?, SandboxStatus::Paused)?;
        sandbox.resume().await?;
        goes_on(&sandbox).await?;
    }

    fn a_container_that_somebody_else_called_like_ours_is_left_alone(cx) {
        let id = format!("sb_{}", cx.mark());
        let name = format!("grainchain-{id}");
        let image = engine(&["inspect", "-f", "{{.Image}}", &container(&cx.sandbox().await?)]).await?;
        engine(&["create", "--name", &name, &image, "sleep", "1"]).await?;
        let id = grainchain_core::SandboxId::new(id);
        let looked = async {
            require(!is_listed(&cx, &id).await?, "it is listed")?;
            fails(cx.client().connect(id.clone()).await, &[ErrorKind::NotFound])?;
            fails(cx.client().remove(&id).await, &[ErrorKind::NotFound])?;
            require(is_there(&name).await?, "somebody else's container was removed")
        };
        let looked = looked.await;
        engine(&["rm", "-f", &name]).await?;
        looked?;
    }

    fn a_sandbox_whose_lifetime_is_over_vanishes_by_itself(cx) {
        let sandbox = cx.create(cx.config().lifetime(Duration::from_secs(2))).await?;
        vanishes(&container(&sandbox)).await?;
        fails(sandbox.execute("true").await, &[ErrorKind::NotFound])?;
        require(!is_listed(&cx, sandbox.id()).await?, "it is still listed")?;
        nothing_left(&cx).await?;
    }

    fn a_command_does_not_outlive_the_lifetime(cx) {
        let sandbox = cx.create(cx.config().lifetime(Duration::from_secs(3))).await?;
        match sandbox.execute("trap '' TERM HUP INT; while :; do sleep 300; done").await {
            Ok(output) => require(!output.success(), "it is told as a success")?,
            Err(error) => require(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Connection), format!("{error:?}"))?,
        }
        vanishes(&container(&sandbox)).await?;
    }

    fn a_sandbox_that_was_given_more_time_lives_on(cx) needs [SetLifetime] {
        let (short, longer) = (cx.create(cx.config().lifetime(secs(3))).await?, cx.create(cx.config().lifetime(secs(3))).await?);
        longer.set_lifetime(secs(600)).await?;
        vanishes(&container(&short)).await?;
        goes_on(&longer).await?;
        require(is_listed(&cx, longer.id()).await?, "it is not listed")?;
    }

    fn a_sandbox_without_a_client_vanishes_when_its_lease_is_over(cx) needs [Processes] {
        let config = || cx.config().provider_option("lease", "1s");
        let held = cx.create(config()).await?;
        // Not adopted: with its last handle the client is gone.
        let left = cx.client().create(config()).await?;
        let name = container(&left);
        goes_on(&left).await?;
        drop(left);
        vanishes(&name).await?;
        goes_on(&held).await?;
    }

    fn one_that_is_kept_alive_has_no_lease(cx) needs [Processes] {
        let kept = cx.client().create(cx.config().keep_alive().provider_option("lease", "1s")).await?;
        let left = cx.client().create(cx.config().provider_option("lease", "1s")).await?;
        let (id, name) = (kept.id().clone(), container(&left));
        drop((kept, left));
        vanishes(&name).await?;
        let again = cx.client().connect(id).await?;
        cx.adopt(&again);
        goes_on(&again).await?;
    }

    fn whoever_comes_back_before_the_lease_is_over_finds_everything(cx) needs [Processes, Files] {
        let sandbox = cx.client().create(cx.config().provider_option("lease", "60s")).await?;
        sandbox.upload_file("note", "x").await?;
        let id = sandbox.id().clone();
        drop(sandbox);
        let again = cx.client().connect(id).await?;
        cx.adopt(&again);
        equal("the file", &again.download_file("note").await?[..], &b"x"[..])?;
    }

    fn closing_takes_everything_along_that_still_runs(cx) {
        let sandbox = cx.create(cx.config()).await?;
        let own = sandbox.clone();
        let command = tokio::spawn(async move { own.execute("trap '' TERM HUP INT; while :; do sleep 300; done").await.map(drop) });
        until("the command runs", async || Ok(sh(&sandbox, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; :").await?.contains("sleep 300"))).await?;
        sandbox.close().await?;
        require(!is_there(&container(&sandbox)).await?, "the container is there after it was closed")?;
        command.await.map_err(|_| "the command was lost")?.ok();
    }
}
