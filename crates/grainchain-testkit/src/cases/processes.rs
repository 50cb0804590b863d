//! Commands that run beside the caller.

use futures_util::future::try_join_all;
use grainchain_core::{Command, ErrorKind, OutputStream, Process, ProcessEvent, ProcessState, PtySize, Signal};

use super::support::{alive, gone, noise, numbers, pids, secs, sh};
use crate::case::cases;
use crate::check::{Outcome, fails};
use crate::poll::until;

/// The next event, which must come.
pub(super) async fn next(process: &mut Process) -> Outcome<Option<ProcessEvent>> {
    match tokio::time::timeout(secs(20), process.next()).await {
        Ok(event) => Ok(event?),
        Err(_) => Err("waited in vain for an event of the process".into()),
    }
}

/// Both streams up to the end of all events.
async fn drain(process: &mut Process) -> Outcome<(Vec<u8>, Vec<u8>)> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(event) = next(process).await? {
        match event {
            ProcessEvent::Stdout(bytes) => stdout.extend_from_slice(&bytes),
            ProcessEvent::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            ProcessEvent::Dropped { bytes, .. } => return Err(format!("{bytes} bytes were dropped").into()),
            _ => {}
        }
    }
    Ok((stdout, stderr))
}

/// Reads stdout until it holds `text`.
pub(super) async fn read_until(process: &mut Process, text: &str) -> Outcome<String> {
    let mut seen = Vec::new();
    loop {
        let so_far = String::from_utf8_lossy(&seen).into_owned();
        if so_far.contains(text) {
            return Ok(so_far);
        }
        match next(process).await {
            Ok(Some(ProcessEvent::Stdout(bytes))) => seen.extend_from_slice(&bytes),
            Ok(Some(_)) => {}
            Ok(None) => return Err(format!("the output ended without {text:?}: {so_far:?}").into()),
            Err(failure) => return Err(format!("{failure} (waiting for {text:?} after {so_far:?})").into()),
        }
    }
}

cases! { processes:
    fn events_begin_with_the_start_and_tell_everything(cx) needs [Processes] {
        let mut process = cx.sandbox().await?.spawn("echo out; exit 4").await?;
        same!(next(&mut process).await?, Some(ProcessEvent::Started));
        let mut rest = Vec::new();
        while let Some(event) = next(&mut process).await? { rest.push(event); }
        let text: Vec<u8> = rest.iter().filter_map(|event| match event { ProcessEvent::Stdout(bytes) => Some(bytes.to_vec()), _ => None }).flatten().collect();
        same!(text, b"out\n");
        check!(rest.iter().any(|event| matches!(event, ProcessEvent::Exited(status) if status.code() == Some(4))), "no exit in {rest:?}");
        same!(process.status().and_then(grainchain_core::ExitStatus::code), Some(4));
    }

    fn streams_of_a_process_are_apart(cx) needs [Processes, SeparateOutput] {
        let mut process = cx.sandbox().await?.spawn("echo out; echo err >&2").await?;
        same!(drain(&mut process).await?, (b"out\n".to_vec(), b"err\n".to_vec()));
    }

    fn output_arrives_while_the_process_runs(cx) needs [Processes] {
        let mut process = cx.sandbox().await?.spawn("echo early; sleep 300").await?;
        read_until(&mut process, "early\n").await?;
        same!(process.status(), None);
        process.kill().await?;
    }

    fn waiting_answers_with_the_status(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        same!(sandbox.spawn("echo ignored; exit 9").await?.wait().await?.code(), Some(9));
        same!(sandbox.spawn("kill -TERM $$; sleep 9").await?.wait().await?.signal(), Some(Signal::TERM));
    }

    fn a_process_reads_what_is_written_to_it(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let mut process = sandbox.spawn("while read line; do echo \"got $line\"; done; echo end").piped_stdin().await?;
        process.write("one\n").await?;
        read_until(&mut process, "got one\n").await?;
        process.write("two\nthree\n").await?;
        read_until(&mut process, "got three\n").await?;
        process.close_stdin().await?;
        read_until(&mut process, "end\n").await?;
        same!(process.wait().await?.code(), Some(0));
    }

    fn ten_mebibytes_flow_through_a_process(cx) needs [Processes] {
        let mut process = cx.sandbox().await?.spawn(["cat"]).piped_stdin().await?;
        let data = noise(10 << 20, 13);
        let (control, input) = (process.control(), data.clone());
        let writer = async move {
            for chunk in input.chunks(100_000) { control.write(bytes::Bytes::copy_from_slice(chunk)).await?; }
            control.close_stdin().await
        };
        let (written, read) = futures_util::future::join(writer, drain(&mut process)).await;
        written?;
        check!(read?.0 == data, "the bytes are changed");
    }

    fn a_write_without_a_pipe_is_refused(cx) needs [Processes] {
        let process = cx.sandbox().await?.spawn("sleep 300").await?;
        fails(process.write("x").await.map_err(complete), &[ErrorKind::Conflict])?;
        process.kill().await?;
    }

    fn a_write_after_the_end_of_input_is_refused(cx) needs [Processes] {
        let process = cx.sandbox().await?.spawn("cat; sleep 300").piped_stdin().await?;
        process.close_stdin().await?;
        fails(process.write("x").await.map_err(complete), &[ErrorKind::Conflict, ErrorKind::Connection])?;
        process.kill().await?;
    }

    fn a_missing_program_is_not_found_at_once(cx) needs [Processes] {
        fails(cx.sandbox().await?.spawn(["no-such-program"]).await, &[ErrorKind::NotFound])?;
    }

    fn processes_have_environment_and_working_directory(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir -p d; echo x > d/f").await?;
        let mut process = sandbox.spawn("echo $A; ls").env("A", "b").working_directory("d").await?;
        same!(drain(&mut process).await?.0, b"b\nf\n");
    }

    fn a_list_shows_what_runs(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        same!(sandbox.list_processes().await?.len(), 0);
        let process = sandbox.spawn("sleep 300").await?;
        let list = sandbox.list_processes().await?;
        same!(list.len(), 1);
        same!((&list[0].id, list[0].state, list[0].pty), (process.id(), ProcessState::Running, false));
        check!(list[0].command.contains("sleep"), "the command shows as {:?}", list[0].command);
        process.kill().await?;
    }

    fn a_list_forgets_what_was_fetched(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        drain(&mut sandbox.spawn("true").await?).await?;
        until("the list is empty", async || Ok(sandbox.list_processes().await?.is_empty())).await?;
    }

    fn a_list_keeps_a_result_that_was_not_fetched(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let id = sandbox.spawn("exit 6").await?.id().clone();
        until("the exit is listed", async || {
            let list = sandbox.list_processes().await?;
            Ok(list.iter().any(|info| info.id == id && matches!(info.state, ProcessState::Exited(status) if status.code() == Some(6))))
        }).await?;
    }

    fn a_list_shows_what_is_stopped(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let process = sandbox.spawn(["sleep", "300"]).await?;
        process.signal(Signal::STOP).await?;
        until("it is listed as stopped", async || Ok(sandbox.list_processes().await?.iter().any(|info| info.state == ProcessState::Stopped))).await?;
        process.signal(Signal::CONT).await?;
        until("it is listed as running", async || Ok(sandbox.list_processes().await?.iter().any(|info| info.state == ProcessState::Running))).await?;
        process.kill().await?;
    }

    fn ids_are_not_used_twice(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let mut ids = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let mut process = sandbox.spawn("true").await?;
            check!(ids.insert(process.id().clone()), "{} came twice", process.id());
            process.wait().await?;
        }
    }

    fn a_dropped_handle_leaves_the_process_running(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let process = sandbox.spawn("echo $$ > pids; sleep 300; :").await?;
        let running = pids(&sandbox, "pids", 1).await?;
        drop(process);
        same!(alive(&sandbox, &running).await?, running);
    }

    fn killing_takes_the_whole_tree(cx) needs [Processes, TreeKill] {
        let sandbox = cx.sandbox().await?;
        // The one with a session of its own tells its number from there: before that it is one of the group.
        let process = sandbox.spawn("echo $$ >> pids; setsid sh -c 'echo $$ >> pids; exec sleep 300' & (sleep 300 & echo $! >> pids); wait; sleep 300").await?;
        let tree = pids(&sandbox, "pids", 3).await?;
        process.kill().await?;
        gone(&sandbox, &tree).await?;
    }

    fn killing_what_has_ended_is_no_error(cx) needs [Processes] {
        let mut process = cx.sandbox().await?.spawn("true").await?;
        process.wait().await?;
        process.kill().await?;
        process.kill().await?;
    }

    fn a_killed_process_ends_by_that_signal(cx) needs [Processes] {
        let mut process = cx.sandbox().await?.spawn("sleep 300").await?;
        process.kill().await?;
        same!(process.wait().await?.signal(), Some(Signal::KILL));
    }

    fn a_timeout_ends_a_process_and_its_tree(cx) needs [Processes, TreeKill] {
        let sandbox = cx.sandbox().await?;
        let mut process = sandbox.spawn("echo $$ >> pids; setsid sleep 300 & echo $! >> pids; wait").timeout(secs(2)).await?;
        let mut seen = Ok(());
        while seen.is_ok() {
            match tokio::time::timeout(secs(20), process.next()).await {
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => return Err("the events ended without a word of the timeout".into()),
                Ok(Err(error)) => seen = Err(error),
                Err(_) => return Err("the timeout of a process is not kept".into()),
            }
        }
        fails(seen, &[ErrorKind::Timeout])?;
        gone(&sandbox, &pids(&sandbox, "pids", 2).await?).await?;
    }

    fn a_process_is_found_again_by_its_id(cx) needs [Processes, Attach] {
        let sandbox = cx.sandbox().await?;
        let process = sandbox.spawn("echo before; while [ ! -e go ]; do sleep 1; done; echo after; exit 2").await?;
        let id = process.id().clone();
        drop(process);
        let mut again = sandbox.attach(&id).await?;
        sh(&sandbox, "echo > go").await?;
        read_until(&mut again, "after\n").await?;
        same!(again.wait().await?.code(), Some(2));
    }

    fn what_nobody_read_is_kept_for_whoever_attaches(cx) needs [Processes, Attach] {
        let sandbox = cx.sandbox().await?;
        let id = sandbox.spawn("echo kept; exit 3").await?.id().clone();
        until("it has ended", async || Ok(sandbox.list_processes().await?.iter().any(|info| info.id == id && matches!(info.state, ProcessState::Exited(_))))).await?;
        let mut again = sandbox.attach(&id).await?;
        same!(drain(&mut again).await?.0, b"kept\n");
        same!(again.status().and_then(grainchain_core::ExitStatus::code), Some(3));
    }

    fn a_flood_that_nobody_reads_is_bounded_and_counted(cx) needs [Processes, Attach] {
        let sandbox = cx.sandbox().await?;
        let process = sandbox.spawn("head -c 60000000 /dev/zero | tr '\\0' x; echo end > end").await?;
        let id = process.id().clone();
        drop(process);
        until("the flood is over", async || Ok(sh(&sandbox, "cat end 2>/dev/null || :").await? == "end\n")).await?;
        let mut again = sandbox.attach(&id).await?;
        let (mut kept, mut dropped) = (0, 0);
        while let Some(event) = next(&mut again).await? {
            match event {
                ProcessEvent::Stdout(bytes) => kept += bytes.len() as u64,
                ProcessEvent::Dropped { stream: OutputStream::Stdout, bytes } => dropped += bytes,
                _ => {}
            }
        }
        same!(kept + dropped, 60_000_000, "kept {kept} and dropped {dropped}");
        check!(dropped > 0, "sixty megabytes were kept for nobody");
    }

    fn a_process_waits_for_a_slow_reader(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let mut process = sandbox.spawn("head -c 20000000 /dev/zero; echo done > done").await?;
        same!(next(&mut process).await?, Some(ProcessEvent::Started));
        // The writer must be held up: it cannot have got rid of twenty megabytes that nobody took.
        for _ in 0..5 {
            same!(sh(&sandbox, "cat done 2>/dev/null || :").await?, "");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        same!(drain(&mut process).await?.0.len(), 20_000_000);
        same!(sh(&sandbox, "cat done").await?, "done\n");
    }

    fn an_unknown_process_is_not_found(cx) needs [Processes, Attach] {
        fails(cx.sandbox().await?.attach(&"no-such-process".into()).await, &[ErrorKind::NotFound])?;
    }

    fn output_of_children_follows_the_exit(cx) needs [Processes] {
        let mut process = cx.sandbox().await?.spawn("(sleep 2; echo late) & echo soon; exit 0").await?;
        same!(process.wait().await?.code(), Some(0));
        read_until(&mut process, "late\n").await?;
    }

    fn thirty_two_processes_run_at_once(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let outputs = try_join_all((0..32).map(|number| {
            let sandbox = sandbox.clone();
            async move {
                let mut process = sandbox.spawn(format!("read x; echo {number} $x; exit {number}")).piped_stdin().await?;
                process.write(format!("to {number}\n")).await?;
                let output = drain(&mut process).await?.0;
                Outcome::Ok((output, process.wait().await?.code()))
            }
        })).await?;
        for (number, (output, code)) in outputs.into_iter().enumerate() {
            same!(String::from_utf8_lossy(&output), format!("{number} to {number}\n"));
            same!(code, Some(number as i32));
        }
    }

    fn a_terminal_is_not_resized_where_there_is_none(cx) needs [Processes] {
        let process = cx.sandbox().await?.spawn("sleep 300").await?;
        let result = process.resize(PtySize { columns: 10, rows: 10 }).await.map_err(complete);
        fails(result, &[ErrorKind::Conflict])?;
        process.kill().await?;
    }

    fn ended_children_are_reaped(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let mut process = sandbox.spawn("for i in 1 2 3 4 5 6 7 8; do (sh -c 'echo $$ >> pids; exit 0' &) ; done; echo all; sleep 300").await?;
        read_until(&mut process, "all\n").await?;
        // The children lost their parent: whoever inherits them must not let them stand around as zombies.
        gone(&sandbox, &pids(&sandbox, "pids", 8).await?).await?;
        process.kill().await?;
    }

    fn closing_the_sandbox_ends_its_processes(cx) needs [Processes] {
        let sandbox = cx.create(cx.config()).await?;
        let mut process = sandbox.spawn("echo up; sleep 300").await?;
        read_until(&mut process, "up\n").await?;
        sandbox.close().await?;
        let end = async { while let Ok(Some(_)) = process.next().await {} };
        check!(tokio::time::timeout(secs(20), end).await.is_ok(), "the events of a process of a closed sandbox go on");
    }

    fn a_process_knows_its_number(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let process = sandbox.spawn(Command::shell("echo $$ > own; sleep 300; :")).await?;
        let own = pids(&sandbox, "own", 1).await?;
        let listed = sandbox.list_processes().await?.first().and_then(|info| info.pid);
        check!(listed.is_none() || listed == own.first().copied(), "listed as {listed:?}, is {own:?}");
        same!(numbers("1 2")?.len(), 2);
        process.kill().await?;
    }
}

/// Control errors come from the provider itself; the names that core adds elsewhere are not promised for them.
fn complete(error: grainchain_core::Error) -> grainchain_core::Error {
    error.operation(grainchain_core::Operation::Spawn).provider("unnamed")
}
