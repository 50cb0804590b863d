use std::process;

use super::*;
use crate::sys::{
    scan::{Depth, Evidence, Selector},
    tree::{TreeError, find, kill_tree},
};

fn end(selector: &Selector) -> usize {
    kill_tree(selector, LIMIT).unwrap()
}

/// The marks alone must find it: the leader is not told to the selector.
fn is_ended_by_its_mark(setup: Setup, token: &Token, sleepers: usize) {
    let mark = fresh_mark();
    let _child = setup.mark(mark).start();
    token.await_alive(sleepers);
    assert!(end(&Selector::command(mark)) >= sleepers);
    assert!(token.alive().is_empty());
    assert!(find(&Selector::command(mark)).unwrap().iter().all(|entry| !entry.is_alive()));
}

/// Every way to get away that needs no privilege, as root and as nobody.
fn is_ended_by_its_mark_whoever_runs_it(script: &str, sleepers: usize) {
    for unprivileged in [false, true] {
        let token = Token::new();
        let script = script.replace("TOKEN", &token.0);
        let setup = if unprivileged { shell(&script).unprivileged() } else { shell(&script) };
        is_ended_by_its_mark(setup, &token, sleepers);
    }
}

#[test]
fn children_and_grandchildren_are_ended() {
    is_ended_by_its_mark_whoever_runs_it("sleep TOKEN & (sleep TOKEN & sleep TOKEN) & wait", 3);
}

#[test]
fn a_child_that_called_setsid_is_ended() {
    is_ended_by_its_mark_whoever_runs_it("setsid sleep TOKEN & wait", 1);
}

#[test]
fn a_double_forked_daemon_is_ended_after_its_command() {
    is_ended_by_its_mark_whoever_runs_it("(setsid sh -c 'sleep TOKEN & sleep TOKEN &' &) ; exit 0", 2);
}

#[test]
fn nohup_and_ignored_signals_do_not_help() {
    is_ended_by_its_mark_whoever_runs_it("trap '' TERM HUP INT QUIT TSTP CONT; nohup sleep TOKEN & wait", 1);
}

#[test]
fn a_cleared_environment_in_a_new_session_without_a_parent_does_not_help() {
    is_ended_by_its_mark_whoever_runs_it(
        "env -i /usr/bin/setsid /bin/sh -c '(/usr/bin/env -i sleep TOKEN </dev/null >/dev/null 2>&1 &)'; exit 0",
        1,
    );
}

#[test]
fn stopped_processes_are_ended() {
    let token = Token::new();
    let mark = fresh_mark();
    let _child = shell(&format!("sleep {0} & sleep {0} & kill -STOP $$", token.0)).mark(mark).start();
    token.await_alive(2);
    for pid in token.alive() {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    }
    eventually("all are stopped", || {
        find(&Selector::command(mark)).unwrap().iter().all(|entry| entry.state == 'T')
    });
    assert_eq!(end(&Selector::command(mark)), 3);
    assert!(token.alive().is_empty());
}

#[test]
fn a_tree_that_forks_while_it_is_being_ended_is_ended_completely() {
    for unprivileged in [false, true] {
        let token = Token::new();
        let mark = fresh_mark();
        let script = format!(
            "echo; i=0; while [ $i -lt 200 ]; do (setsid sleep {} &) ; i=$((i+1)); done; wait",
            token.0
        );
        let setup = shell(&script).mark(mark);
        let _child = if unprivileged { setup.unprivileged() } else { setup }.start_until(1);
        eventually("some have been forked", || token.alive().len() > 5);
        end(&Selector::command(mark));
        assert!(token.alive().is_empty());
    }
}

#[test]
fn a_process_that_lives_only_until_it_has_forked_is_caught() {
    // Each generation ends at once, so that whoever looks sees a pid that no longer exists. Few enough that
    // their zombies do not fill the machine where pid 1 is slow to reap; it is the claim that nothing is left
    // while the chain goes on which fails here.
    if std::env::var_os("GRAINCHAIN_TEST_HOPPING").is_some() {
        rustix::io::write(std::io::stdout(), b"\n").unwrap();
        #[expect(unsafe_code, reason = "fork without exec")]
        // SAFETY: nothing but system calls after the first fork.
        unsafe {
            for _ in 0..3_000 {
                if libc::fork() != 0 {
                    libc::_exit(0);
                }
            }
            libc::_exit(0);
        }
    }
    let own = std::env::current_exe().unwrap();
    let name = "a_process_that_lives_only_until_it_has_forked_is_caught";
    for unprivileged in [false, true] {
        let mark = fresh_mark();
        let setup = program(&[own.to_str().unwrap(), name, "--nocapture"]).mark(mark);
        let mut setup = if unprivileged { setup.unprivileged() } else { setup };
        setup.environment.push(("GRAINCHAIN_TEST_HOPPING".into(), "1".into()));
        let child = setup.start_until(3);
        let leader = child.handle().leader(mark.command);
        end(&Selector { leaders: vec![leader], ..Selector::command(mark) });
        for _ in 0..100 {
            assert!(find(&Selector::command(mark)).unwrap().iter().all(|entry| !entry.is_alive()));
        }
    }
}

#[test]
fn a_process_whose_first_thread_has_ended_is_not_taken_for_dead() {
    // In a process of its own: its first thread ends, and /proc shows a zombie that is none.
    if std::env::var_os("GRAINCHAIN_TEST_HEADLESS").is_some() {
        #[expect(unsafe_code, reason = "fork gives a process with one thread, the first")]
        // SAFETY: only system calls and one thread without allocation after the fork.
        unsafe {
            extern "C" fn forever(_: *mut libc::c_void) -> *mut libc::c_void {
                loop {
                    // SAFETY: sleeps until a signal comes.
                    unsafe { libc::pause() };
                }
            }
            if libc::fork() == 0 {
                let mut thread = std::mem::zeroed();
                libc::pthread_create(&mut thread, std::ptr::null(), forever, std::ptr::null_mut());
                libc::syscall(libc::SYS_exit, 0);
            }
        }
        process::exit(0);
    }
    let own = std::env::current_exe().unwrap();
    let name = "a_process_whose_first_thread_has_ended_is_not_taken_for_dead";
    let mark = fresh_mark();
    let mut setup = program(&[own.to_str().unwrap(), name, "--nocapture"]).mark(mark);
    setup.environment.push(("GRAINCHAIN_TEST_HEADLESS".into(), "1".into()));
    wait(&mut setup.start());
    eventually("the first thread has ended", || {
        find(&Selector::command(mark)).unwrap().iter().any(|entry| entry.state == 'Z' && entry.is_alive())
    });
    assert_eq!(end(&Selector::command(mark)), 1);
    assert!(find(&Selector::command(mark)).unwrap().iter().all(|entry| !entry.is_alive()));
}

#[test]
fn one_command_of_a_sandbox_is_not_confused_with_another() {
    let (first, second) = (Token::new(), Token::new());
    let mark = fresh_mark();
    let other = Mark { command: number(2), ..mark };
    let _first = shell(&format!("setsid sleep {} & wait", first.0)).mark(mark).start();
    let _second = shell(&format!("setsid sleep {} & wait", second.0)).mark(other).start();
    first.await_alive(1);
    second.await_alive(1);
    end(&Selector::command(mark));
    assert!(first.alive().is_empty());
    assert_eq!(second.alive().len(), 1);
    end(&Selector::sandbox(mark.sandbox));
    assert!(second.alive().is_empty());
}

#[test]
fn another_sandbox_with_the_same_command_number_is_spared() {
    let (ours, theirs) = (Token::new(), Token::new());
    let (mark, other) = (fresh_mark(), fresh_mark());
    let _ours = program(&["sleep", &ours.0]).mark(mark).start();
    let mut theirs_child = program(&["sleep", &theirs.0]).mark(other).start();
    let unmarked = Token::new();
    let mut unmarked_child = program(&["sleep", &unmarked.0]).start();
    for token in [&ours, &theirs, &unmarked] {
        token.await_alive(1);
    }
    let thorough = Selector { depth: Depth::Thorough, ..Selector::sandbox(mark.sandbox) };
    assert_eq!(end(&thorough), 1);
    assert_eq!(theirs_child.try_wait().unwrap(), None);
    assert_eq!(unmarked_child.try_wait().unwrap(), None);
    end(&Selector::sandbox(other.sandbox));
}

/// A process that changes its own limits, by the tool of util-linux.
fn relimited(value: &str, rest: &str) -> String {
    format!("/usr/bin/prlimit --rttime={value} --locks={value} -- {rest}")
}

#[test]
fn a_child_that_lowered_its_limit_is_found_by_its_living_parent() {
    let token = Token::new();
    let mark = fresh_mark();
    let script = format!("setsid {} & wait", relimited("5:5", &format!("env -i sleep {}", token.0)));
    let child = shell(&script).mark(mark).unprivileged().start();
    token.await_alive(1);
    let entries = find(&Selector::command(mark)).unwrap();
    let sleeper = entries.iter().find(|entry| entry.pid == token.alive()[0]).unwrap();
    assert_eq!(sleeper.evidence, Evidence::Relation);
    end(&Selector::command(mark));
    assert!(token.alive().is_empty());
    drop(child);
}

#[test]
fn an_orphan_that_lowered_its_limit_is_found_by_its_environment() {
    let token = Token::new();
    let mark = fresh_mark();
    let sleeper = relimited("5:5", &format!("sleep {}", token.0));
    let mut child = shell(&format!("(setsid {sleeper} &); exit 0")).mark(mark).unprivileged().start();
    wait(&mut child);
    token.await_alive(1);
    let thorough = Selector { depth: Depth::Thorough, ..Selector::command(mark) };
    assert_eq!(find(&thorough).unwrap()[0].evidence, Evidence::Variable);
    end(&thorough);
    assert!(token.alive().is_empty());
}

#[test]
fn an_orphan_in_the_session_of_a_reaped_leader_is_found_whatever_it_did_to_itself() {
    let token = Token::new();
    let mark = fresh_mark();
    let sleeper = relimited("5:5", &format!("env -i /bin/sh -c 'echo; exec sleep {}'", token.0));
    let (mut child, mut output) = shell(&format!("({sleeper} &) ; read gone </dev/null; exec sleep 1000"))
        .mark(mark)
        .unprivileged()
        .start_talking();
    await_lines(&mut output, 1);
    token.await_alive(1);
    let started = crate::sys::child::ticks_now();
    eventually("the orphan is older than the end", || crate::sys::child::ticks_now() > started + 1);
    child.handle().signal(libc::SIGKILL).unwrap();
    wait(&mut child);
    let leader = child.handle().leader(mark.command);
    assert!(find(&Selector::command(mark)).unwrap().is_empty(), "the session is the only link");
    end(&Selector { leaders: vec![leader], ..Selector::command(mark) });
    assert!(token.alive().is_empty());
}

#[test]
fn an_unmarked_leader_is_found_with_everything_below_it() {
    let token = Token::new();
    let child = shell(&format!("setsid sleep {0} & sleep {0} & wait", token.0)).start();
    token.await_alive(2);
    let selector = Selector::command(fresh_mark());
    let leader = child.handle().leader(number(1));
    assert_eq!(end(&Selector { leaders: vec![leader], ..selector }), 3);
    assert!(token.alive().is_empty());
}

#[test]
fn the_leader_of_another_command_is_spared() {
    let token = Token::new();
    let mut child = program(&["sleep", &token.0]).start();
    token.await_alive(1);
    let selector = Selector::command(fresh_mark());
    let leader = child.handle().leader(number(2));
    assert_eq!(end(&Selector { leaders: vec![leader], ..selector }), 0);
    assert_eq!(child.try_wait().unwrap(), None);
}

#[test]
fn a_process_that_ends_the_sandbox_that_it_is_in_ends_all_but_itself() {
    // In a process of its own, because it carries the mark.
    if let Some(mark) = std::env::var_os("GRAINCHAIN_TEST_INSIDE") {
        let sandbox = SandboxTag(mark.to_str().unwrap().parse().unwrap());
        let selector = Selector { depth: Depth::Thorough, ..Selector::sandbox(sandbox) };
        let killed = end(&selector);
        let left = find(&selector).unwrap().iter().filter(|entry| entry.is_alive()).count();
        process::exit(if (killed, left) == (1, 0) { 42 } else { 1 });
    }
    let own = std::env::current_exe().unwrap();
    let name = "a_process_that_ends_the_sandbox_that_it_is_in_ends_all_but_itself";
    let token = Token::new();
    let mark = fresh_mark();
    let _sleeper = program(&["sleep", &token.0]).mark(mark).start();
    token.await_alive(1);
    let mut setup = program(&[own.to_str().unwrap(), name, "--nocapture"]).mark(mark);
    setup.environment.push(("GRAINCHAIN_TEST_INSIDE".into(), mark.sandbox.0.to_string().into()));
    assert_eq!(wait(&mut setup.start()), WaitStatus::Exited(42));
    assert!(token.alive().is_empty());
}

#[test]
fn what_cannot_be_ended_is_listed() {
    // A kernel that hangs cannot be arranged here; a time limit of nothing can: the kill is sent, the death
    // is not awaited.
    let token = Token::new();
    let mark = fresh_mark();
    let _child = program(&["sleep", &token.0]).mark(mark).start();
    token.await_alive(1);
    match kill_tree(&Selector::command(mark), Duration::ZERO) {
        Err(error @ TreeError::Survivors { .. }) => {
            let TreeError::Survivors { entries, .. } = &error else { unreachable!() };
            assert_eq!(entries.len(), 1);
            assert!(error.to_string().contains(&entries[0].pid.to_string()), "{error}");
        }
        other => panic!("{other:?}"),
    }
    end(&Selector::command(mark));
}

#[test]
fn nothing_to_end_is_no_error() {
    assert_eq!(end(&Selector::command(fresh_mark())), 0);
}

#[test]
fn ending_needs_no_descriptor_for_each_process() {
    // In a process of its own, because it lowers its limit.
    if std::env::var_os("GRAINCHAIN_TEST_FEW").is_some() {
        let limit = rustix::process::Rlimit { current: Some(96), maximum: Some(96) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        let token = Token::new();
        let mark = fresh_mark();
        let script = format!("i=0; while [ $i -lt 120 ]; do sleep {} & i=$((i+1)); done; wait", token.0);
        let _child = shell(&script).mark(mark).start();
        token.await_alive(120);
        let killed = end(&Selector::command(mark));
        process::exit(if killed == 121 && token.alive().is_empty() { 42 } else { 1 });
    }
    let own = std::env::current_exe().unwrap();
    let mut setup =
        program(&[own.to_str().unwrap(), "ending_needs_no_descriptor_for_each_process", "--nocapture"]);
    setup.environment.push(("GRAINCHAIN_TEST_FEW".into(), "1".into()));
    assert_eq!(wait(&mut setup.start()), WaitStatus::Exited(42));
}

#[test]
fn the_numbers_of_a_process_are_those_of_the_kernel() {
    let mark = fresh_mark();
    let (child, mut output) =
        shell("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo; exec sleep 1000")
            .mark(mark)
            .start_talking();
    await_lines(&mut output, 1);
    let entries = find(&Selector { depth: Depth::Marks, ..Selector::command(mark) }).unwrap();
    let [entry] = entries[..] else { panic!("{entries:?}") };
    assert_eq!((entry.pid, entry.sid, entry.ppid), (child.pid(), child.pid(), process::id() as i32));
    assert!(entry.cpu_time > Duration::ZERO && entry.rss_bytes > 0 && entry.threads == 1, "{entry:?}");
    assert_eq!((entry.command, entry.evidence), (mark.command, Evidence::Limit));
    end(&Selector::command(mark));
}
