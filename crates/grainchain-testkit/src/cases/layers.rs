//! Layers around a real provider change nothing for the user.

use std::time::Duration;

use grainchain_core::layer::{ConcurrencyLimit, RateLimit, Retry, Trace};
use grainchain_core::{Client, ErrorKind, Sandbox};

use super::support::secs;
use crate::case::cases;
use crate::check::{Outcome, fails};
use crate::context::Context;

/// This case's sandbox, reached through `client`.
async fn through(cx: &Context, client: Client) -> Outcome<Sandbox> {
    Ok(client.connect(cx.sandbox().await?.id().clone()).await?)
}

/// What every stack of layers must let through.
async fn works(sandbox: &Sandbox) -> Outcome {
    let output = sandbox.execute("cat; echo err >&2; exit 3").stdin("in").env("A", "b").timeout(secs(20)).await?;
    same!((output.stdout().into_owned(), output.exit_code()), ("in".to_owned(), Some(3)));
    fails(sandbox.execute(["no-such-program"]).await, &[ErrorKind::NotFound])?;
    fails(sandbox.execute("sleep 300").timeout(secs(1)).await, &[ErrorKind::Timeout])?;
    Ok(())
}

cases! { layers:
    fn a_stack_of_layers_changes_nothing(cx) {
        let client = cx.client().clone().layer(ConcurrencyLimit::new(4)).layer(RateLimit::new(1000, secs(1))).layer(Retry::default()).layer(Trace);
        let sandbox = through(&cx, client).await?;
        same!(sandbox.capabilities(), cx.sandbox().await?.capabilities());
        works(&sandbox).await?;
    }

    fn a_limit_of_one_lets_everything_through_in_turn(cx) {
        let sandbox = through(&cx, cx.client().clone().layer(ConcurrencyLimit::new(1))).await?;
        let commands = (0..6).map(|_| sandbox.execute("[ -e lock ] && echo crowd; echo > lock; sleep 1; rm lock").into_future());
        for output in futures_util::future::join_all(commands).await { same!(output?.stdout(), ""); }
    }

    fn a_full_limit_does_not_hold_up_the_end(cx) {
        let sandbox = through(&cx, cx.client().clone().layer(ConcurrencyLimit::new(1))).await?;
        let busy = tokio::spawn(sandbox.execute("sleep 300").into_future());
        tokio::time::sleep(Duration::from_millis(100)).await;
        check!(tokio::time::timeout(secs(20), sandbox.close()).await.is_ok(), "close waits behind a command");
        busy.abort();
    }

    fn a_retry_does_not_run_a_command_twice(cx) {
        let sandbox = through(&cx, cx.client().clone().layer(Retry::default())).await?;
        fails(sandbox.execute("echo >> runs; sleep 300").timeout(secs(1)).await, &[ErrorKind::Timeout])?;
        sandbox.execute("echo >> runs; exit 1").await?;
        same!(sandbox.execute("wc -l < runs").await?.stdout().trim(), "2");
    }

    fn a_client_with_a_layer_leaves_its_original(cx) {
        let layered = cx.client().clone().layer(ConcurrencyLimit::new(1));
        check!(format!("{layered:?}").contains("ConcurrencyLimit"), "the layer is not there");
        check!(!format!("{:?}", cx.client()).contains("ConcurrencyLimit"), "the original has it too");
        works(&cx.sandbox().await?).await?;
    }
}
