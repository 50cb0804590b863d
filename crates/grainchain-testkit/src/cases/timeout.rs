//! What happens when a command's time is over.

use std::time::{Duration, Instant};

use futures_util::future::join;
use grainchain_core::{ByteSize, ErrorKind};

use super::support::{gone, numbers, partial, pids, secs, sh};
use crate::case::cases;
use crate::check::fails;
use crate::poll::until;

/// Long after its timeout a command may still be told of on a busy machine; later than that it hung.
const SOON: Duration = Duration::from_secs(10);

/// The timeout in cases that need the command to have started first.
const SHORT: Duration = Duration::from_secs(2);

cases! { timeout:
    fn a_timeout_is_an_error_of_that_kind(cx) {
        let result = cx.sandbox().await?.execute("sleep 300").timeout(secs(1)).await;
        let error = fails(result, &[ErrorKind::Timeout])?;
        check!(!error.is_retryable(), "a command that timed out must not be repeated by itself: {error}");
    }

    fn a_timeout_comes_soon(cx) {
        let sandbox = cx.sandbox().await?;
        let begun = Instant::now();
        fails(sandbox.execute("sleep 300").timeout(secs(1)).await, &[ErrorKind::Timeout])?;
        let took = begun.elapsed();
        check!(took >= secs(1), "was told after {took:?} already");
        check!(took < secs(1) + SOON, "was told only after {took:?}");
    }

    fn a_timeout_names_its_length(cx) {
        let result = cx.sandbox().await?.execute("sleep 300").timeout(Duration::from_millis(1234)).await;
        let error = fails(result, &[ErrorKind::Timeout])?;
        check!(error.to_string().contains("1.234s"), "does not say how long it was: {error}");
    }

    fn a_timeout_carries_the_output_so_far(cx) {
        let result = cx.sandbox().await?.execute("echo one; echo two; sleep 300").timeout(SHORT).await;
        let error = fails(result, &[ErrorKind::Timeout])?;
        same!(partial(&error)?.stdout(), "one\ntwo\n");
    }

    fn a_timeout_carries_the_errors_so_far(cx) needs [SeparateOutput] {
        let result = cx.sandbox().await?.execute("echo out; echo bad >&2; sleep 300").timeout(SHORT).await;
        let error = fails(result, &[ErrorKind::Timeout])?;
        same!(partial(&error)?.stderr(), "bad\n");
        same!(partial(&error)?.stdout(), "out\n");
    }

    fn a_timeout_invents_no_exit_code(cx) {
        let result = cx.sandbox().await?.execute("sleep 300").timeout(secs(1)).await;
        let error = fails(result, &[ErrorKind::Timeout])?;
        same!(partial(&error)?.exit_code(), None);
        check!(!partial(&error)?.success(), "a command that was killed succeeded");
    }

    fn a_timeout_kills_the_command(cx) needs [TreeKill] {
        let sandbox = cx.sandbox().await?;
        fails(sandbox.execute("echo $$ > pids; sleep 300; :").timeout(SHORT).await, &[ErrorKind::Timeout])?;
        gone(&sandbox, &pids(&sandbox, "pids", 1).await?).await?;
    }

    fn a_timeout_kills_the_children(cx) needs [TreeKill] {
        let sandbox = cx.sandbox().await?;
        let line = "(sleep 300; :) & echo $! >> pids; sleep 300 & echo $! >> pids; wait";
        fails(sandbox.execute(line).timeout(SHORT).await, &[ErrorKind::Timeout])?;
        gone(&sandbox, &pids(&sandbox, "pids", 2).await?).await?;
    }

    fn a_timeout_kills_children_that_called_setsid(cx) needs [TreeKill] {
        let sandbox = cx.sandbox().await?;
        let line = "setsid sh -c 'echo $$ >> pids; sleep 300; :' & setsid sleep 300 & echo $! >> pids; wait";
        fails(sandbox.execute(line).timeout(SHORT).await, &[ErrorKind::Timeout])?;
        gone(&sandbox, &pids(&sandbox, "pids", 2).await?).await?;
    }

    fn a_timeout_kills_orphans(cx) needs [TreeKill] {
        let sandbox = cx.sandbox().await?;
        let line = "( (sleep 300 & echo $! >> pids) & ); (setsid sh -c '(sleep 300 & echo $! >> pids)' &); sleep 300";
        fails(sandbox.execute(line).timeout(SHORT).await, &[ErrorKind::Timeout])?;
        gone(&sandbox, &pids(&sandbox, "pids", 2).await?).await?;
    }

    fn a_timeout_kills_what_ignores_signals(cx) needs [TreeKill] {
        let sandbox = cx.sandbox().await?;
        let line = "trap '' TERM INT HUP QUIT; echo $$ >> pids; (sleep 300; :) & echo $! >> pids; while :; do sleep 300; done";
        fails(sandbox.execute(line).timeout(SHORT).await, &[ErrorKind::Timeout])?;
        gone(&sandbox, &pids(&sandbox, "pids", 2).await?).await?;
    }

    fn a_timeout_kills_stopped_children(cx) needs [TreeKill] {
        let sandbox = cx.sandbox().await?;
        let line = "sleep 300 & echo $! >> pids; kill -STOP $!; wait";
        fails(sandbox.execute(line).timeout(SHORT).await, &[ErrorKind::Timeout])?;
        gone(&sandbox, &pids(&sandbox, "pids", 1).await?).await?;
    }

    fn a_timeout_holds_when_the_command_stops_itself(cx) needs [TreeKill] {
        let sandbox = cx.sandbox().await?;
        let result = sandbox.execute("echo $$ > pids; kill -STOP $$; echo never").timeout(SHORT).await;
        fails(result, &[ErrorKind::Timeout])?;
        gone(&sandbox, &pids(&sandbox, "pids", 1).await?).await?;
    }

    fn a_timeout_kills_what_closed_its_streams(cx) needs [TreeKill] {
        let sandbox = cx.sandbox().await?;
        let line = "sleep 300 <&- >&- 2>&- & echo $! > pids; exec >&- 2>&-; sleep 300";
        fails(sandbox.execute(line).timeout(SHORT).await, &[ErrorKind::Timeout])?;
        gone(&sandbox, &pids(&sandbox, "pids", 1).await?).await?;
    }

    fn a_timeout_kills_every_part_of_a_pipeline(cx) needs [TreeKill] {
        let sandbox = cx.sandbox().await?;
        let part = "sh -c 'echo $$ >> pids; sleep 300; :'";
        fails(sandbox.execute(format!("{part} | {part} | {part}")).timeout(SHORT).await, &[ErrorKind::Timeout])?;
        gone(&sandbox, &pids(&sandbox, "pids", 3).await?).await?;
    }

    fn a_timeout_kills_what_hides_its_environment(cx) needs [TreeKill] {
        let sandbox = cx.sandbox().await?;
        let line = "setsid env -i /bin/sh -c 'echo $$ >> pids; sleep 300; :' & wait";
        fails(sandbox.execute(line).timeout(SHORT).await, &[ErrorKind::Timeout])?;
        gone(&sandbox, &pids(&sandbox, "pids", 1).await?).await?;
    }

    fn a_timeout_kills_what_forks_away_from_it(cx) needs [TreeKill, Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file("run", "echo >> beats\n[ -e stop ] || sh ./run &\n").await?;
        fails(sandbox.execute("sh ./run; sleep 300").timeout(SHORT).await, &[ErrorKind::Timeout])?;
        let still = until("nothing forks on", async || {
            let size = sandbox.stat("beats").await?.size;
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(size > 0 && sandbox.stat("beats").await?.size == size)
        })
        .await;
        // Whatever the answer, the chain ends here.
        sandbox.upload_file("stop", "").await?;
        still?;
    }

    fn a_timeout_spares_other_commands(cx) {
        let sandbox = cx.sandbox().await?;
        let (short, long) = join(
            async { sandbox.execute("sleep 300").timeout(secs(1)).await },
            async { sandbox.execute("sleep 3; echo done").timeout(secs(40)).await },
        )
        .await;
        fails(short, &[ErrorKind::Timeout])?;
        same!(long?.stdout(), "done\n");
    }

    fn a_timeout_spares_children_of_earlier_commands(cx) needs [TreeKill] {
        let sandbox = cx.sandbox().await?;
        let child = numbers(&sh(&sandbox, "sleep 300 >/dev/null 2>&1 & echo $!").await?)?;
        fails(sandbox.execute("sleep 300").timeout(secs(1)).await, &[ErrorKind::Timeout])?;
        same!(super::support::alive(&sandbox, &child).await?, child, "the children that live on");
    }

    fn after_a_timeout_the_sandbox_works(cx) {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo kept > file").await?;
        for _ in 0..3 {
            fails(sandbox.execute("sleep 300").timeout(secs(1)).await, &[ErrorKind::Timeout])?;
            same!(sh(&sandbox, "cat file").await?, "kept\n");
        }
    }

    fn a_timeout_of_zero_does_not_mean_the_default(cx) {
        let sandbox = cx.sandbox().await?;
        let begun = Instant::now();
        let result = sandbox.execute("sleep 300").timeout(Duration::ZERO).await;
        fails(result, &[ErrorKind::Timeout, ErrorKind::BadRequest])?;
        check!(begun.elapsed() < SOON, "was told only after {:?}", begun.elapsed());
    }

    fn a_timeout_without_end_is_possible(cx) {
        same!(cx.sandbox().await?.execute("echo calm").timeout(Duration::MAX).await?.stdout(), "calm\n");
    }

    fn a_command_that_keeps_its_time_is_not_disturbed(cx) {
        let output = cx.sandbox().await?.execute("sleep 1; echo fine; exit 5").timeout(secs(40)).await?;
        same!(output.exit_code(), Some(5));
        same!(output.stdout(), "fine\n");
    }

    fn the_timeout_of_the_sandbox_holds_for_commands_without_their_own(cx) {
        let sandbox = cx.create(cx.config().timeout(secs(1))).await?;
        let begun = Instant::now();
        fails(sandbox.execute("sleep 300").await, &[ErrorKind::Timeout])?;
        check!(begun.elapsed() < secs(1) + SOON, "was told only after {:?}", begun.elapsed());
    }

    fn the_timeout_of_a_command_wins(cx) {
        let sandbox = cx.create(cx.config().timeout(secs(1))).await?;
        same!(sandbox.execute("sleep 3; echo patient").timeout(secs(40)).await?.stdout(), "patient\n");
    }

    fn a_timeout_holds_when_the_input_is_not_read(cx) {
        let sandbox = cx.sandbox().await?;
        let begun = Instant::now();
        let result = sandbox.execute("sleep 300").stdin(vec![b'x'; 10 << 20]).timeout(secs(1)).await;
        fails(result, &[ErrorKind::Timeout])?;
        check!(begun.elapsed() < secs(1) + SOON, "was told only after {:?}", begun.elapsed());
    }

    fn a_timeout_amid_a_flood_keeps_head_and_tail(cx) {
        let sandbox = cx.sandbox().await?;
        let result =
            sandbox.execute("echo first; while :; do echo flood; done").output_limit(ByteSize::kib(64)).timeout(SHORT).await;
        let error = fails(result, &[ErrorKind::Timeout])?;
        let output = partial(&error)?;
        check!(output.stdout.head().starts_with(b"first\nflood\n"), "the head is lost");
        check!(output.stdout.bytes().len() <= 64 << 10, "kept {} bytes", output.stdout.bytes().len());
        check!(output.stdout.dropped() > 0, "says that nothing was dropped");
    }
}
