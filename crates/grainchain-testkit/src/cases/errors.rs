//! What an error says.

use grainchain_core::{ErrorKind, Operation};

use super::support::secs;
use crate::case::cases;
use crate::check::fails;

cases! { errors:
    fn an_error_names_operation_sandbox_and_provider(cx) {
        let sandbox = cx.sandbox().await?;
        let error = fails(sandbox.execute(["no-such-program"]).await, &[ErrorKind::NotFound])?;
        same!(error.failed_operation(), Some(Operation::Execute));
        same!(error.failed_sandbox(), Some(sandbox.id()));
        same!(error.failed_provider(), Some(sandbox.provider()));
        let line = error.to_string();
        check!(line.contains("execute") && line.contains(sandbox.id().as_str()) && line.contains(sandbox.provider()), "{line}");
    }

    fn an_error_is_one_line(cx) {
        let sandbox = cx.sandbox().await?;
        for error in [
            fails(sandbox.execute(["no\nsuch\nprogram"]).await, &[ErrorKind::NotFound])?,
            fails(sandbox.execute("true").working_directory("not\nthere").await, &[ErrorKind::NotFound, ErrorKind::BadRequest])?,
        ] {
            check!(!error.to_string().contains('\n'), "more than one line: {error}");
        }
    }

    fn an_error_about_a_file_is_one_line_and_names_the_operation(cx) needs [Files] {
        let sandbox = cx.sandbox().await?;
        for (error, operation) in [
            (fails(sandbox.download_file("mis\nsing").await, &[ErrorKind::NotFound])?, Operation::ReadFile),
            (fails(sandbox.stat("mis\nsing").await, &[ErrorKind::NotFound])?, Operation::Stat),
            (fails(sandbox.list_files("mis\nsing").await, &[ErrorKind::NotFound])?, Operation::ListFiles),
            (fails(sandbox.remove("mis\nsing").await, &[ErrorKind::NotFound])?, Operation::Remove),
            (fails(sandbox.rename(grainchain_core::Rename::new("mis\nsing", "x")).await, &[ErrorKind::NotFound])?, Operation::Rename),
        ] {
            same!(error.failed_operation(), Some(operation));
            same!(error.failed_sandbox(), Some(sandbox.id()));
            check!(!error.to_string().contains('\n'), "more than one line: {error}");
        }
    }

    fn a_secret_in_the_command_is_in_no_error(cx) {
        let sandbox = cx.sandbox().await?;
        let secret = "hunter2-token";
        let results = [
            sandbox.execute(["no-such-program", secret]).await,
            sandbox.execute(format!("sleep 300 # {secret}")).timeout(secs(1)).await,
            sandbox.execute("sleep 300").env("TOKEN", secret).timeout(secs(1)).await,
            sandbox.execute("sleep 300").stdin(secret).timeout(secs(1)).await,
        ];
        for result in results {
            let error = fails(result, &[ErrorKind::NotFound, ErrorKind::Timeout])?;
            check!(!format!("{error} {error:#} {error:?}").contains(secret), "prints the secret: {error:?}");
        }
    }

    fn nothing_prints_the_command_in_debug(cx) {
        let sandbox = cx.sandbox().await?;
        let running = sandbox.execute("echo hunter2-token").env("A", "b");
        check!(!format!("{running:?} {sandbox:?} {:?}", cx.client()).contains("hunter2-token"), "debug prints the command line");
        running.await?;
    }

    fn a_failed_command_is_no_error(cx) {
        let sandbox = cx.sandbox().await?;
        for line in ["false", "exit 255", "kill -9 $$", "no-such-command", "cat /no/such/file", "( exit 3"] {
            check!(sandbox.execute(line).await?.failed(), "`{line}` succeeded");
        }
    }
}
