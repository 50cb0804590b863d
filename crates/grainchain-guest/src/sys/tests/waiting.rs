use std::fs;

use super::*;

#[test]
fn every_exit_code_comes_back() {
    for code in 0..=255 {
        let code_text = code.to_string();
        let mut child = program(&["/bin/sh", "-c", "exit $0", &code_text]).start();
        assert_eq!(wait(&mut child), WaitStatus::Exited(code));
    }
}

#[test]
fn a_death_by_any_deadly_signal_is_told_from_an_exit() {
    // What does not end a process by default.
    let harmless = [libc::SIGCHLD, libc::SIGCONT, libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    let harmless = harmless.into_iter().chain([libc::SIGURG, libc::SIGWINCH]).collect::<Vec<_>>();
    for signal in (1..=64).filter(|signal| !harmless.contains(signal)) {
        let mut child = program(&["/bin/sleep", "1000"]).start();
        child.handle().signal(signal).unwrap();
        let status = wait(&mut child);
        assert!(
            matches!(status, WaitStatus::Signaled { signal: by, .. } if by == signal),
            "{signal}: {status:?}"
        );
    }
}

#[test]
fn an_exit_code_above_128_is_not_taken_for_a_signal() {
    assert_eq!(wait(&mut shell("exit 137").start()), WaitStatus::Exited(137));
}

#[test]
fn waiting_again_answers_the_same() {
    let mut child = shell("exit 6").start();
    assert_eq!(wait(&mut child), WaitStatus::Exited(6));
    assert_eq!(wait(&mut child), WaitStatus::Exited(6));
    assert_eq!(child.try_wait().unwrap(), Some(WaitStatus::Exited(6)));
}

#[test]
fn a_dropped_wait_loses_nothing() {
    let mut child = program(&["/bin/sleep", "1000"]).start();
    block_on(async {
        tokio::time::timeout(Duration::from_millis(1), child.wait()).await.unwrap_err();
        child.handle().signal(libc::SIGTERM).unwrap();
        let status = child.wait().await.unwrap();
        assert!(matches!(status, WaitStatus::Signaled { signal: libc::SIGTERM, .. }));
    });
}

#[test]
fn an_ended_child_keeps_its_pid_until_it_is_reaped() {
    let mut child = shell("exit 8").start();
    block_on(child.ended()).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
    assert!(stat.contains(") Z "), "{stat}");
    child.handle().signal(0).unwrap();
    assert_eq!(wait(&mut child), WaitStatus::Exited(8));
    assert_eq!(child.handle().signal(0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
}

#[test]
fn a_child_can_be_waited_for_in_one_runtime_after_another() {
    let (mut child, _output) = shell("exec sleep 1000").start_talking();
    block_on(async {
        tokio::time::timeout(Duration::from_millis(1), child.wait()).await.unwrap_err();
    });
    child.handle().signal(libc::SIGKILL).unwrap();
    assert!(matches!(wait(&mut child), WaitStatus::Signaled { signal: libc::SIGKILL, .. }));
}

#[test]
fn a_dropped_child_lives_on_and_leaves_no_zombie() {
    let token = Token::new();
    let child = program(&["sleep", &token.0]).start();
    let (pid, handle) = (child.pid(), child.handle());
    drop(child);
    token.await_alive(1);
    assert_eq!(token.alive(), [pid]);
    handle.signal(libc::SIGKILL).unwrap();
    eventually("the reaper has reaped it", || handle.signal(0).is_err());
    assert!(handle.reaped_ticks().is_some());
}

#[test]
fn children_dropped_after_their_end_or_in_numbers_leave_no_zombies() {
    let handles: Vec<_> = (0..50)
        .map(|index| {
            let child = if index % 2 == 0 { shell("true") } else { program(&["/bin/sleep", "0.01"]) }.start();
            child.handle()
        })
        .collect();
    for handle in handles {
        eventually("the reaper has reaped it", || handle.signal(0).is_err());
    }
}

#[test]
fn a_child_that_was_waited_for_in_a_runtime_is_reaped_after_that_runtime_is_gone() {
    let token = Token::new();
    let mut child = program(&["sleep", &token.0]).start();
    let handle = child.handle();
    block_on(async {
        tokio::time::timeout(Duration::from_millis(1), child.wait()).await.unwrap_err();
    });
    drop(child);
    handle.signal(libc::SIGTERM).unwrap();
    eventually("the reaper has reaped it", || handle.signal(0).is_err());
}
