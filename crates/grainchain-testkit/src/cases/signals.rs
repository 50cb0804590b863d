//! Signals: ends that are no exit codes.

use grainchain_core::{ErrorKind, Sandbox, Signal};

use super::processes::read_until;
use super::support::{gone, pids, secs};
use crate::case::cases;
use crate::check::{Outcome, fails};

/// Has a command end by each of `signals`.
async fn ends_by(sandbox: &Sandbox, signals: &[i32]) -> Outcome {
    for number in signals {
        // The command itself, not a shell around it: a shell would turn the signal into a code.
        let output = sandbox.execute(["sh", "-c", &format!("ulimit -c 0; kill -{number} $$; exit 99")]).timeout(secs(30)).await?;
        if *number == 3 && output.exit_code() == Some(99) {
            // Some shells do not let themselves be quit.
            continue;
        }
        same!(output.signal().map(Signal::as_raw), Some(*number), "the signal");
        same!(output.exit_code(), None, "the exit code after signal {number}");
    }
    Ok(())
}

cases! { signals:
    fn an_end_by_a_polite_signal_is_told_as_it_is(cx) needs [ExitSignals] { ends_by(&cx.sandbox().await?, &[1, 2, 15]).await?; }
    fn an_end_by_kill_is_told_as_it_is(cx) needs [ExitSignals] { ends_by(&cx.sandbox().await?, &[9]).await?; }
    fn an_end_by_a_user_signal_is_told_as_it_is(cx) needs [ExitSignals] { ends_by(&cx.sandbox().await?, &[10, 12, 13, 14]).await?; }
    fn an_end_by_a_fault_is_told_as_it_is(cx) needs [ExitSignals] { ends_by(&cx.sandbox().await?, &[4, 5, 6, 7, 8, 11, 31]).await?; }
    fn an_end_by_quit_or_a_limit_is_told_as_it_is(cx) needs [ExitSignals] { ends_by(&cx.sandbox().await?, &[3, 24, 25, 26, 27]).await?; }
    fn an_end_by_a_rare_signal_is_told_as_it_is(cx) needs [ExitSignals] { ends_by(&cx.sandbox().await?, &[16, 29, 30]).await?; }

    fn an_end_by_a_real_time_signal_is_told_as_it_is(cx) needs [ExitSignals] { ends_by(&cx.sandbox().await?, &[35, 36, 49, 63, 64]).await?; }

    fn a_signal_is_not_the_code_a_shell_would_show(cx) needs [ExitSignals] {
        let sandbox = cx.sandbox().await?;
        let code = sandbox.execute("exit 137").await?;
        same!((code.exit_code(), code.signal()), (Some(137), None));
        let signal = sandbox.execute("kill -9 $$").await?;
        same!((signal.exit_code(), signal.signal()), (None, Some(Signal::KILL)));
        same!(signal.status.map(grainchain_core::ExitStatus::shell_code), Some(137));
    }

    fn without_signals_an_end_is_the_code_a_shell_would_show(cx) lacks [ExitSignals] {
        let output = cx.sandbox().await?.execute("kill -9 $$").await?;
        same!((output.exit_code(), output.signal(), output.failed()), (Some(137), None, true));
    }

    fn a_child_that_died_is_the_shells_business(cx) {
        let output = cx.sandbox().await?.execute("sh -c 'kill -TERM $$; sleep 9'; echo $?").await?;
        same!(output.stdout().lines().last(), Some("143"));
        same!(output.exit_code(), Some(0));
    }

    fn a_signal_that_is_handled_is_an_ordinary_exit(cx) {
        let output = cx.sandbox().await?.execute("trap 'echo caught; exit 5' USR1; kill -USR1 $$; sleep 9").await?;
        same!((output.stdout().into_owned(), output.exit_code()), ("caught\n".to_owned(), Some(5)));
    }

    fn signals_begin_at_their_defaults(cx) {
        // What our side ignores or blocks (SIGPIPE above all) must not be inherited.
        let output = cx.sandbox().await?.execute("yes | head -n 1; kill -PIPE $$; echo survived").timeout(secs(20)).await?;
        same!(output.stdout(), "y\n");
        same!(output.status.map(grainchain_core::ExitStatus::shell_code), Some(128 + 13));
    }

    fn a_process_gets_the_signal_sent(cx) needs [Processes] {
        let mut process = cx.sandbox().await?.spawn("trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 1; done").await?;
        read_until(&mut process, "ready").await?;
        process.signal(Signal::TERM).await?;
        read_until(&mut process, "got it").await?;
        same!(process.wait().await?.code(), Some(3));
    }

    fn the_group_gets_the_signal_too(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let process = sandbox.spawn("sleep 300 & echo $! >> pids; echo $$ >> pids; wait; sleep 300").await?;
        let group = pids(&sandbox, "pids", 2).await?;
        process.signal(Signal::KILL).await?;
        gone(&sandbox, &group).await?;
    }

    fn a_signal_to_what_has_ended_is_not_found(cx) needs [Processes] {
        let mut process = cx.sandbox().await?.spawn("true").await?;
        process.wait().await?;
        let result = process.signal(Signal::TERM).await;
        let error = match result { Ok(()) => return Err("a signal to nobody arrived".into()), Err(error) => error };
        same!(error.kind(), ErrorKind::NotFound);
    }

    fn a_stopped_process_goes_on(cx) needs [Processes] {
        let mut process = cx.sandbox().await?.spawn("while :; do echo tick; sleep 1; done").await?;
        read_until(&mut process, "tick").await?;
        process.signal(Signal::STOP).await?;
        process.signal(Signal::CONT).await?;
        read_until(&mut process, "tick\ntick").await?;
        process.kill().await?;
    }

    fn a_missing_signal_number_is_refused(_cx) {
        for number in [0, -1, 65, i32::MAX] {
            check!(Signal::new(number).is_err(), "{number} passes for a signal");
        }
        let error = fails("NOPE".parse::<Signal>().map_err(|error| error.operation(grainchain_core::Operation::Spawn).provider("none")), &[ErrorKind::BadRequest])?;
        check!(error.to_string().contains("NOPE"), "{error}");
    }
}
