use std::fs;
use std::os::unix::fs::PermissionsExt;

use grainchain_core::facet::Exec;
use grainchain_core::{Command, Effect, ErrorKind, ExitStatus, Signal};

use crate::testing::{TestGuest, within};

/// A file in the sandbox that may be executed.
fn executable(guest: &TestGuest, name: &str, text: &str) {
    fs::write(guest.path().join(name), text).unwrap();
    fs::set_permissions(guest.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_failed_command_is_an_output() {
    let guest = TestGuest::new();
    let output = guest.run("echo out; echo err >&2; exit 3").await;
    assert_eq!((output.exit_code(), &*output.stdout(), &*output.stderr()), (Some(3), "out\n", "err\n"));
}

#[tokio::test]
async fn arguments_reach_the_program_untouched() {
    let guest = TestGuest::new();
    assert_eq!(guest.text(["printf", "%s|", "$HOME", "a b", "*", "", "é"]).await, "$HOME|a b|*||é|");
}

#[tokio::test]
async fn the_environment_is_the_sandboxs_and_the_commands_and_nothing_else() {
    let guest = TestGuest::new();
    let text = guest.text(Command::argv(["env"]).env("A", "1").env("PATH", "/usr/bin:/bin")).await;
    let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with("GRAINCHAIN_COMMAND=")).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=1", "PATH=/usr/bin:/bin"]);
}

#[tokio::test]
async fn a_program_is_looked_for_in_the_commands_path() {
    let guest = TestGuest::new();
    executable(&guest, "greet", "#!/bin/sh\necho hi");
    assert_eq!(guest.text(Command::argv(["greet"]).env("PATH", guest.path().to_str().unwrap())).await, "hi");
    let error = guest.error(["greet"]).await;
    assert_eq!((error.kind(), error.what_happened()), (ErrorKind::NotFound, Effect::None));
    assert!(error.to_string().contains("greet") && error.to_string().contains("PATH"), "{error}");
}

#[tokio::test]
async fn a_missing_interpreter_is_named() {
    let guest = TestGuest::new();
    executable(&guest, "script", "#!/no/such/interpreter\n");
    let error = guest.error(["./script"]).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("/no/such/interpreter"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_executed_is_told_apart() {
    let guest = TestGuest::new();
    fs::write(guest.path().join("data"), "text").unwrap();
    executable(&guest, "formless", "text");
    assert_eq!(guest.error(["./data"]).await.kind(), ErrorKind::Denied);
    assert_eq!(guest.error(["./formless"]).await.kind(), ErrorKind::BadRequest);
    let error = guest.error(Command::argv(["true".to_owned(), "x".repeat(3 << 20)])).await;
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    assert!(error.remedy().unwrap().contains("stdin"), "{error}");
}

#[tokio::test]
async fn it_starts_in_the_directory_that_was_asked_for() {
    let guest = TestGuest::new();
    fs::create_dir_all(guest.path().join("a/b")).unwrap();
    let there = guest.path().canonicalize().unwrap().join("a/b").to_str().unwrap().to_owned();
    for path in ["a/b", there.as_str()] {
        assert_eq!(guest.text(Command::shell("pwd").working_directory(path)).await, there);
    }
    let error = guest.error(Command::shell("true").working_directory("no/such")).await;
    assert_eq!((error.kind(), error.failed_option()), (ErrorKind::NotFound, Some("working_directory")));
    assert!(error.to_string().contains("no/such"), "{error}");
}

#[tokio::test]
async fn no_command_starts_outside_of_the_root() {
    let guest = TestGuest::new();
    std::os::unix::fs::symlink("/", guest.path().join("way-out")).unwrap();
    for path in ["/", "..", "way-out", "way-out/etc", "/etc"] {
        let error = guest.error(Command::shell("pwd").working_directory(path)).await;
        assert_eq!(error.kind(), ErrorKind::BadRequest, "{path}: {error}");
    }
}

#[tokio::test]
async fn another_user_is_refused_and_our_own_is_not() {
    let guest = TestGuest::new();
    for user in ["nobody", "4000000", "0:4000000"] {
        let error = guest.error(Command::shell("true").user(user)).await;
        assert_eq!((error.kind(), error.failed_option()), (ErrorKind::Unsupported, Some("user")));
    }
    let own = rustix::process::geteuid().as_raw().to_string();
    assert_eq!(guest.text(Command::shell("id -u").user(&own)).await, own);
}

#[tokio::test]
async fn piped_stdin_is_for_spawn() {
    let guest = TestGuest::new();
    assert_eq!(guest.error(Command::shell("cat").piped_stdin()).await.kind(), ErrorKind::BadRequest);
}

#[tokio::test]
async fn every_deadly_signal_is_told_from_an_exit_code() {
    let guest = TestGuest::new();
    let harmless = [17, 18, 19, 20, 21, 22, 23, 28];
    for number in (1..=31).filter(|number| !harmless.contains(number)) {
        let output = guest.run(format!("ulimit -c 0; kill -{number} $$")).await;
        assert_eq!(output.status, Some(ExitStatus::Signal(Signal::new(number).unwrap())));
        assert_eq!(guest.run(format!("exit {}", 128 + number)).await.exit_code(), Some(128 + number));
    }
}

#[tokio::test]
async fn each_command_leads_a_session_and_has_nothing_of_ours_open() {
    let guest = TestGuest::new();
    let text = guest.text("cut -d' ' -f5,6 /proc/$$/stat; echo $$").await;
    let numbers: Vec<_> = text.split_whitespace().collect();
    assert_eq!(numbers[..2], [numbers[2], numbers[2]], "{text}");
    assert_eq!(guest.text("echo $(ls /proc/$$/fd)").await.split(' ').filter(|fd| *fd < "3").count(), 3);
    assert_eq!(guest.run(["ls", "/proc/self/fd"]).await.stdout(), "0\n1\n2\n3\n", "3 is ls's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_commands_at_once_do_not_mix() {
    let guest = TestGuest::new();
    let commands = (0..64).map(|number| {
        let guest = (*guest).clone();
        tokio::spawn(async move {
            let line = format!("echo {number}; read line; echo $line >&2; exit {number}");
            let output = guest.execute(Command::shell(line).stdin(format!("in {number}\n"))).await.unwrap();
            assert_eq!(output.exit_code(), Some(number));
            assert_eq!(
                (output.stdout(), output.stderr()),
                (format!("{number}\n").into(), format!("in {number}\n").into())
            );
        })
    });
    for command in commands.collect::<Vec<_>>() {
        within(command).await.unwrap();
    }
    assert_eq!(guest.alive(), 0);
}

#[tokio::test]
async fn no_zombie_is_left_after_a_hundred_runs() {
    let guest = TestGuest::new();
    for _ in 0..100 {
        guest.run("true").await;
    }
    assert_eq!(guest.alive_or_unreaped(), 0);
}
