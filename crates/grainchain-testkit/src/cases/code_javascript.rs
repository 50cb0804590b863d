//! JavaScript that keeps its variables.

use grainchain_core::{ErrorKind, Language, Sandbox};
use grainchain_core::sandbox::RunningCode;

use super::support::secs;
use crate::case::cases;
use crate::check::fails;

fn js(sandbox: &Sandbox, code: &str) -> RunningCode {
    sandbox.run_code(code).language(Language::JavaScript)
}

cases! { code_javascript:
    fn the_value_of_the_last_expression_is_told(cx) needs [Code] with [Node] {
        same!(js(&cx.sandbox().await?, "const x = 41; x + 1").await?.text(), Some("42"));
    }

    fn declarations_stay(cx) needs [Code] with [Node] {
        let sandbox = cx.sandbox().await?;
        js(&sandbox, "const a = 1; let b = 2; var c = 3; function sum() { return a + b + c; }").await?;
        same!(js(&sandbox, "sum()").await?.text(), Some("6"));
    }

    fn an_exception_is_a_result(cx) needs [Code] with [Node] {
        let sandbox = cx.sandbox().await?;
        let result = js(&sandbox, "console.log('before'); throw new TypeError('too bad')").await?;
        let Some(error) = result.error else { return Err("nothing was thrown".into()) };
        same!((error.name.as_str(), error.value.as_str()), ("TypeError", "too bad"));
        same!(result.stdout.text(), "before\n");
        same!(js(&sandbox, "1 + 1").await?.text(), Some("2"));
    }

    fn a_promise_is_awaited(cx) needs [Code] with [Node] {
        same!(js(&cx.sandbox().await?, "await new Promise(done => setTimeout(() => done(7), 50))").await?.text(), Some("7"));
    }

    fn a_timeout_ends_a_busy_loop(cx) needs [Code] with [Node] {
        let sandbox = cx.sandbox().await?;
        fails(js(&sandbox, "while (true) {}").timeout(secs(1)).await, &[ErrorKind::Timeout])?;
        same!(js(&sandbox, "1 + 1").timeout(secs(30)).await?.text(), Some("2"));
    }

    fn streams_are_apart(cx) needs [Code] with [Node] {
        let result = js(&cx.sandbox().await?, "console.log('out'); console.error('err'); undefined").await?;
        same!((result.stdout.text().into_owned(), result.stderr.text().into_owned()), ("out\n".to_owned(), "err\n".to_owned()));
        same!(result.value, None);
    }
}
