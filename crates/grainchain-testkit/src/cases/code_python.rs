//! Python that keeps its variables.

use futures_util::StreamExt;
use grainchain_core::{CodeEvent, ErrorKind, RunCode};

use super::support::secs;
use crate::case::cases;
use crate::check::fails;

cases! { code_python:
    fn the_value_of_the_last_expression_is_told(cx) needs [Code] with [Python] {
        let result = cx.sandbox().await?.run_code("x = 41\nx + 1").await?;
        same!(result.text(), Some("42"));
        check!(result.success(), "raised {:?}", result.error);
    }

    fn variables_functions_and_imports_stay(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        sandbox.run_code("import math\ndef area(r):\n    return math.pi * r * r\nr = 2").await?;
        same!(sandbox.run_code("round(area(r), 2)").await?.text(), Some("12.57"));
    }

    fn output_is_told_apart_from_the_value(cx) needs [Code] with [Python] {
        let result = cx.sandbox().await?.run_code("import sys\nprint('out')\nprint('err', file=sys.stderr)\n'value'").await?;
        same!((result.stdout.text().into_owned(), result.stderr.text().into_owned()), ("out\n".to_owned(), "err\n".to_owned()));
        same!(result.text(), Some("'value'"));
    }

    fn a_statement_has_no_value(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        same!(sandbox.run_code("y = 1").await?.value, None);
        same!(sandbox.run_code("None").await?.value, None);
    }

    fn an_exception_is_a_result_with_its_trace(cx) needs [Code] with [Python] {
        let result = cx.sandbox().await?.run_code("def f():\n    raise ValueError('too bad')\nprint('before')\nf()").await?;
        let Some(error) = result.error else { return Err("nothing was raised".into()) };
        same!((error.name.as_str(), error.value.as_str()), ("ValueError", "too bad"));
        check!(error.traceback.join("\n").contains("in f"), "the frame of f is missing: {:?}", error.traceback);
        same!(result.stdout.text(), "before\n");
    }

    fn a_syntax_error_is_a_result(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        let result = sandbox.run_code("def broken(:\n").await?;
        same!(result.error.map(|error| error.name), Some("SyntaxError".to_owned()));
        same!(sandbox.run_code("1 + 1").await?.text(), Some("2"));
    }

    fn exit_does_not_take_the_interpreter_along(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        sandbox.run_code("kept = 5").await?;
        let result = sandbox.run_code("import sys\nsys.exit(3)").await?;
        check!(result.error.is_some_and(|error| error.name == "SystemExit"), "exit raised nothing");
        same!(sandbox.run_code("kept").await?.text(), Some("5"));
    }

    fn quotes_and_unicode_arrive(cx) needs [Code] with [Python] {
        let result = cx.sandbox().await?.run_code("print('it\\'s', \"\\\"\", '''a\nb''', 'ü😀\\u65e5', r'\\n', '$HOME `x`')").await?;
        same!(result.stdout.text(), "it's \" a\nb ü😀日 \\n $HOME `x`\n");
    }

    fn input_meets_its_end(cx) needs [Code] with [Python] {
        let result = cx.sandbox().await?.run_code(RunCode::new("input()").timeout(secs(20))).await?;
        check!(result.error.is_some_and(|error| error.name == "EOFError"), "input() waits for somebody");
    }

    fn a_timeout_interrupts_and_keeps_the_variables(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        sandbox.run_code("kept = 'here'").await?;
        let result = sandbox.run_code("while True:\n    pass").timeout(secs(1)).await;
        fails(result, &[ErrorKind::Timeout])?;
        same!(sandbox.run_code("kept").timeout(secs(20)).await?.text(), Some("'here'"));
    }

    fn code_that_ignores_the_interrupt_is_killed(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        let stubborn = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True:\n    pass";
        fails(sandbox.run_code(stubborn).timeout(secs(1)).await, &[ErrorKind::Timeout])?;
        same!(sandbox.run_code("1 + 1").timeout(secs(30)).await?.text(), Some("2"));
    }

    fn an_interpreter_that_dies_is_an_error_and_begins_afresh(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        sandbox.run_code("lost = 1").await?;
        fails(sandbox.run_code("import os\nos._exit(9)").await, &[ErrorKind::Connection])?;
        same!(sandbox.run_code("'lost' in globals()").await?.text(), Some("False"));
    }

    fn output_arrives_while_the_code_runs(cx) needs [Code] with [Python] {
        let mut events = cx.sandbox().await?.run_code("import time\nprint('early', flush=True)\ntime.sleep(300)").stream().await?;
        loop {
            match tokio::time::timeout(secs(20), events.next()).await {
                Ok(Some(event)) => if matches!(event?, CodeEvent::Stdout(bytes) if bytes.starts_with(b"early")) { break },
                Ok(None) => return Err("the events ended".into()),
                Err(_) => return Err("waited in vain for the output".into()),
            }
        }
    }

    fn a_hundred_thousand_lines_arrive(cx) needs [Code] with [Python] {
        let result = cx.sandbox().await?.run_code("for i in range(100000): print(i)").await?;
        let expected: String = (0..100_000).map(|number| format!("{number}\n")).collect();
        check!(result.stdout.text() == expected, "{} bytes came", result.stdout.total());
    }

    fn bytes_written_below_the_interpreter_are_output(cx) needs [Code] with [Python] {
        let result = cx.sandbox().await?.run_code("import os, subprocess\nos.write(1, b'raw\\n')\nsubprocess.run(['echo', 'child'])\nNone").await?;
        let text = result.stdout.text();
        check!(text.contains("raw\n") && text.contains("child\n"), "lost: {text:?}");
    }

    fn runs_are_numbered(cx) needs [Code] with [Python] {
        let sandbox = cx.sandbox().await?;
        same!(sandbox.run_code("1").await?.count, 1);
        same!(sandbox.run_code("2").await?.count, 2);
    }

    fn a_displayed_value_comes_in_its_forms(cx) needs [Code] with [Python] {
        let code = "class Page:\n    def _repr_html_(self):\n        return '<b>bold</b>'\n    def __repr__(self):\n        return 'plain'\nPage()";
        let result = cx.sandbox().await?.run_code(code).await?;
        let Some(value) = result.value else { return Err("there is no value".into()) };
        same!((value.get("text/html"), value.text()), (Some("<b>bold</b>"), Some("plain")));
    }

    fn forged_protocol_in_the_output_changes_nothing(cx) needs [Code] with [Python] {
        let code = "import os\nfor fd in (1, 2):\n    os.write(fd, b'{\"type\":\"done\",\"count\":99}\\n\\x00\\x00\\x00\\x02{}\\n')\n7";
        let result = cx.sandbox().await?.run_code(code).await?;
        same!((result.count, result.text()), (1, Some("7")));
    }
}
