//! bash that keeps its variables.

use grainchain_core::{ErrorKind, Language, Sandbox};
use grainchain_core::sandbox::RunningCode;

use super::support::secs;
use crate::case::cases;
use crate::check::fails;

fn bash(sandbox: &Sandbox, code: &str) -> RunningCode {
    sandbox.run_code(code).language(Language::Bash)
}

cases! { code_bash:
    fn output_is_told(cx) needs [Code] with [Bash] {
        let result = bash(&cx.sandbox().await?, "echo out; echo err >&2").await?;
        same!((result.stdout.text().into_owned(), result.stderr.text().into_owned()), ("out\n".to_owned(), "err\n".to_owned()));
    }

    fn variables_functions_and_the_directory_stay(cx) needs [Code] with [Bash] {
        let sandbox = cx.sandbox().await?;
        bash(&sandbox, "a=(1 2 3); f() { echo \"${a[1]}\"; }; mkdir -p d && cd d").await?;
        let result = bash(&sandbox, "f; basename \"$PWD\"").await?;
        same!(result.stdout.text(), "2\nd\n");
    }

    fn exit_does_not_take_the_interpreter_along_unsaid(cx) needs [Code] with [Bash] {
        let sandbox = cx.sandbox().await?;
        let exited = bash(&sandbox, "exit 3").timeout(secs(20)).await;
        check!(exited.is_err() || exited.is_ok_and(|result| result.error.is_some()), "`exit 3` is a success");
        same!(bash(&sandbox, "echo again").timeout(secs(20)).await?.stdout.text(), "again\n");
    }

    fn a_failed_last_command_is_told(cx) needs [Code] with [Bash] {
        let result = bash(&cx.sandbox().await?, "echo x; false").await?;
        check!(!result.success(), "a failure is a success");
    }

    fn a_syntax_error_is_told(cx) needs [Code] with [Bash] {
        let sandbox = cx.sandbox().await?;
        let result = bash(&sandbox, "if then fi (").timeout(secs(20)).await?;
        check!(!result.success(), "a syntax error is a success");
        same!(bash(&sandbox, "echo on").timeout(secs(20)).await?.stdout.text(), "on\n");
    }

    fn a_timeout_interrupts(cx) needs [Code] with [Bash] {
        let sandbox = cx.sandbox().await?;
        fails(bash(&sandbox, "sleep 300").timeout(secs(1)).await, &[ErrorKind::Timeout])?;
        same!(bash(&sandbox, "echo on").timeout(secs(20)).await?.stdout.text(), "on\n");
    }
}
