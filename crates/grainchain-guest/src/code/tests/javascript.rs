use super::*;

fn javascript() -> Context {
    Context::start(Language::JavaScript)
}

#[test]
fn declarations_live_on_and_may_be_repeated() {
    let mut context = javascript();
    context.run("const a = 1; let b = 2; class C {}; function f() { return a + b }");
    assert_eq!(context.run("f()").text(), "3");
    assert_eq!(
        context.run("const a = 10; let b = 20; class C { x = 1 }; [f(), new C()]").text(),
        "[ 30, C { x: 1 } ]"
    );
    assert!(context.run("undefined").result.is_none());
}

#[test]
fn plain_data_is_also_json_and_other_objects_are_not() {
    let mut context = javascript();
    let bundle = context.run("({a: [1, 'é']})").result.expect("a result");
    assert_eq!(bundle.get("application/json").expect("json"), r#"{"a":[1,"é"]}"#);
    let bundle = context.run("({get a() { throw 1 }})").result.expect("a result");
    assert!(bundle.get("application/json").is_none());
}

#[test]
fn await_and_promises_give_their_value_or_their_error() {
    let mut context = javascript();
    assert_eq!(context.run("await new Promise(r => setTimeout(r, 1, 5))").text(), "5");
    assert_eq!(context.run("Promise.resolve(6)").text(), "6");
    assert_eq!(context.run("(async () => { throw new TypeError('q') })()").error(), ("TypeError", "q"));
}

#[test]
fn a_traceback_shows_the_cells_and_no_driver() {
    let cell = javascript().run("function f() { null.x }\nf()");
    assert_eq!(cell.error().0, "TypeError");
    assert!(cell.traceback().ends_with("at f (<cell-1>:1:21)\n    at <cell-1>:2:1"), "{}", cell.traceback());
}

#[test]
fn modules_come_from_the_folder_by_require_and_import() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("m.cjs"), "module.exports = 4").expect("a file");
    fs::write(folder.path().join("m.mjs"), "export const v = 5").expect("a file");
    let mut context = Context::start_in(Language::JavaScript, folder);
    assert_eq!(context.run("require('./m.cjs')").text(), "4");
    let code = "`${(await import('./m.mjs')).v} import(` + /import\\(/.source /* import( */";
    assert_eq!(context.run(code).text(), r"'5 import(import\\('");
}

#[test]
fn process_exit_is_an_error_of_the_cell() {
    let mut context = javascript();
    assert_eq!(context.run("process.exit(3)").error(), ("ProcessExit", "3"));
    assert_eq!(
        context.run("await new Promise(() => setTimeout(() => process.exit(4), 1))").error(),
        ("ProcessExit", "4")
    );
    assert_eq!(context.run("1").text(), "1");
}

#[test]
fn what_nobody_catches_goes_to_stderr() {
    let mut context = javascript();
    context.run("setTimeout(() => { throw new Error('late') }); Promise.reject(new Error('lost')); await new Promise(r => setTimeout(r, 20))");
    assert!(context.err().contains("Uncaught Error: late") && context.err().contains("Uncaught Error: lost"));
    assert_eq!(context.run("1").text(), "1");
}

#[test]
fn sigint_ends_loops_and_waits() {
    let mut context = javascript();
    context.run("let x = 5");
    for rest in ["while (true);", "await 0; while (true);", "await new Promise(() => {})"] {
        assert_eq!(
            context.interrupt(&format!("console.log('waiting'); {rest}")).error().0,
            "Interrupted",
            "{rest}"
        );
    }
    context.signal();
    // Node hears of a signal when it comes round to it: the next cell may be the one that ends, no later one is.
    context.run("0");
    assert_eq!(context.run("x").text(), "5");
}

#[test]
fn output_is_there_when_the_cell_is_done() {
    let mut context = javascript();
    context.run("console.log('a'.repeat(300000)); console.error('e')");
    assert_eq!((context.out().len(), context.err()), (300_001, "e\n".to_owned()));
}

#[test]
fn what_a_cell_replaces_breaks_its_own_world_and_not_the_driver() {
    for replaced in [
        "process.nextTick = () => { throw new Error('replaced'); }",
        "require('fs').writeSync = () => 0",
        "require('fs').writeSync = () => { throw new Error('replaced'); }",
        "process.listeners = process.on = process._tickCallback = null",
        "Buffer.from = Buffer.concat = Buffer.alloc = Object.keys = Object.defineProperty = null",
        "Buffer = setImmediate = String = Number = null",
    ] {
        let mut context = javascript();
        context.run(replaced);
        let cell = context.run("process.stdout.write('out', () => {}); await 3; ({ a: [1] })");
        assert_eq!(cell.text(), "{ a: [ 1 ] }", "{replaced}");
        assert_eq!((&*context.out(), &*context.err()), ("out", ""), "{replaced}");
        assert_eq!(context.run("throw new TypeError('x')").error(), ("TypeError", "x"), "{replaced}");
    }
}

#[test]
fn the_end_of_the_requests_is_the_end_of_the_driver() {
    let mut context = javascript();
    context.run("process.nextTick = () => {}; setInterval(() => {}, 1000).unref()");
    context.requests = None;
    assert!(context.frame().is_none());
    assert!(context.child.wait().expect("a child").success());
}
