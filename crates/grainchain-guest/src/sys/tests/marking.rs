use std::process;

use super::*;
use crate::sys::{
    scan::{Depth, Evidence, Selector},
    tag::{Carrier, Marking, VARIABLE},
    tree::{find, kill_tree},
};

#[test]
fn a_child_carries_both_marks() {
    let mark = fresh_mark();
    let setup = shell(&format!("echo ${VARIABLE}; cat /proc/self/limits")).mark(mark);
    let text = setup.text();
    assert!(text.lines().next().unwrap().ends_with(&mark.to_string()), "{text}");
    assert!(text.contains(&mark.to_limit().to_string()), "{text}");
}

#[test]
fn an_unmarked_child_carries_none() {
    let text = shell(&format!("echo ${VARIABLE}; cat /proc/self/limits")).text();
    assert!(text.starts_with('\n'), "{text}");
    assert_eq!(shell("true").start().marking(), Marking::None);
}

#[test]
fn a_mark_given_by_the_caller_is_replaced() {
    let mark = fresh_mark();
    let mut setup = shell(&format!("echo ${VARIABLE}")).mark(mark);
    setup.environment.push((VARIABLE.into(), "00000001:1".into()));
    assert!(setup.text().trim_end().ends_with(&mark.to_string()));
    assert!(!setup.text().contains("00000001:1"));
}

#[test]
fn an_unprivileged_process_cannot_take_its_mark_off_or_take_a_higher_one() {
    if !rustix::process::geteuid().is_root() {
        return assert!(Carrier::free().is_some());
    }
    let mark = fresh_mark();
    let higher = Mark { command: number(2), ..mark }.to_limit();
    for value in ["unlimited:unlimited".to_owned(), format!("{higher}:{higher}")] {
        let setup = shell(&format!("prlimit --rttime={value} -- true 2>/dev/null")).mark(mark).unprivileged();
        assert_ne!(setup.output().0, WaitStatus::Exited(0), "{value}");
    }
}

/// Runs this very test in a process of its own, itself a command of an outer sandbox, and says how it went.
fn inside(test: &str, outer: Setup, level: &str) {
    let own = std::env::current_exe().unwrap();
    let mut setup =
        Setup { program: own.into(), arguments: vec![test.into(), "--nocapture".into()], ..outer };
    setup.environment.push(("GRAINCHAIN_TEST_LEVEL".into(), level.into()));
    let (status, output) = setup.output();
    assert_eq!(status, WaitStatus::Exited(42), "{}", String::from_utf8_lossy(&output));
}

fn level() -> Option<String> {
    std::env::var_os("GRAINCHAIN_TEST_LEVEL").map(|level| level.into_string().unwrap())
}

fn has(mark: Mark, depth: Depth, pid: i32) -> Option<Evidence> {
    let entries = find(&Selector { depth, ..Selector::command(mark) }).unwrap();
    entries.iter().find(|entry| entry.pid == pid).map(|entry| entry.evidence)
}

#[test]
fn an_inner_sandbox_uses_another_limit_and_both_find_their_own() {
    if let Some(outer) = level() {
        // We are the outer sandbox's command 1 and start the inner sandbox's command.
        let outer = Mark { sandbox: SandboxTag(outer.parse().unwrap()), command: number(1) };
        let mark = fresh_mark();
        assert_ne!(mark.sandbox, outer.sandbox);
        let token = Token::new();
        let mut child =
            shell(&format!("(env -i /usr/bin/setsid sleep {} &); exit 0", token.0)).mark(mark).start();
        assert_eq!(child.marking(), Marking::Limit(Carrier::Locks));
        wait(&mut child);
        token.await_alive(1);
        let sleeper = token.alive()[0];
        assert_eq!(has(mark, Depth::Marks, sleeper), Some(Evidence::Limit));
        assert_eq!(has(outer, Depth::Marks, sleeper), Some(Evidence::Limit));
        // The inner sandbox's end is not the outer's.
        let sibling = Token::new();
        let mut other = program(&["sleep", &sibling.0]).start();
        assert_eq!(kill_tree(&Selector::sandbox(mark.sandbox), LIMIT).unwrap(), 1);
        assert!(token.alive().is_empty());
        assert_eq!(other.try_wait().unwrap(), None);
        process::exit(42);
    }
    for unprivileged in [false, true] {
        let mark = fresh_mark();
        let outer = shell("").mark(mark);
        let outer = if unprivileged { outer.unprivileged() } else { outer };
        let name = "an_inner_sandbox_uses_another_limit_and_both_find_their_own";
        inside(name, outer, &mark.sandbox.0.to_string());
        kill_tree(&Selector::sandbox(mark.sandbox), LIMIT).unwrap();
    }
}

#[test]
fn the_end_of_the_outer_sandbox_ends_the_inner_one() {
    if level().is_some() {
        let token = std::env::var_os("GRAINCHAIN_TEST_TOKEN").unwrap().into_string().unwrap();
        let script = format!("(env -i /usr/bin/setsid sleep {token} &); exit 0");
        wait(&mut shell(&script).mark(fresh_mark()).start());
        process::exit(42);
    }
    let token = Token::new();
    let mark = fresh_mark();
    let mut outer = shell("").mark(mark).unprivileged();
    outer.environment.push(("GRAINCHAIN_TEST_TOKEN".into(), token.0.clone().into()));
    inside("the_end_of_the_outer_sandbox_ends_the_inner_one", outer, "1");
    token.await_alive(1);
    assert_eq!(kill_tree(&Selector::command(mark), LIMIT).unwrap(), 1);
    assert!(token.alive().is_empty());
}

#[test]
fn where_no_limit_is_free_the_variable_remains_and_the_caller_is_told() {
    if let Some(outer) = level() {
        let outer = Mark { sandbox: SandboxTag(outer.parse().unwrap()), command: number(1) };
        let mark = fresh_mark();
        let token = Token::new();
        let mut child = shell(&format!("(setsid sleep {} &); exit 0", token.0)).mark(mark).start();
        assert_eq!(child.marking(), Marking::VariableOnly);
        wait(&mut child);
        token.await_alive(1);
        let sleeper = token.alive()[0];
        assert_eq!(has(mark, Depth::Relations, sleeper), None);
        assert_eq!(has(mark, Depth::Thorough, sleeper), Some(Evidence::Variable));
        // The variable names both sandboxes.
        assert_eq!(has(outer, Depth::Thorough, sleeper), Some(Evidence::Variable));
        let selector = Selector { depth: Depth::Thorough, ..Selector::sandbox(mark.sandbox) };
        assert_eq!(kill_tree(&selector, LIMIT).unwrap(), 1);
        process::exit(42);
    }
    // Both limits are taken by something that is not ours, as in a service with limits of its own.
    let mark = fresh_mark();
    let own = std::env::current_exe().unwrap();
    let name = "where_no_limit_is_free_the_variable_remains_and_the_caller_is_told";
    let script =
        format!("exec prlimit --rttime=900000:900000 --locks=90:90 -- {} {name} --nocapture", own.display());
    let mut setup = shell(&script).mark(mark);
    setup.environment.push(("GRAINCHAIN_TEST_LEVEL".into(), mark.sandbox.0.to_string().into()));
    let (status, output) = setup.output();
    assert_eq!(status, WaitStatus::Exited(42), "{}", String::from_utf8_lossy(&output));
}
