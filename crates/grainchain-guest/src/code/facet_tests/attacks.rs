use super::*;

/// Finds the descriptor of the response pipe inside of a cell.
const CHANNEL: &str =
    "import os\ndef channel():\n  top = min(os.sysconf('SC_OPEN_MAX'), 1024)\n  return top - 1\n";

#[tokio::test]
async fn forged_frames_of_another_run_are_dropped() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let code = format!(
        "{CHANNEL}payload = b'execution_count 1\\n7'\n\
         os.write(channel(), b'done 0123456789abcdef %d\\n%s' % (len(payload), payload))\n'mine'"
    );
    let cell = setup.python(&code).await;
    assert_eq!((cell.text(), cell.count), ("'mine'", 1));
}

#[tokio::test]
async fn nonsense_on_the_channel_ends_the_context_and_says_so() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    for forged in [
        "b'hello\\n'",
        "b'x' * 300",
        "b'display 0123456789abcdef 99999999999\\n'",
        "b'ready 0000000000000000 0\\n'",
        "b'done 0123456789abcdef 3\\nabc'",
    ] {
        let code = format!("{CHANNEL}x = 1\nos.write(channel(), {forged})\nwhile True: pass");
        let (kind, text) = setup.python(&code).await.failed();
        assert_eq!(kind, ErrorKind::Connection, "{forged}: {text}");
        assert!(text.contains("the interpreter") && text.contains("killed"), "{text}");
        assert_eq!(setup.alive(), 0);
    }
    assert_eq!(setup.python("x").await.raised().0, "NameError");
}

#[tokio::test]
async fn a_forged_end_breaks_only_the_forgers_own_context() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let other = setup.create(Language::Python).await;
    // The running cell's own nonce lies in the driver's memory, where the cell can find it.
    let code = format!(
        "{CHANNEL}import sys\n\
         def nonce():\n  frame = sys._getframe()\n  while frame:\n    if isinstance(frame.f_locals.get('current'), bytes): return frame.f_locals['current']\n    frame = frame.f_back\n\
         found = nonce()\n\
         payload = b'execution_count 2\\n99'\n\
         os.write(channel(), b'done %s %d\\n%s' % (found, len(payload), payload))\n\
         import time; time.sleep(0.05); print('afterwards')"
    );
    let cell = setup.python(&code).await;
    assert_eq!(cell.count, 1, "counted on this side");
    assert!(cell.failed.is_none(), "{cell:?}");
    // The rest of the first run is still to come; then the second has its turn.
    assert_eq!(setup.python("2 + 2").await.text(), "4");
    assert_eq!(setup.request(RunCode::new("1").context(&other)).await.text(), "1");
}

#[tokio::test]
async fn a_closed_channel_is_an_end_and_no_hang() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    for code in
        ["os.close(channel())\nwhile True: pass", "os.closerange(3, 5000)\n1", "os.closerange(0, 5000)"]
    {
        let cell = setup.python(&format!("{CHANNEL}{code}")).await;
        assert_eq!(cell.failed().0, ErrorKind::Connection, "{code}");
        assert_eq!(setup.python("1").await.count, 1);
        setup.guest.kill_all().await.unwrap();
    }
}

#[tokio::test]
async fn code_that_closes_its_output_streams_still_gives_values() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let cell = setup.python("import os\nprint('last', flush=True)\nos.close(1); os.close(2)\n5").await;
    assert_eq!((cell.out.as_str(), cell.text()), ("last\n", "5"));
    assert_eq!(setup.python("6").await.text(), "6");
}

#[tokio::test]
async fn code_that_closes_its_stream_objects_still_gives_values() {
    if !has(Language::Python) {
        return;
    }
    for code in ["import sys\nsys.stdout.close()\n5", "import sys\nsys.stderr.close()\n5"] {
        let setup = sandbox();
        assert_eq!(setup.python(code).await.text(), "5", "{code}");
        assert_eq!(setup.python("6").await.text(), "6", "{code}");
    }
}

#[tokio::test]
async fn a_child_that_was_forked_in_a_cell_holds_nothing_up() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let code =
        "import os, time\npid = os.fork()\nif pid == 0:\n  while True: os.write(1, b'child ')\npid > 0";
    let cell = setup.python(code).await;
    assert_eq!(cell.text(), "True");
    assert_eq!(setup.python("1 + 1").await.text(), "2");
    // It holds copies of all pipes, and writes without end, while its parent ends.
    let (kind, text) = setup.python("os._exit(9)").await.failed();
    assert_eq!(kind, ErrorKind::Connection);
    assert!(text.contains("exit code 9"), "{text}");
    assert_eq!(setup.alive(), 0);
    assert_eq!(setup.python("3").await.text(), "3");
}

#[tokio::test]
async fn a_child_that_comes_back_from_a_fork_answers_nothing() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    assert_eq!(setup.python("import os\npid = os.fork()\n'once'").await.text(), "'once'");
    assert_eq!(setup.python("os.waitpid(pid, 0)[1]").await.text(), "0");
}

#[tokio::test]
async fn a_thread_that_prints_without_end_between_cells_blocks_nothing() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let code = "import threading, os\ndef chatter():\n  while True: os.write(1, b'z' * 1000)\nthreading.Thread(target=chatter, daemon=True).start()";
    setup.python(code).await;
    for number in 0..20 {
        assert_eq!(setup.python(&number.to_string()).await.text(), number.to_string());
    }
}

#[tokio::test]
async fn too_many_displays_interrupt_the_code_and_keep_the_variables() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    for endless in ["while True: display(1)", "big = 'x' * 1_000_000\nwhile True: display(big)"] {
        let cell = setup.python(&format!("x = 1\n{endless}")).await;
        let (kind, text) = cell.failed();
        assert_eq!(kind, ErrorKind::Exhausted, "{text}");
        assert!(text.contains("keeps its variables"), "{text}");
        assert!(cell.displays.len() <= 10_000);
        assert_eq!(setup.python("x").await.text(), "1");
    }
}

#[tokio::test]
async fn a_flood_of_frames_of_no_run_does_not_hold_a_timeout_up() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let code = format!(
        "{CHANNEL}import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n\
         flood = b'display 0123456789abcdef 15\\ntext/plain 1\\nyx'[:-1] * 2000\n\
         while True: os.write(channel(), flood)"
    );
    let cell = setup.request(RunCode::new(code).timeout(Duration::from_millis(200))).await;
    let (kind, text) = cell.failed();
    assert!(matches!(kind, ErrorKind::Timeout | ErrorKind::Connection), "{text}");
    assert_eq!(cell.displays, []);
    assert_eq!(setup.python("1").await.text(), "1");
    assert_eq!(setup.alive(), 1, "the new interpreter alone");
}
