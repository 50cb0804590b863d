use std::time::{Duration, Instant};

use grainchain_core::facet::Exec;
use grainchain_core::{ByteSize, Command, ErrorKind};

use crate::testing::{LIMIT, TestGuest, eventually, in_a_view_of_its_own, within, without_proc};

const SHORT: Duration = Duration::from_millis(200);

/// Times out with its first words and leaves nothing alive.
async fn is_killed_by_its_timeout(line: &str) {
    let guest = TestGuest::new();
    let error = guest.error(Command::shell(format!("echo partial; {line}")).timeout(SHORT)).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert_eq!(error.partial_output().unwrap().stdout(), "partial\n");
    assert_eq!(error.partial_output().unwrap().status, None);
    assert_eq!(guest.alive(), 0, "{line}");
}

#[tokio::test]
async fn a_timeout_kills_the_command_and_its_children_and_keeps_the_output() {
    is_killed_by_its_timeout("sleep 1000 & (sleep 1000 & sleep 1000) & wait").await;
}

#[tokio::test]
async fn a_timeout_kills_what_ignores_every_other_signal() {
    is_killed_by_its_timeout("trap '' TERM INT HUP QUIT; while :; do sleep 1000; done").await;
}

#[tokio::test]
async fn a_timeout_kills_children_that_called_setsid_forked_twice_and_cleared_their_environment() {
    is_killed_by_its_timeout("(setsid env -i /bin/sh -c 'sleep 1000 & sleep 1000 &' &) ; sleep 1000").await;
}

#[tokio::test]
async fn a_timeout_kills_a_stopped_command() {
    is_killed_by_its_timeout("sleep 1000 & kill -STOP $! $$").await;
}

#[tokio::test]
async fn a_timeout_ends_a_command_that_floods_its_output() {
    let guest = TestGuest::new();
    let error = guest.error(Command::shell("yes").output_limit(ByteSize::kib(64)).timeout(SHORT)).await;
    assert_eq!((error.kind(), error.partial_output().unwrap().truncated()), (ErrorKind::Timeout, true));
    assert_eq!(guest.alive(), 0);
}

#[tokio::test]
async fn a_timeout_of_nothing_and_one_beyond_all_clocks_are_both_kept() {
    let guest = TestGuest::new();
    let error = guest.error(Command::shell("sleep 1000").timeout(Duration::ZERO)).await;
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let output = within(guest.execute(Command::shell("echo x").timeout(Duration::MAX))).await.unwrap();
    assert_eq!(output.stdout(), "x\n");
}

#[tokio::test]
async fn dropping_the_future_at_any_moment_leaves_nothing_running() {
    let guest = TestGuest::new();
    let line = "sleep 1000 & (setsid sleep 1000 &); head -c 200000 /dev/zero; trap '' TERM; cat; sleep 1000";
    // A fixed seed: a failure can be repeated as far as the scheduler allows.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..50 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let pause = Duration::from_micros(seed % 12_000);
        let command = Command::shell(line).stdin(vec![b'x'; 300_000]);
        assert!(tokio::time::timeout(pause, guest.execute(command)).await.is_err());
        assert_eq!(guest.alive(), 0, "after {pause:?}");
    }
}

#[test]
fn a_runtime_that_ends_takes_its_commands_with_it() {
    for workers in [1, 2] {
        let guest = TestGuest::new();
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(workers).enable_all().build().unwrap();
        for _ in 0..4 {
            let guest = (*guest).clone();
            runtime
                .spawn(async move { guest.execute(Command::shell("setsid sleep 1000 & sleep 1000")).await });
        }
        runtime.block_on(eventually("all run", || guest.alive() >= 8));
        drop(runtime);
        assert_eq!(guest.alive(), 0);
    }
}

#[tokio::test]
async fn a_command_returns_when_it_ends_and_not_when_its_children_close_the_output() {
    let guest = TestGuest::new();
    assert_eq!(guest.run("sleep 1000 & echo done").await.stdout(), "done\n");
    assert_eq!(guest.alive(), 1);
}

/// Leaves a child behind that writes more than its pipes hold once the file `go` is there, and then the file `written`.
const WRITES_LATER: &str = "{ while [ ! -e go ]; do sleep 0.01; done
    head -c 300000 /dev/zero && head -c 300000 /dev/zero >&2 && echo >written; } & echo started";

#[tokio::test]
async fn a_background_child_that_writes_later_is_not_killed_by_sigpipe() {
    let guest = TestGuest::new();
    assert_eq!(guest.run(WRITES_LATER).await.stdout(), "started\n");
    std::fs::write(guest.path().join("go"), "").unwrap();
    eventually("it has written everything", || guest.exists("written")).await;
    eventually("it has ended and is forgotten", || guest.shared.leaders.all().is_empty()).await;
    assert_eq!(guest.alive(), 0);
}

#[test]
fn a_background_child_survives_the_runtime_that_started_it() {
    let guest = TestGuest::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(guest.run(WRITES_LATER));
    drop(runtime);
    std::fs::write(guest.path().join("go"), "").unwrap();
    let deadline = Instant::now() + LIMIT;
    while !guest.exists("written") {
        assert!(Instant::now() < deadline, "it does not write");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn killing_all_ends_everything_also_what_others_have_started() {
    let guest = TestGuest::new();
    let other = crate::Guest::new(guest.shared.config.clone()).unwrap();
    guest.run("sleep 1000 & (setsid env -i sleep 1000 &); sleep 1000 &").await;
    other.execute(Command::shell("sleep 1000 & true")).await.unwrap();
    assert_eq!(guest.kill_all().await.unwrap(), 4);
    assert_eq!((guest.alive(), guest.kill_all().await.unwrap()), (0, 0));
}

#[tokio::test]
async fn a_frozen_sandbox_stands_still_refuses_and_goes_on() {
    let guest = TestGuest::new();
    guest.run("while :; do echo >>ticks; done >/dev/null 2>&1 &").await;
    let size = || std::fs::metadata(guest.path().join("ticks")).map_or(0, |file| file.len());
    eventually("it works", || size() > 100).await;
    assert!(guest.freeze().await.unwrap() >= 1);
    let before = size();
    assert_eq!(guest.error("true").await.kind(), ErrorKind::Conflict);
    assert_eq!(size(), before);
    guest.thaw().await.unwrap();
    eventually("it works again", || size() > before).await;
    assert!(guest.run("true").await.success());
}

#[tokio::test]
async fn a_timeout_kills_also_while_everything_is_frozen() {
    let guest = TestGuest::new();
    let command = Command::shell("touch runs; sleep 1000").timeout(Duration::from_secs(1));
    let (error, ()) = tokio::join!(guest.error(command), async {
        eventually("it runs", || guest.exists("runs")).await;
        guest.freeze().await.unwrap();
    });
    assert_eq!((error.kind(), guest.alive()), (ErrorKind::Timeout, 0));
}

#[test]
fn a_timeout_kills_the_commands_own_group_also_where_processes_cannot_be_listed() {
    in_a_view_of_its_own(async || {
        let guest = TestGuest::new();
        let command = "trap '' TERM; echo partial; sleep 1000 & setsid sleep 1000 & wait";
        let error = without_proc(guest.error(Command::shell(command).timeout(SHORT))).await;
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(error.message().contains("descendants outside of it may be left"), "{error}");
        assert_eq!(error.partial_output().unwrap().stdout(), "partial\n");
        eventually("what has left its group alone is left", || guest.alive() == 1).await;
    });
}
