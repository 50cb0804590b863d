//! Commands that run to their end.

use futures_util::future::try_join_all;
use grainchain_core::{Command, ErrorKind, WriteFile};

use super::support::{alive, numbers, secs, sh};
use crate::case::cases;
use crate::check::{Failure, fails};

cases! { exec:
    fn a_zero_exit_is_success(cx) {
        let output = cx.sandbox().await?.execute("exit 0").await?;
        check!(output.success() && !output.failed(), "exit 0 is no success: {output:?}");
        same!(output.exit_code(), Some(0));
        same!(output.signal(), None);
    }

    fn a_nonzero_exit_is_a_result(cx) {
        let output = cx.sandbox().await?.execute("echo before; exit 3").await?;
        same!(output.exit_code(), Some(3));
        same!(output.stdout(), "before\n");
        check!(output.failed(), "exit 3 is a success");
    }

    fn every_exit_code_arrives_as_it_is(cx) {
        let sandbox = cx.sandbox().await?;
        for code in [1, 2, 63, 64, 77, 125, 126, 127, 128, 129, 130, 137, 143, 254, 255] {
            let output = sandbox.execute(format!("exit {code}")).await?;
            same!(output.exit_code(), Some(code), "the code of exit {code}");
            same!(output.signal(), None, "the signal of exit {code}");
        }
    }

    fn a_line_goes_through_the_shell(cx) {
        let text = sh(&cx.sandbox().await?, "x=3; echo one two | wc -w && echo $((x + 1)) > f; cat f; rm f").await?;
        same!(text.split_whitespace().collect::<Vec<_>>(), ["2", "4"]);
    }

    fn a_list_goes_past_the_shell(cx) {
        let output = cx.sandbox().await?.execute(["echo", "$HOME", "|", "wc", ">x"]).await?;
        same!(output.stdout(), "$HOME | wc >x\n");
    }

    fn a_missing_program_is_not_found_and_named(cx) {
        let result = cx.sandbox().await?.execute(["no-such-program-anywhere", "x"]).await;
        let error = fails(result, &[ErrorKind::NotFound])?;
        check!(error.to_string().contains("no-such-program-anywhere"), "does not name the program: {error}");
    }

    fn a_missing_command_in_a_line_is_the_shells_127(cx) {
        let output = cx.sandbox().await?.execute("no-such-program-anywhere").await?;
        same!(output.exit_code(), Some(127));
        check!(!output.stderr.bytes().is_empty(), "the shell says nothing about it");
    }

    fn a_file_that_is_not_executable_is_denied(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file(WriteFile::new("tool").mode(0o644), "#!/bin/sh\n").await?;
        let error = fails(sandbox.execute(["./tool"]).await, &[ErrorKind::Denied])?;
        check!(error.to_string().contains("tool"), "does not name the file: {error}");
    }

    fn a_directory_is_no_program(cx) {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir -p place").await?;
        fails(sandbox.execute(["./place"]).await, &[ErrorKind::Denied, ErrorKind::BadRequest])?;
    }

    fn a_script_whose_interpreter_is_missing_is_not_found(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file(WriteFile::new("script").mode(0o755), "#!/no/such/interpreter\n").await?;
        let error = fails(sandbox.execute(["./script"]).await, &[ErrorKind::NotFound])?;
        let text = error.to_string();
        check!(text.contains("script") || text.contains("interpreter"), "names neither: {error}");
    }

    fn an_uploaded_script_runs(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file(WriteFile::new("bin/hello").mode(0o755), "#!/bin/sh\necho hello $1\n").await?;
        same!(sandbox.execute(["bin/hello", "there"]).await?.stdout(), "hello there\n");
    }

    fn a_program_is_looked_up_in_the_commands_own_path(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        sandbox.upload_file(WriteFile::new("mine/greet").mode(0o755), "#!/bin/sh\necho found\n").await?;
        let here = sh(&sandbox, "pwd").await?;
        let path = format!("{}/mine:/usr/bin:/bin", here.trim_end());
        same!(sandbox.execute(["greet"]).env("PATH", path).await?.stdout(), "found\n");
        fails(sandbox.execute(["greet"]).env("PATH", "/usr/bin:/bin").await, &[ErrorKind::NotFound])?;
    }

    fn all_commands_start_in_the_same_directory(cx) {
        let sandbox = cx.sandbox().await?;
        let first = sh(&sandbox, "cd / && pwd >/dev/null; cd - >/dev/null; pwd").await?;
        same!(sh(&sandbox, "pwd").await?, first);
        check!(first.starts_with('/'), "{first:?} is not absolute");
    }

    fn the_working_directory_is_the_one_that_info_names(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        let named = sandbox.info().await?.working_directory;
        let Some(named) = named else { return Err(Failure::new("info names no working directory")) };
        sandbox.upload_file("beacon", "here").await?;
        same!(sandbox.execute(["cat", &format!("{named}/beacon")]).await?.stdout(), "here");
    }

    fn a_command_starts_where_it_is_asked_to(cx) {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "mkdir -p a/b; echo deep > a/b/f").await?;
        same!(sandbox.execute("cat f").working_directory("a/b").await?.stdout(), "deep\n");
        same!(sandbox.execute(["cat", "b/f"]).working_directory("a").await?.stdout(), "deep\n");
    }

    fn a_missing_working_directory_is_an_error_that_names_it(cx) {
        let result = cx.sandbox().await?.execute("true").working_directory("not/there").await;
        let error = fails(result, &[ErrorKind::NotFound, ErrorKind::BadRequest])?;
        check!(error.to_string().contains("not/there"), "does not name the directory: {error}");
    }

    fn a_file_as_working_directory_is_refused(cx) {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo x > plain").await?;
        let result = sandbox.execute("true").working_directory("plain").await;
        fails(result, &[ErrorKind::BadRequest, ErrorKind::NotFound, ErrorKind::Denied])?;
    }

    fn commands_share_no_shell_state(cx) {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "cd /; SECRET=1; export SECRET; umask 000; set -f").await?;
        same!(sh(&sandbox, "echo ${SECRET-unset}").await?, "unset\n");
        check!(sh(&sandbox, "pwd").await? != "/\n" || cx.config().working_directory.as_deref() == Some("/"), "cd stuck");
    }

    fn commands_share_the_files(cx) {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo kept > note").await?;
        same!(sh(&sandbox, "cat note").await?, "kept\n");
    }

    fn two_sandboxes_do_not_share_files(cx) {
        let (first, second) = (cx.sandbox().await?, cx.create(cx.config()).await?);
        check!(first.id() != second.id(), "both are called {}", first.id());
        sh(&first, "echo mine > private").await?;
        same!(second.execute("cat private").await?.failed(), true);
    }

    fn a_child_left_behind_does_not_hold_the_command(cx) {
        let sandbox = cx.sandbox().await?;
        let output = sandbox.execute("sleep 300 & echo $!").timeout(secs(20)).await?;
        let child = numbers(&output.stdout())?;
        same!(child.len(), 1);
        same!(alive(&sandbox, &child).await?, child, "the children that live on");
    }

    fn sixty_four_commands_run_at_once(cx) {
        let sandbox = cx.sandbox().await?;
        let outputs = try_join_all((0..64).map(|number| {
            // Each waits for all the others: one after the other they would never end.
            let meet = "echo >> here; while [ $(wc -l < here) -lt 64 ]; do sleep 1; done";
            let command = sandbox.execute(format!("{meet}; echo {number}; echo {number} >&2; exit {number}")).timeout(secs(50));
            async move { command.await }
        }))
        .await?;
        for (number, output) in outputs.iter().enumerate() {
            same!(output.stdout(), format!("{number}\n"));
            same!(output.exit_code(), Some(number as i32));
        }
    }

    fn two_hundred_commands_in_a_row_leave_nothing_open(cx) {
        let sandbox = cx.sandbox().await?;
        for number in 0..200 {
            same!(sandbox.execute(["echo", &number.to_string()]).await?.stdout(), format!("{number}\n"));
        }
        same!(sh(&sandbox, "echo still").await?, "still\n");
    }

    fn the_execution_time_covers_the_command(cx) {
        let output = cx.sandbox().await?.execute("sleep 1").await?;
        let time = output.execution_time();
        check!(time >= secs(1) - std::time::Duration::from_millis(50) && time < secs(20), "sleep 1 took {time:?}");
    }

    fn commands_are_stamped_in_order(cx) {
        let sandbox = cx.sandbox().await?;
        let first = sandbox.execute("true").await?;
        let second = sandbox.execute("true").await?;
        check!(second.started_at >= first.started_at, "the second began before the first");
    }

    fn a_variable_of_a_command_reaches_it_and_its_children(cx) {
        let sandbox = cx.sandbox().await?;
        let output = sandbox.execute("sh -c 'echo $LEVEL'; echo $LEVEL").env("LEVEL", "debug").await?;
        same!(output.stdout(), "debug\ndebug\n");
    }

    fn a_variable_of_a_command_is_unknown_to_the_next(cx) {
        let sandbox = cx.sandbox().await?;
        sandbox.execute("true").env("ONCE", "1").await?;
        same!(sandbox.execute("echo ${ONCE-unset}").await?.stdout(), "unset\n");
    }

    fn a_variable_of_the_sandbox_reaches_every_command(cx) honours [EnvironmentVars] {
        let sandbox = cx.create(cx.config().env("COLOR", "blue")).await?;
        same!(sandbox.execute("echo $COLOR").await?.stdout(), "blue\n");
        same!(sandbox.execute(["sh", "-c", "echo $COLOR"]).await?.stdout(), "blue\n");
    }

    fn a_variable_of_the_command_wins(cx) honours [EnvironmentVars] {
        let sandbox = cx.create(cx.config().env("COLOR", "blue")).await?;
        same!(sandbox.execute("echo $COLOR").env("COLOR", "red").await?.stdout(), "red\n");
        same!(sandbox.execute("echo $COLOR").await?.stdout(), "blue\n");
    }

    fn an_empty_variable_is_set(cx) {
        let output = cx.sandbox().await?.execute("echo ${EMPTY-unset}.").env("EMPTY", "").await?;
        same!(output.stdout(), ".\n");
    }

    fn a_thousand_variables_arrive(cx) {
        let variables = (0..1000).map(|number| (format!("VARIABLE_{number}"), format!("value {number}")));
        let output = cx.sandbox().await?.execute(["env"]).envs(variables).await?;
        let text = output.stdout();
        same!(text.lines().filter(|line| line.starts_with("VARIABLE_")).count(), 1000);
        check!(text.contains("VARIABLE_999=value 999\n"), "the last is missing");
    }

    fn an_argument_of_100_kib_arrives(cx) {
        let long = "x".repeat(100 * 1024);
        same!(cx.sandbox().await?.execute(["printf", "%s", &long]).await?.stdout.total(), long.len() as u64);
    }

    fn an_argument_that_is_too_long_is_an_error(cx) {
        let long = "x".repeat(4 << 20);
        let result = cx.sandbox().await?.execute(["printf", "%s", &long]).await;
        fails(result, &[ErrorKind::BadRequest, ErrorKind::Exhausted])?;
    }

    fn a_command_built_apart_runs_the_same(cx) {
        let command = Command::shell("echo $A; pwd >/dev/null; cat").env("A", "b").stdin("in").timeout(secs(20));
        same!(cx.sandbox().await?.execute(command).await?.stdout(), "b\nin");
    }

    fn a_user_that_does_not_exist_is_refused(cx) tags [Users] {
        let result = cx.sandbox().await?.execute("true").user("no-such-user").await;
        let error = fails(result, &[ErrorKind::NotFound, ErrorKind::BadRequest])?;
        check!(error.to_string().contains("no-such-user"), "does not name the user: {error}");
    }

    fn a_user_by_number_is_the_user_that_runs(cx) tags [Users] {
        let output = cx.sandbox().await?.execute("id -u").user("12345").await?;
        same!(output.stdout(), "12345\n");
    }
}
