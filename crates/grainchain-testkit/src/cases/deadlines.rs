//! No call hangs.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use grainchain_core::{Content, Deadlines, Error, ErrorKind};

use super::support::{gone, pids, secs, sh};
use crate::case::cases;
use crate::check::fails;

/// Long after a deadline an answer may still come on a busy machine; later than that nothing kept it.
const SOON: Duration = Duration::from_secs(10);

cases! { deadlines:
    fn a_transfer_that_stands_still_is_given_up(cx) needs [Files] {
        let client = cx.client().clone().deadlines(Deadlines::default().idle(secs(1)));
        let sandbox = client.connect(cx.sandbox().await?.id().clone()).await?;
        sandbox.upload_file("note", "the old one").await?;
        let endless = stream::once(async { Ok(Bytes::from_static(b"first")) }).chain(stream::pending());
        let begun = Instant::now();
        let result = sandbox.upload_file("note", Content::from_stream(endless, None)).await;
        fails(result, &[ErrorKind::Timeout])?;
        check!(begun.elapsed() < SOON, "was given up only after {:?}", begun.elapsed());
        same!(sandbox.download_file("note").await?, "the old one");
    }

    fn a_slow_transfer_that_moves_is_not_given_up(cx) needs [Files] {
        let client = cx.client().clone().deadlines(Deadlines::default().idle(secs(2)));
        let sandbox = client.connect(cx.sandbox().await?.id().clone()).await?;
        let slow = stream::unfold(0_u8, |number| async move {
            if number == 10 { return None; }
            tokio::time::sleep(Duration::from_millis(400)).await;
            Some((Ok::<_, Error>(Bytes::from(vec![b'0' + number])), number + 1))
        });
        sandbox.upload_file("slow", Content::from_stream(slow, None)).await?;
        same!(sandbox.download_file("slow").await?, "0123456789");
    }

    fn a_deadline_holds_under_a_stopped_child(cx) needs [TreeKill] {
        let sandbox = cx.sandbox().await?;
        let begun = Instant::now();
        let line = "(echo $$; sleep 300) & echo $! >> pids; sleep 300 & echo $! >> pids; kill -STOP $!; kill -STOP $$; wait";
        fails(sandbox.execute(line).timeout(secs(2)).await, &[ErrorKind::Timeout])?;
        check!(begun.elapsed() < secs(2) + SOON, "was told only after {:?}", begun.elapsed());
        gone(&sandbox, &pids(&sandbox, "pids", 2).await?).await?;
    }

    fn closing_holds_under_stopped_processes(cx) {
        let sandbox = cx.create(cx.config()).await?;
        sh(&sandbox, "(while :; do sleep 1; done) >/dev/null 2>&1 & kill -STOP $!").await?;
        let begun = Instant::now();
        sandbox.close().await?;
        check!(begun.elapsed() < SOON, "took {:?}", begun.elapsed());
    }

    fn a_child_that_holds_the_output_does_not_hold_the_answer(cx) {
        let sandbox = cx.sandbox().await?;
        let begun = Instant::now();
        let output = sandbox.execute("(trap '' TERM HUP; sleep 300) & echo answered").timeout(secs(40)).await?;
        same!(output.stdout(), "answered\n");
        check!(begun.elapsed() < secs(20), "the answer waited {:?} for the child", begun.elapsed());
    }

    fn looking_is_quick_while_commands_run(cx) {
        let sandbox = cx.sandbox().await?;
        let flood = tokio::spawn(sandbox.execute("while :; do echo x; done").timeout(secs(5)).into_future());
        let begun = Instant::now();
        for _ in 0..10 { sandbox.info().await?; cx.listed().await?; }
        check!(begun.elapsed() < SOON, "took {:?}", begun.elapsed());
        flood.abort();
    }
}
