//! Processes beside the caller, and who gets to see what they write.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use grainchain_core::facet::Processes;
use grainchain_core::{
    Command, ErrorKind, ExitStatus, OutputStream, Process, ProcessEvent, ProcessState, PtySize, Signal,
};

use crate::testing::{TestGuest, eventually, within};

/// Reads stdout until it contains `text`.
async fn read_until(process: &mut Process, text: &str) -> String {
    let mut seen = BytesMut::new();
    loop {
        let shown = String::from_utf8_lossy(&seen).into_owned();
        if shown.contains(text) {
            return shown;
        }
        match within(process.next()).await.unwrap() {
            Some(ProcessEvent::Stdout(bytes)) => seen.extend_from_slice(&bytes),
            Some(ProcessEvent::Started) => {}
            other => panic!("{other:?} after {shown:?}"),
        }
    }
}

async fn all(process: Process) -> Vec<ProcessEvent> {
    within(process.into_parts().0.map(Result::unwrap).collect()).await
}

fn stdout_bytes(events: &[ProcessEvent]) -> Vec<u8> {
    let chunks = events.iter().filter_map(|event| match event {
        ProcessEvent::Stdout(bytes) => Some(&bytes[..]),
        _ => None,
    });
    chunks.collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn a_flood_on_stdout_does_not_hold_back_stderr() {
    let guest = TestGuest::new();
    // Far more than a pipe holds: this ends only when both are read all the time.
    let command = Command::shell("yes & head -c 1000000 /dev/zero >&2; kill $!");
    let mut process = guest.spawn(command).await.unwrap();
    let mut errors = 0;
    while let Some(event) = within(process.next()).await.unwrap() {
        if let ProcessEvent::Stderr(bytes) = event {
            errors += bytes.len();
        }
    }
    assert_eq!(errors, 1_000_000);
}

#[tokio::test]
async fn a_process_is_started_heard_and_forgotten() {
    let guest = TestGuest::new();
    let process = guest.spawn(Command::shell("cat; exit 3").piped_stdin()).await.unwrap();
    assert_eq!(guest.list().await.unwrap().len(), 1);
    process.write("hello").await.unwrap();
    process.close_stdin().await.unwrap();
    let id = process.id().clone();
    let expected = [
        ProcessEvent::Started,
        ProcessEvent::Stdout("hello".into()),
        ProcessEvent::Exited(ExitStatus::Code(3)),
    ];
    assert_eq!(all(process).await, expected);
    assert!(guest.list().await.unwrap().is_empty());
    assert_eq!(guest.attach(&id).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn stdin_closed_is_seen_while_output_goes_on() {
    let guest = TestGuest::new();
    let mut process = guest.spawn(Command::shell("wc -c; echo after").piped_stdin()).await.unwrap();
    process.write(vec![b'x'; 300_000]).await.unwrap();
    process.close_stdin().await.unwrap();
    assert!(read_until(&mut process, "after").await.contains("300000"));
    assert_eq!(process.write("more").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(process.wait().await.unwrap().success());
}

#[tokio::test]
async fn writing_to_what_does_not_read_says_so() {
    let guest = TestGuest::new();
    let mut process =
        guest.spawn(Command::shell("exec 0<&-; echo x; sleep 1000").piped_stdin()).await.unwrap();
    read_until(&mut process, "x").await;
    // A child of another test that is just being started may still hold a copy of its end.
    let refusal = loop {
        match process.write("more").await {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert_eq!(refusal.kind(), ErrorKind::Connection);
    let closed = guest.spawn(Command::shell("sleep 1000")).await.unwrap();
    assert_eq!(closed.write("x").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(closed.resize(PtySize::default()).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn the_exit_is_told_at_once_and_the_output_of_a_child_left_behind_still_comes() {
    let guest = TestGuest::new();
    let line = "{ while [ ! -e go ]; do sleep 0.01; done; echo late; } & echo early";
    let mut process = guest.spawn(Command::shell(line)).await.unwrap();
    read_until(&mut process, "early\n").await;
    assert_eq!(within(process.wait()).await.unwrap(), ExitStatus::Code(0));
    std::fs::write(guest.path().join("go"), "").unwrap();
    read_until(&mut process, "late\n").await;
    assert_eq!(within(process.next()).await.unwrap(), None);
    assert!(guest.shared.leaders.all().len() == 1);
    drop(process);
    eventually("nothing of it is remembered", || guest.shared.leaders.all().is_empty()).await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_the_writer_and_loses_nothing() {
    let guest = TestGuest::new();
    let mut process = guest.spawn(Command::shell("seq 10000000 | head -c 64M; touch done")).await.unwrap();
    eventually("the journal is full", || {
        guest.shared.processes.lock().all.values().any(|record| !record.journal().has_room_or_wait())
    })
    .await;
    // Whatever the writer still gets rid of fits into its pipe: it blocks, and so it never comes to its end.
    let journal = || guest.shared.processes.lock().all.values().next().map(|record| record.journal().kept());
    let full = journal();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!((journal(), guest.exists("done")), (full, false));
    let mut text = Vec::new();
    while let Some(event) = within(process.next()).await.unwrap() {
        match event {
            ProcessEvent::Stdout(bytes) => text.extend_from_slice(&bytes),
            ProcessEvent::Started | ProcessEvent::Exited(ExitStatus::Code(0)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(text.len(), 64 << 20);
    let mut lines = text.split(|byte| *byte == b'\n').enumerate().collect::<Vec<_>>();
    lines.pop();
    assert!(lines.iter().all(|(index, line)| **line == *(index + 1).to_string().as_bytes()));
}

#[tokio::test]
async fn a_process_without_a_reader_goes_on_and_its_oldest_output_is_dropped_visibly() {
    let guest = TestGuest::new();
    let line = "seq 2000000 | head -c 10M; touch done; while [ ! -e go ]; do sleep 0.01; done; echo last";
    let process = guest.spawn(Command::shell(line)).await.unwrap();
    let id = process.id().clone();
    drop(process);
    eventually("it was not held", || guest.exists("done")).await;
    let process = guest.attach(&id).await.unwrap();
    std::fs::write(guest.path().join("go"), "").unwrap();
    let events = all(process).await;
    let ProcessEvent::Dropped { stream: OutputStream::Stdout, bytes } = events[1] else {
        panic!("{:?}", events[1])
    };
    let kept = stdout_bytes(&events);
    assert_eq!(bytes + kept.len() as u64, (10 << 20) + 5);
    assert!(kept.len() > 500_000 && kept.len() <= 3 << 20, "{}", kept.len());
    assert!(kept.ends_with(b"last\n"));
    assert_eq!(events.last(), Some(&ProcessEvent::Exited(ExitStatus::Code(0))));
}

#[tokio::test]
async fn what_was_not_read_is_kept_with_the_status_until_somebody_has_seen_it() {
    let guest = TestGuest::new();
    let process = guest.spawn(Command::shell("echo out; echo err >&2; exit 7")).await.unwrap();
    let id = process.id().clone();
    drop(process);
    let mut state = ProcessState::Running;
    while state == ProcessState::Running {
        state = within(guest.list()).await.unwrap()[0].state;
    }
    assert_eq!(state, ProcessState::Exited(ExitStatus::Code(7)));
    let events = all(guest.attach(&id).await.unwrap()).await;
    assert!(events.contains(&ProcessEvent::Stdout("out\n".into())));
    assert!(events.contains(&ProcessEvent::Stderr("err\n".into())));
    assert_eq!(events.last(), Some(&ProcessEvent::Exited(ExitStatus::Code(7))));
    assert!(guest.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn every_attached_reader_sees_everything() {
    let guest = TestGuest::new();
    let first = guest.spawn(Command::shell("head -c 5M /dev/zero; echo; exit 1")).await.unwrap();
    let second = guest.attach(first.id()).await.unwrap();
    let (first, second) = tokio::join!(all(first), all(second));
    for events in [first, second] {
        assert_eq!(stdout_bytes(&events).len(), (5 << 20) + 1);
        assert_eq!(events.last(), Some(&ProcessEvent::Exited(ExitStatus::Code(1))));
    }
}

#[tokio::test]
async fn at_most_256_results_wait_for_somebody() {
    let guest = TestGuest::new();
    for _ in 0..300 {
        drop(guest.spawn(Command::argv(["true"])).await.unwrap());
    }
    eventually("all have ended", || guest.alive_or_unreaped() == 0).await;
    eventually("the oldest are forgotten", || guest.shared.processes.lock().all.len() == 256).await;
    assert_eq!(guest.list().await.unwrap().len(), 256);
}

#[tokio::test]
async fn a_timeout_kills_the_tree_and_ends_the_events() {
    let guest = TestGuest::new();
    let command =
        Command::shell("echo x; setsid sleep 1000 & sleep 1000").timeout(Duration::from_millis(200));
    let process = guest.spawn(command).await.unwrap();
    let mut events: Vec<_> = within(process.into_parts().0.collect()).await;
    let error = events.pop().unwrap().unwrap_err();
    assert_eq!((error.kind(), guest.alive()), (ErrorKind::Timeout, 0));
    assert!(events.iter().any(|event| *event.as_ref().unwrap() == ProcessEvent::Stdout("x\n".into())));
}

#[tokio::test]
async fn a_signal_reaches_the_group_and_nothing_once_it_has_ended() {
    let guest = TestGuest::new();
    let line = "trap 'echo caught' USR1; echo ready; while :; do sleep 0.01; done";
    let mut process = guest.spawn(Command::shell(line)).await.unwrap();
    read_until(&mut process, "ready").await;
    // The shell's own child is in the group as well and dies of it.
    process.signal(Signal::USR1).await.unwrap();
    read_until(&mut process, "caught").await;
    process.signal(Signal::new(34).unwrap()).await.unwrap();
    assert_eq!(within(process.wait()).await.unwrap(), ExitStatus::Signal(Signal::new(34).unwrap()));
    assert_eq!(process.signal(Signal::TERM).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn killing_ends_everything_again_and_after_the_end() {
    let guest = TestGuest::new();
    let line = "trap '' TERM; (setsid env -i sleep 1000 &); sleep 1000 & echo ready; wait";
    let mut process = guest.spawn(Command::shell(line)).await.unwrap();
    read_until(&mut process, "ready").await;
    process.kill().await.unwrap();
    assert_eq!(guest.alive(), 0);
    assert_eq!(within(process.wait()).await.unwrap(), ExitStatus::Signal(Signal::KILL));
    process.kill().await.unwrap();

    let mut process = guest.spawn(Command::shell("setsid sleep 1000 & true")).await.unwrap();
    assert!(within(process.wait()).await.unwrap().success());
    assert_eq!(guest.alive(), 1);
    process.kill().await.unwrap();
    assert_eq!(guest.alive(), 0);
}

#[tokio::test]
async fn killing_one_leaves_another_alone() {
    let guest = TestGuest::new();
    let one = guest.spawn(Command::argv(["sleep", "1000"])).await.unwrap();
    let _other = guest.spawn(Command::argv(["sleep", "1000"])).await.unwrap();
    one.kill().await.unwrap();
    assert_eq!(guest.alive(), 1);
}

#[tokio::test]
async fn a_terminal_echoes_resizes_interrupts_and_ends() {
    let guest = TestGuest::new();
    let line = "trap 'echo interrupted' INT; echo ready; while read x; do eval \"$x\"; done; echo bye";
    let size = PtySize { columns: 100, rows: 30 };
    let mut process = guest.spawn(Command::shell(line).piped_stdin().pty(size)).await.unwrap();
    read_until(&mut process, "ready").await;
    process.write("echo he''llo\n").await.unwrap();
    let text = read_until(&mut process, "hello").await;
    assert!(text.contains("he''llo"), "no echo: {text:?}");
    process.resize(PtySize { columns: 61, rows: 19 }).await.unwrap();
    process.write("stty size\n").await.unwrap();
    read_until(&mut process, "19 61").await;
    // Its answer proves that it runs: a shell that is interrupted while it starts a child forgets that.
    process.write("cat\nping\n").await.unwrap();
    read_until(&mut process, "ping\r\nping").await;
    process.write("\x03").await.unwrap();
    read_until(&mut process, "interrupted").await;
    process.close_stdin().await.unwrap();
    read_until(&mut process, "bye").await;
    assert!(within(process.wait()).await.unwrap().success());
    assert_eq!(within(process.next()).await.unwrap(), None);
}

#[tokio::test]
async fn a_list_shows_what_runs_what_is_stopped_and_how_it_was_started() {
    let guest = TestGuest::new();
    let process = guest.spawn(Command::argv(["sleep", "1000"]).pty(PtySize::default())).await.unwrap();
    let info = guest.list().await.unwrap().remove(0);
    assert_eq!((&info.id, info.command.as_str(), info.pty), (process.id(), "sleep 1000", true));
    assert_eq!(info.state, ProcessState::Running);
    guest.freeze().await.unwrap();
    assert_eq!(guest.list().await.unwrap()[0].state, ProcessState::Stopped);
    assert_eq!(guest.spawn(Command::shell("true")).await.unwrap_err().kind(), ErrorKind::Conflict);
    process.kill().await.unwrap();
    assert_eq!(guest.alive(), 0);
}

#[test]
fn a_process_outlives_the_runtime_that_followed_it_and_its_reader_is_told() {
    let guest = TestGuest::new();
    let line = "{ while [ ! -e go ]; do sleep 0.01; done; head -c 2M /dev/zero && touch written; }";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut process = runtime.block_on(guest.spawn(Command::shell(line))).unwrap();
    drop(runtime);
    std::fs::write(guest.path().join("go"), "").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        eventually("it has written", || guest.exists("written")).await;
        assert_eq!(process.wait().await.unwrap_err().kind(), ErrorKind::Connection);
    });
}

#[tokio::test]
async fn no_task_is_left_when_all_has_ended() {
    let guest = TestGuest::new();
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for _ in 0..20 {
        let mut process = guest.spawn(Command::shell("echo; sleep 0.01")).await.unwrap();
        process.wait().await.unwrap();
    }
    eventually("the tasks have ended", || {
        tokio::runtime::Handle::current().metrics().num_alive_tasks() == before
    })
    .await;
}

#[tokio::test]
async fn a_timeout_is_told_in_time_also_when_the_killing_takes_longer() {
    let guest = TestGuest::new();
    let hour = Duration::from_secs(3600);
    let command = Command::shell("for n in 1 2 3 4 5 6 7 8; do sleep 9999 & done; echo started; wait");
    let mut process = guest.spawn(command.timeout(hour)).await.unwrap();
    read_until(&mut process, "started\n").await;
    let leader = format!("/proc/{}", guest.list().await.unwrap()[0].pid.unwrap());
    // From here on the clock runs ahead of everything that is waited for, as if it took for ever.
    tokio::time::pause();
    tokio::time::advance(hour).await;
    let error = process.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("it has not ended yet"), "{error}");
    eventually("it is killed all the same", || guest.alive() == 0).await;
    eventually("and reaped", || !std::path::Path::new(&leader).exists()).await;
}
