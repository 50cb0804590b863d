use super::*;

fn python() -> Context {
    Context::start(Language::Python)
}

#[test]
fn variables_live_on_and_the_last_expression_is_the_result() {
    let mut context = python();
    assert!(context.run("x = 20").result.is_none());
    assert_eq!(context.run("y = 1\nx + y").text(), "21");
    assert_eq!(context.run("_ * 2").text(), "42");
    assert_eq!(context.run("None").count, 4);
}

#[test]
fn two_contexts_share_nothing() {
    let (mut one, mut other) = (python(), python());
    one.run("x = 1");
    assert_eq!(other.run("x").error(), ("NameError", "name 'x' is not defined"));
}

#[test]
fn output_is_there_when_the_cell_is_done() {
    let mut context = python();
    context.run("import sys; sys.stdout.write('a' * 300000); sys.stdout.buffer.write(b'\\xff'); sys.stderr.write('e')");
    assert_eq!(context.out().chars().count(), 300_001);
    assert_eq!(context.err(), "e");
}

#[test]
fn a_traceback_shows_the_lines_of_the_cells_and_no_driver() {
    let mut context = python();
    context.run("def f():\n    return 1 / 0");
    let cell = context.run("f()");
    assert_eq!(cell.error(), ("ZeroDivisionError", "division by zero"));
    assert!(
        cell.traceback().contains("File \"<cell 1>\", line 2, in f\n    return 1 / 0"),
        "{}",
        cell.traceback()
    );
    assert!(!cell.traceback().contains("driver"), "{}", cell.traceback());
}

#[test]
fn ends_of_the_interpreter_that_are_exceptions_are_reported_and_survived() {
    let mut context = python();
    assert_eq!(context.run("import sys; sys.exit(3)").error(), ("SystemExit", "3"));
    assert_eq!(context.run("exit()").error(), ("SystemExit", "0"));
    assert_eq!(context.run("input()").error().0, "EOFError");
    assert_eq!(context.run("def r(): r()\nr()").error().0, "RecursionError");
    assert_eq!(context.run("1 +").error().0, "SyntaxError");
    assert!(["ValueError", "SyntaxError"].contains(&context.run("a\0b").error().0));
    assert_eq!(context.run("2").text(), "2");
}

#[test]
fn a_crash_ends_the_stream_and_not_the_test() {
    let mut context = python();
    context.send("import os; os._exit(3)");
    assert!(context.answer().is_none());
}

#[test]
fn an_interrupt_ends_the_cell_and_keeps_the_variables() {
    let mut context = python();
    context.run("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); x = 5");
    let cell = context.interrupt("print('waiting')\nwhile True: pass");
    assert_eq!(cell.error().0, "KeyboardInterrupt");
    assert!(!cell.traceback().contains("on_sigint"), "{}", cell.traceback());
    assert_eq!(context.run("x").text(), "5");
}

#[test]
fn an_interrupt_between_cells_spares_the_driver_and_the_next_cell() {
    let mut context = python();
    for _ in 0..20 {
        context.run("1");
        context.signal();
        assert_eq!(context.run("sum(range(1000))").text(), "499500");
    }
}

#[test]
fn await_works_at_the_top_level_and_so_does_asyncio_run() {
    let mut context = python();
    context.run("import asyncio\nasync def f(): await asyncio.sleep(0); return 7");
    assert_eq!(context.run("await f()").text(), "7");
    assert_eq!(context.run("asyncio.run(f())").text(), "7");
    assert_eq!(context.run("x = await f()\nx + await f()").text(), "14");
}

#[test]
fn files_of_the_folder_are_imported_but_never_by_the_driver() {
    let folder = TempDir::new().expect("a folder");
    for name in ["traceback", "linecache", "asyncio", "re", "tokenize", "mine"] {
        fs::write(folder.path().join(format!("{name}.py")), "marker = 1").expect("a file");
    }
    let mut context = Context::start_in(Language::Python, folder);
    assert_eq!(context.run("import mine; mine.marker").text(), "1");
    assert!(context.run("1/0").traceback().contains("1/0"));
    assert_eq!(context.run("await __import__('asyncio').sleep(0, 4)").text(), "4");
}

#[test]
fn a_cell_that_replaces_the_builtins_breaks_only_its_own_world() {
    let mut context = python();
    context.run(
        "import builtins, os, sys\nbuiltins.len = builtins.repr = builtins.eval = print = os.write = None",
    );
    assert_eq!(context.run("1 + 1").text(), "2");
    assert_eq!(context.run("1 / 0").error().0, "ZeroDivisionError");
}

#[test]
fn lost_streams_do_not_lose_the_context() {
    let mut context = python();
    context.run("import sys, os; sys.stdout = None; print(1)");
    context.run("os.close(1); os.close(2)");
    assert_eq!(context.run("3").text(), "3");
}

#[test]
fn closing_the_channel_is_the_end_and_no_hang() {
    let mut context = python();
    context.send("import os; os.closerange(3, 65536)");
    assert!(context.answer().is_none());
}

#[test]
fn a_fork_never_answers_requests() {
    let mut context = python();
    let cell = context.run("import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\npid > 0");
    assert_eq!(cell.text(), "True");
    assert_eq!(context.run("os.getpid() != pid").text(), "True");
}

#[test]
fn values_become_bundles_of_their_rich_forms() {
    let mut context = python();
    context.run("class R:\n def _repr_html_(self): return '<b>'\n def _repr_png_(self): return b'\\x89P'\n def _repr_svg_(self): 1/0");
    let cell = context.run("display(R()); {'a': [1, None, 'é\\n\"']}");
    assert_eq!(cell.displays[0].get("text/html").expect("html"), "<b>");
    assert_eq!(cell.displays[0].get("image/png").expect("png"), &b"\x89P"[..]);
    let json = cell.result.expect("a result").get("application/json").expect("json").clone();
    assert_eq!(json, r#"{"a": [1, null, "é\n\""]}"#);
    assert!(context.run("[float('nan')]").result.expect("a result").get("application/json").is_none());
}

#[test]
fn a_repr_that_raises_or_is_huge_or_holds_a_lone_surrogate_is_still_a_result() {
    let mut context = python();
    let raising = context.run("class B:\n def __repr__(self): 1/0\nB()").text();
    assert_eq!(raising, "<B object, whose repr raised ZeroDivisionError>");
    assert!(context.run("'x' * 3000000").text().ends_with("[cut: 1048576 of 3000002 characters]"));
    assert_eq!(context.run("print('\\ud800'); chr(0xd800)").text(), "'\\ud800'");
    assert_eq!(context.out(), "\\ud800\n");
}

/// A context in whose folder lies what the driver needs of matplotlib.
fn with_figures() -> Context {
    let folder = TempDir::new().expect("a folder");
    let package = folder.path().join("matplotlib");
    fs::create_dir(&package).expect("a folder");
    fs::write(package.join("__init__.py"), "").expect("a file");
    fs::write(
        package.join("pyplot.py"),
        "open_figures = {}\nclass Figure:\n data = b'PNG'\n def savefig(self, f, **k): f.write(self.data)\n\
         def figure(n=1): return open_figures.setdefault(n, Figure())\n\
         def plot(data): figure(max(open_figures, default=1)).data += data\n\
         def get_fignums(): return list(open_figures)\n\
         def close(f): [open_figures.pop(n) for n in list(open_figures) if open_figures[n] is f]\n\
         def show(*, block=None): pass\n",
    )
    .expect("a file");
    Context::start_in(Language::Python, folder)
}

fn images(cell: &Cell) -> Vec<&[u8]> {
    cell.displays.iter().map(|bundle| &bundle.get("image/png").expect("png")[..]).collect()
}

#[test]
fn open_figures_are_shown_as_png_and_closed() {
    let mut context = with_figures();
    let cell = context.run("import matplotlib.pyplot as plt; f = plt.figure()");
    assert_eq!(images(&cell), [b"PNG"]);
    assert!(context.run("plt.get_fignums()").displays.is_empty());
    assert_eq!(context.run("import os; os.environ['MPLBACKEND']").text(), "'Agg'");
}

#[test]
fn each_show_shows_what_was_plotted_since_the_last() {
    let mut context = with_figures();
    let cell = context.run(
        "from matplotlib.pyplot import *\nplot(b'1'); show()\nplot(b'2'); figure(2); plot(b'3'); show(block=True)\nplot(b'4')",
    );
    assert_eq!(images(&cell), [b"PNG1", b"PNG2", b"PNG3", b"PNG4"]);
    assert!(context.run("show()").displays.is_empty());
}

#[test]
fn what_is_printed_without_a_newline_is_there_at_once() {
    let mut context = python();
    context.run("print('x', end='')");
    assert_eq!(context.out(), "x");
    context.send("import time\nprint('1%', end=' ')\nwhile True: time.sleep(0.01)");
    context.awaits_output("1% ");
    context.signal();
    assert_eq!(context.answer().expect("a living interpreter").error().0, "KeyboardInterrupt");
    context.run("import subprocess\nprint('before', end=''); subprocess.run(['echo', 'between']); print('after', end='')");
    assert_eq!(context.out(), "beforebetween\nafter");
    let cell = context.run("class B:\n def __str__(self): 1/0\nprint(B(), end='')");
    assert_eq!(cell.error().0, "ZeroDivisionError");
    assert!(!cell.traceback().contains("<string>"), "{}", cell.traceback());
}

#[test]
fn tasks_begin_before_an_await_and_go_on_in_later_cells_that_await() {
    let mut context = python();
    context.run("import asyncio\nasync def f():\n for n in range(4):\n  await asyncio.sleep(0); print(n)");
    let cell = context.run("t = asyncio.create_task(f()); await asyncio.sleep(0)");
    assert!(cell.error.is_none(), "{cell:?}");
    assert!(!context.out().contains('3'), "{}", context.out());
    context.run("await t");
    assert!(context.out().ends_with("3\n"), "{}", context.out());
}

#[test]
fn classes_of_a_cell_can_be_pickled_and_threads_may_print_later() {
    let mut context = python();
    assert_eq!(
        context.run("import pickle\nclass C: pass\ntype(pickle.loads(pickle.dumps(C()))) is C").text(),
        "True"
    );
    context.run("import threading; e = threading.Event()\nt = threading.Thread(target=lambda: (e.wait(), print('late')))\nt.start()");
    context.run("e.set(); t.join()");
    assert_eq!(context.out(), "late\n");
}
