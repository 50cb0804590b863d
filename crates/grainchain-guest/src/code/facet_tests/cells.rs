use super::*;

#[tokio::test]
async fn variables_live_from_call_to_call_in_every_language() {
    let setup = sandbox();
    for (language, first, second) in [
        (Language::Python, "x = 41", "x + 1"),
        (Language::JavaScript, "let x = 41", "x + 1"),
        (Language::Bash, "x=41", "echo $((x + 1))"),
    ] {
        if !has(language) {
            continue;
        }
        let cell = setup.run(language, first).await;
        assert_eq!((cell.count, cell.value.is_none(), cell.raised.is_none()), (1, true, true), "{cell:?}");
        let cell = setup.run(language, second).await;
        assert_eq!(cell.count, 2);
        match language {
            Language::Bash => assert_eq!(cell.out, "42\n"),
            _ => assert_eq!(cell.text(), "42"),
        }
    }
}

#[tokio::test]
async fn values_come_as_bundles_with_json_html_and_images_in_base64() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let value = setup.python("{'a': [1, 'é']}").await.value.expect("a value");
    assert_eq!(value.get("application/json"), Some(r#"{"a": [1, "é"]}"#));
    let code = "class T:\n def _repr_html_(self): return '<b>x</b>'\n def _repr_png_(self): return b'\\x89PNG\\xff'\n\
                display(T())\nT()";
    let cell = setup.python(code).await;
    assert_eq!(cell.displays.len(), 1);
    for bundle in [&cell.displays[0], cell.value.as_ref().expect("a value")] {
        assert_eq!(bundle.get("text/html"), Some("<b>x</b>"));
        assert_eq!(bundle.get("image/png"), Some("iVBOR/8="));
    }
}

#[tokio::test]
async fn an_open_figure_of_matplotlib_is_displayed_as_png() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    // Not installed here: a stand-in with the few functions that are called.
    let code = "\
import sys, types
class Figure:
    def savefig(self, file, format, **kw): file.write(b'\\x89PNG' + format.encode())
pyplot = types.ModuleType('matplotlib.pyplot')
open_figures = {1: Figure()}
pyplot.get_fignums = lambda: list(open_figures)
pyplot.figure = lambda number: open_figures[number]
pyplot.close = lambda figure: open_figures.clear()
module = types.ModuleType('matplotlib.figure'); module.Figure = Figure
sys.modules['matplotlib.figure'] = module; sys.modules['matplotlib.pyplot'] = pyplot";
    let cell = setup.python(code).await;
    assert_eq!(cell.displays.len(), 1, "{cell:?}");
    assert_eq!(cell.displays[0].get("image/png"), Some("iVBOR3BuZw=="));
    assert_eq!(setup.python("1").await.displays.len(), 0);
}

#[tokio::test]
async fn errors_have_name_value_and_traceback_and_the_context_lives_on() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let cell = setup.python("x = 1\ndef f():\n  raise ValueError('no')\nf()").await;
    assert_eq!(cell.raised(), ("ValueError", "no"));
    let traceback = cell.raised.expect("an error").traceback;
    assert!(
        traceback.len() > 3 && traceback.iter().any(|line| line.contains("line 3, in f")),
        "{traceback:?}"
    );
    assert_eq!(setup.python("def").await.raised().0, "SyntaxError");
    assert_eq!(setup.python("import sys; sys.exit(7)").await.raised(), ("SystemExit", "7"));
    assert_eq!(setup.python("x").await.text(), "1");
}

#[tokio::test]
async fn errors_of_javascript_and_bash_are_structured_too() {
    let setup = sandbox();
    if has(Language::JavaScript) {
        let cell = setup.run(Language::JavaScript, "null.x").await;
        assert_eq!(cell.raised().0, "TypeError");
        assert_eq!(setup.run(Language::JavaScript, "process.exit(3)").await.raised(), ("ProcessExit", "3"));
    }
    if has(Language::Bash) {
        assert_eq!(setup.run(Language::Bash, "(exit 3)").await.raised(), ("ExitStatus", "3"));
        assert_eq!(setup.run(Language::Bash, "exit 4").await.raised(), ("Exit", "4"));
    }
}

#[tokio::test]
async fn stdout_and_stderr_are_apart_whole_and_before_the_end() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let code = "import sys\nsys.stdout.write('a' * 1_000_000)\nsys.stderr.write('e' * 300_000)\n'end'";
    let cell = setup.python(code).await;
    assert_eq!((cell.out.len(), cell.err.len(), cell.text()), (1_000_000, 300_000, "'end'"));
}

#[tokio::test]
async fn output_comes_while_the_code_runs() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    // The code ends only after its output was seen.
    let code = "import os, time\nprint('waiting')\nwhile not os.path.exists('go'): time.sleep(0.001)";
    let mut events = setup.stream(RunCode::new(code)).await.unwrap();
    until_printed(&mut events, "waiting").await;
    std::fs::write(setup.folder.path().join("go"), "").expect("a file");
    assert_eq!(collect(events).await.count, 1);
}

#[tokio::test]
async fn a_display_comes_after_what_was_printed_before_it() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let mut events = setup.stream(RunCode::new("print('first')\ndisplay(2)\nNone")).await.unwrap();
    let mut order = Vec::new();
    while let Some(event) = events.next().await {
        order.push(match event.unwrap() {
            CodeEvent::Stdout(_) => "stdout",
            CodeEvent::Display(_) => "display",
            CodeEvent::Done { .. } => "done",
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(order, ["stdout", "display", "done"]);
}

#[tokio::test]
async fn what_a_thread_prints_between_cells_is_output_of_the_next() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let code = "import threading, os\ngo = threading.Event()\ndef late():\n  go.wait()\n  os.write(1, b'late\\n')\n  open('written', 'w').close()\n\
                threading.Thread(target=late).start()\nthreading.Timer(0.001, go.set).start()";
    let first = setup.python(code).await;
    let written = setup.folder.path().join("written");
    eventually("the thread has printed", || written.exists()).await;
    let second = setup.python("None").await;
    assert_eq!(first.out + &second.out, "late\n");
}

#[tokio::test]
async fn code_larger_than_a_pipe_runs() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let code = format!("len('{}')", "x".repeat(3_000_000));
    assert_eq!(setup.python(&code).await.text(), "3000000");
}

#[tokio::test]
async fn two_hundred_runs_are_counted_and_leave_nothing_open() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    setup.python("x = 0").await;
    for run in 2..=200 {
        let cell = setup.python("x += 1\nx").await;
        assert_eq!((cell.count, cell.text()), (run, (run - 1).to_string().as_str()));
    }
    assert_eq!(setup.alive(), 1);
}

#[test]
fn a_context_outlives_the_runtime_in_which_it_was_started() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    first.block_on(setup.python("x = 1"));
    // Once while the old one only stands still, once when it is gone.
    assert_eq!(runtime().block_on(setup.python("print('out')\nx")).text(), "1");
    drop(first);
    assert_eq!(runtime().block_on(setup.python("x + 1")).text(), "2");
}

#[tokio::test]
async fn bash_code_with_a_zero_byte_is_refused() {
    let setup = sandbox();
    let error = setup.stream(RunCode::new("echo \0").language(Language::Bash)).await.err().expect("an error");
    assert_eq!((error.kind(), error.failed_option()), (ErrorKind::BadRequest, Some("code")));
}
