//! Status, lifetime and the end.

use std::time::{Duration, SystemTime};

use grainchain_core::{Error, ErrorKind, ListFilter, SandboxConfig};

use super::support::{secs, sh};
use crate::case::cases;
use crate::check::{Failure, Outcome, fails};
use crate::poll::until;

cases! { lifecycle:
    fn closing_removes_it_from_the_list(cx) {
        let sandbox = cx.create(cx.config()).await?;
        sandbox.close().await?;
        same!(cx.listed().await?, Vec::new());
    }

    fn closing_twice_is_no_error(cx) {
        let sandbox = cx.create(cx.config()).await?;
        sandbox.close().await?;
        sandbox.close().await?;
    }

    fn a_closed_sandbox_refuses_everything(cx) {
        let sandbox = cx.create(cx.config()).await?;
        sandbox.close().await?;
        let gone = &[ErrorKind::NotFound, ErrorKind::Conflict, ErrorKind::Connection];
        fails(sandbox.execute("echo x").timeout(secs(20)).await, gone)?;
        fails(sandbox.info().await, gone)?;
        fails(cx.client().connect(sandbox.id().clone()).await, &[ErrorKind::NotFound])?;
    }

    fn closing_while_commands_run_ends_them(cx) {
        let sandbox = cx.create(cx.config()).await?;
        let command = tokio::spawn(sandbox.execute("echo > up; sleep 300").timeout(secs(250)).into_future());
        until("the command runs", async || Ok(!sh(&sandbox, "ls").await?.is_empty())).await?;
        sandbox.close().await?;
        let ended = tokio::time::timeout(secs(20), command).await;
        check!(ended.is_ok(), "the command of a closed sandbox goes on");
    }

    fn closing_from_two_sides_is_no_error(cx) {
        let sandbox = cx.create(cx.config()).await?;
        let again = cx.client().connect(sandbox.id().clone()).await?;
        let (first, second) = futures_util::future::join(sandbox.close(), again.close()).await;
        first?;
        second?;
    }

    fn a_sandbox_is_removed_by_its_id(cx) {
        let sandbox = cx.create(cx.config()).await?;
        cx.client().remove(sandbox.id()).await?;
        same!(cx.listed().await?, Vec::new());
    }

    fn closing_one_leaves_the_others(cx) {
        let (first, second) = (cx.create(cx.config()).await?, cx.create(cx.config()).await?);
        sh(&second, "echo kept > f").await?;
        first.close().await?;
        same!(sh(&second, "cat f").await?, "kept\n");
    }

    fn closing_removes_even_what_may_not_be_written(cx) {
        let sandbox = cx.create(cx.config()).await?;
        sh(&sandbox, "mkdir -p a/b; echo x > a/b/f; chmod 000 a/b/f; chmod 500 a/b a").await?;
        sandbox.close().await?;
        same!(cx.listed().await?, Vec::new());
    }

    fn a_dropped_handle_does_nothing(cx) {
        let sandbox = cx.create(cx.config()).await?;
        let id = sandbox.id().clone();
        sh(&sandbox, "echo kept > f").await?;
        drop(sandbox);
        same!(sh(&cx.client().connect(id).await?, "cat f").await?, "kept\n");
    }

    fn a_lifetime_can_be_changed(cx) needs [SetLifetime] {
        let sandbox = cx.sandbox().await?;
        sandbox.set_lifetime(Duration::from_secs(7200)).await?;
        let Some(expires) = sandbox.info().await?.expires_at else { return Err(Failure::new("does not say when it ends")) };
        let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
        check!(left > Duration::from_secs(6900) && left < Duration::from_secs(7500), "{left:?} are left");
    }

    fn a_scope_closes_on_success(cx) {
        let text = cx.client().scope(cx.config(), async |sandbox| {
            Ok::<_, Error>(sandbox.execute("echo inside").await?.stdout().into_owned())
        }).await?;
        same!(text, "inside\n");
        same!(cx.listed().await?, Vec::new());
    }

    fn a_scope_closes_on_an_error(cx) {
        let result: Result<(), Failure> = cx.client().scope(cx.config(), async |sandbox| {
            sandbox.execute("true").await?;
            Err(Failure::new("on purpose"))
        }).await;
        same!(result.map_err(|failure| failure.reason().to_owned()), Err("on purpose".to_owned()));
        same!(cx.listed().await?, Vec::new());
    }

    fn a_scope_closes_on_a_panic(cx) {
        let client = cx.client().clone();
        let config = cx.config();
        let task = tokio::spawn(async move {
            client.scope(config, async |sandbox| {
                sandbox.execute("true").await?;
                // Not `panic!`, whose message would stand in the middle of the test run.
                std::panic::resume_unwind(Box::new("on purpose"));
                #[expect(unreachable_code, reason = "the type of the scope's result")]
                Ok::<(), Error>(())
            }).await
        });
        check!(task.await.is_err_and(|error| error.is_panic()), "the panic was swallowed");
        same!(cx.listed().await?, Vec::new());
    }

    fn a_scope_closes_when_it_is_cancelled(cx) {
        let (client, config, mark) = (cx.client().clone(), cx.config(), cx.mark().to_owned());
        let task = tokio::spawn(async move {
            client.scope(config, async |sandbox| {
                sandbox.execute("sleep 300").await?;
                Ok::<(), Error>(())
            }).await
        });
        until("the scope has its sandbox", async || Ok(!cx.listed().await?.is_empty())).await?;
        task.abort();
        until("the sandbox is gone", async || Ok(cx.listed().await?.is_empty())).await?;
        check!(!mark.is_empty(), "the case has no mark");
    }

    fn a_scope_that_is_cancelled_at_once_leaves_nothing(cx) {
        for pause in [0_u64, 1, 2, 5, 10, 20, 50] {
            let (client, config) = (cx.client().clone(), cx.config());
            let task = tokio::spawn(async move {
                client.scope(config, async |sandbox| { sandbox.execute("true").await?; Ok::<(), Error>(()) }).await
            });
            tokio::time::sleep(Duration::from_millis(pause)).await;
            task.abort();
            // What was being made at that moment is made to its end and then closed.
            let _ = task.await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        until("nothing is left", async || Ok(cx.listed().await?.is_empty())).await?;
    }

    fn a_default_config_is_enough(cx) {
        if cx.setup().base_config() == SandboxConfig::default() {
            let sandbox = cx.client().create(SandboxConfig::default()).await?;
            cx.adopt(&sandbox);
            same!(sandbox.default_timeout(), Some(Duration::from_secs(300)));
            same!(sh(&sandbox, "echo x").await?, "x\n");
        }
        Outcome::Ok(())?;
    }

    fn the_list_is_open_to_every_client(cx) {
        let sandbox = cx.sandbox().await?;
        let other = cx.client().clone().owner("somebody else");
        check!(other.list(ListFilter::default()).await?.iter().any(|info| info.id == *sandbox.id()), "another client does not see it");
        same!(sh(&other.connect(sandbox.id().clone()).await?, "echo x").await?, "x\n");
    }
}
