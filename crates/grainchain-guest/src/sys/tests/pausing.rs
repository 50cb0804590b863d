use std::fs;

use super::*;
use crate::sys::{
    scan::Selector,
    tree::{find, kill_tree, signal_tree},
};

fn states(mark: Mark) -> String {
    let mut states: Vec<_> =
        find(&Selector::command(mark)).unwrap().iter().map(|entry| entry.state).collect();
    states.sort_unstable();
    states.into_iter().collect()
}

#[test]
fn a_busy_forking_tree_is_paused_completely_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let ticks = folder.path().join("ticks");
    let mark = fresh_mark();
    let script = format!(
        "while :; do /bin/echo x >>{0}; (:) & done & setsid sh -c 'while :; do (:); done' & echo; wait",
        ticks.display()
    );
    let _child = shell(&script).mark(mark).start_until(1);
    let size = || fs::metadata(&ticks).map_or(0, |metadata| metadata.len());
    eventually("it works", || size() > 20);

    let paused = signal_tree(&Selector::command(mark), libc::SIGSTOP, LIMIT).unwrap();
    assert!(paused >= 3, "{paused}");
    let before = size();
    assert!(states(mark).chars().all(|state| "TtDZ".contains(state)), "{}", states(mark));
    for _ in 0..50 {
        pause();
    }
    assert_eq!(size(), before, "something still runs");

    signal_tree(&Selector::command(mark), libc::SIGCONT, LIMIT).unwrap();
    eventually("it works again", || size() > before + 20);
    kill_tree(&Selector::command(mark), LIMIT).unwrap();
}

#[test]
fn pausing_one_command_leaves_another_running() {
    let mark = fresh_mark();
    let other = Mark { command: number(2), ..mark };
    let _first = shell("echo; while :; do :; done").mark(mark).start_until(1);
    let _second = shell("echo; while :; do :; done").mark(other).start_until(1);
    assert_eq!(signal_tree(&Selector::command(mark), libc::SIGSTOP, LIMIT).unwrap(), 1);
    assert_eq!((states(mark).as_str(), states(other).as_str()), ("T", "R"));
    kill_tree(&Selector::sandbox(mark.sandbox), LIMIT).unwrap();
}

#[test]
fn a_paused_tree_can_be_ended() {
    let mark = fresh_mark();
    let mut child = shell("echo; while :; do :; done").mark(mark).start_until(1);
    signal_tree(&Selector::command(mark), libc::SIGSTOP, LIMIT).unwrap();
    kill_tree(&Selector::command(mark), LIMIT).unwrap();
    assert!(matches!(wait(&mut child), WaitStatus::Signaled { signal: libc::SIGKILL, .. }));
}

#[test]
fn any_other_signal_reaches_every_process_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mark = fresh_mark();
    let body = format!("trap \"echo >>{}\" USR1; echo; while :; do :; done", log.display());
    let script = format!("{{ {body}; }} & {{ {body}; }} & {body}");
    let _child = shell(&script).mark(mark).start_until(3);
    assert_eq!(signal_tree(&Selector::command(mark), libc::SIGUSR1, LIMIT).unwrap(), 3);
    eventually("all have noticed", || fs::read(&log).is_ok_and(|log| log.len() >= 3));
    kill_tree(&Selector::command(mark), LIMIT).unwrap();
    assert_eq!(fs::read(&log).unwrap().len(), 3);
}

#[test]
fn pausing_while_this_process_starts_children_hangs_nobody() {
    let mark = fresh_mark();
    std::thread::scope(|scope| {
        let starter = scope.spawn(|| {
            (0..60).map(|_| program(&["/bin/sleep", "1000"]).mark(mark).start()).collect::<Vec<_>>()
        });
        while !starter.is_finished() {
            signal_tree(&Selector::sandbox(mark.sandbox), libc::SIGSTOP, LIMIT).unwrap();
        }
        assert_eq!(starter.join().unwrap().len(), 60);
    });
    assert_eq!(kill_tree(&Selector::sandbox(mark.sandbox), LIMIT).unwrap(), 60);
}
