use super::*;

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_timeout_interrupts_and_keeps_the_variables_in_every_language() {
    let setup = sandbox();
    for (language, set, endless, get) in [
        (Language::Python, "x = 5", "print('on')\nwhile True: pass", "print(x)"),
        (Language::JavaScript, "let x = 5", "console.log('on'); while (true);", "console.log(x)"),
        (Language::Bash, "x=5", "echo on; sleep 1000", "echo $x"),
    ] {
        if !has(language) {
            continue;
        }
        setup.run(language, set).await;
        let cell = setup.request(RunCode::new(endless).language(language).timeout(SHORT)).await;
        let (kind, text) = cell.failed();
        assert_eq!((kind, cell.out.as_str()), (ErrorKind::Timeout, "on\n"), "{text}");
        assert!(text.contains("300ms") && text.contains("keeps its variables"), "{text}");
        assert!(cell.raised.is_some(), "where it was interrupted: {cell:?}");
        assert_eq!(setup.run(language, get).await.out, "5\n", "{language}");
    }
}

#[tokio::test]
async fn code_that_ignores_the_interrupt_is_killed_with_all_that_it_started() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let id = setup.create(Language::Python).await;
    setup.request(RunCode::new("x = 5").context(&id)).await;
    let code = "import signal, subprocess\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n\
                p = subprocess.Popen(['sleep', '1000'], start_new_session=True)\nprint('on')\nwhile True: pass";
    let cell = setup.request(RunCode::new(code).context(&id).timeout(SHORT)).await;
    let (kind, text) = cell.failed();
    assert_eq!((kind, cell.out.as_str()), (ErrorKind::Timeout, "on\n"));
    assert!(text.contains("has not stopped yet") && text.contains("are lost"), "{text}");
    let cell = setup.request(RunCode::new("x").context(&id)).await;
    assert_eq!((cell.raised().0, cell.count), ("NameError", 1));
    assert_eq!(setup.alive(), 1, "the new interpreter alone");
}

#[tokio::test]
async fn code_that_swallows_the_interrupt_and_ends_is_a_timeout_too() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let code = "x = 1\ntry:\n  while True: pass\nexcept KeyboardInterrupt: pass";
    let (kind, text) = setup.request(RunCode::new(code).timeout(SHORT)).await.failed();
    assert_eq!(kind, ErrorKind::Timeout);
    assert!(text.contains("keeps its variables"), "{text}");
    assert_eq!(setup.python("x").await.text(), "1");
}

#[tokio::test]
async fn endless_printing_under_a_timeout_stays_bounded_and_ends() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let code = "x = 1\nwhile True: print('y' * 1000)";
    let mut events = setup.stream(RunCode::new(code).timeout(SHORT)).await.unwrap();
    let mut total = 0;
    let failed = loop {
        match events.next().await.expect("an error at the end") {
            Ok(CodeEvent::Stdout(bytes)) => {
                assert!(bytes.len() <= 1 << 20, "{}", bytes.len());
                total += bytes.len();
            }
            Ok(CodeEvent::Raised(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(failed.kind(), ErrorKind::Timeout);
    assert!(total > 0);
    assert_eq!(setup.python("x").await.text(), "1");
}

#[tokio::test]
async fn a_slow_reader_slows_the_code() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let code = "import os\nwritten = 0\nprint('on')\nfor _ in range(100):\n  written += os.write(1, b'y' * 65536)\n  open('written', 'w').write(str(written))\nwritten";
    let mut events = setup.stream(RunCode::new(code)).await.unwrap();
    until_printed(&mut events, "on").await;
    let pid = setup.guest.pids().unwrap()[0];
    let written = || std::fs::read_to_string(setup.folder.path().join("written")).unwrap_or_default();
    eventually("the pipe is full", || !written().is_empty()).await;
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    eventually("it waits for room in the pipe", || stat().contains(") S ")).await;
    assert_eq!(written(), "65536");
    let cell = collect(events).await;
    assert_eq!(cell.text(), (100 * 65536).to_string());
}

#[tokio::test]
async fn the_end_of_an_interpreter_is_told_with_its_status_and_its_last_words() {
    let setup = sandbox();
    for (language, code, how) in [
        (Language::Python, "import os\nprint('last', flush=True)\nos._exit(3)", "exit code 3"),
        (Language::Python, "import os\nprint('last', flush=True)\nos.kill(os.getpid(), 9)", "SIGKILL"),
        (Language::JavaScript, "console.log('last'); process.kill(process.pid, 'SIGKILL')", "SIGKILL"),
        (Language::Bash, "echo last; exec sh -c 'exit 3'", "exit code 3"),
    ] {
        if !has(language) {
            continue;
        }
        let cell = setup.run(language, code).await;
        let (kind, text) = cell.failed();
        assert_eq!((kind, cell.out.as_str()), (ErrorKind::Connection, "last\n"), "{text}");
        assert!(text.contains(how) && text.contains("starts afresh"), "{text}");
        assert_eq!(setup.run(language, "").await.count, 1, "a fresh one");
        setup.guest.kill_all().await.unwrap();
    }
}

#[tokio::test]
async fn a_program_that_replaces_the_interpreter_is_killed() {
    if !has(Language::Bash) {
        return;
    }
    let setup = sandbox();
    let (kind, text) = setup.run(Language::Bash, "exec sleep 1000").await.failed();
    assert_eq!(kind, ErrorKind::Connection);
    assert!(text.contains("closed its channel"), "{text}");
    assert_eq!(setup.alive(), 0);
    assert_eq!(setup.run(Language::Bash, "echo $((1+1))").await.out, "2\n");
}

#[tokio::test]
async fn a_dropped_run_is_interrupted_and_the_next_finds_the_variables() {
    let setup = sandbox();
    for (language, set, endless, get) in [
        (Language::Python, "x = 5", "print('on')\nwhile True: print('more')", "print(x)"),
        (Language::JavaScript, "let x = 5", "console.log('on'); while (true);", "console.log(x)"),
        (Language::Bash, "x=5", "echo on; while :; do echo more; done", "echo $x"),
    ] {
        if !has(language) {
            continue;
        }
        setup.run(language, set).await;
        for _ in 0..3 {
            let mut events = setup.stream(RunCode::new(endless).language(language)).await.unwrap();
            until_printed(&mut events, "on").await;
            drop(events);
            let cell = setup.run(language, get).await;
            assert_eq!(cell.out, "5\n", "{language}: {cell:?}");
        }
    }
}

#[tokio::test]
async fn a_dropped_run_that_ignores_the_interrupt_is_killed() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let code =
        "import signal\nx = 1\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('on')\nwhile True: pass";
    let mut events = setup.stream(RunCode::new(code)).await.unwrap();
    until_printed(&mut events, "on").await;
    drop(events);
    assert_eq!(setup.python("x").await.raised().0, "NameError");
    assert_eq!(setup.alive(), 1);
}

#[test]
fn a_run_dropped_with_its_runtime_is_interrupted_as_well() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let events = first.block_on(async {
        let mut events = setup.stream(RunCode::new("x = 1\nprint('on')\nwhile True: pass")).await.unwrap();
        until_printed(&mut events, "on").await;
        events
    });
    drop(first);
    drop(events);
    assert_eq!(runtime().block_on(setup.python("x")).text(), "1");
}

#[tokio::test]
async fn a_run_dropped_before_its_request_was_sent_whole_leaves_nothing() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    setup.python("x = 1").await;
    let pid = setup.guest.pids().unwrap()[0] as i32;
    // Stopped, it takes what fits into the pipe and no more.
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let request = RunCode::new(format!("'{}'", "x".repeat(1_000_000)));
    drop(setup.stream(request).await.unwrap());
    assert_eq!(setup.python("x").await.raised().0, "NameError");
    assert_eq!(setup.alive(), 1);
}

#[tokio::test]
async fn a_sandbox_that_is_killed_ends_the_run() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let mut events = setup.stream(RunCode::new("print('on')\nwhile True: pass")).await.unwrap();
    until_printed(&mut events, "on").await;
    setup.guest.kill_all().await.unwrap();
    let (kind, text) = collect(events).await.failed();
    assert_eq!(kind, ErrorKind::Connection);
    assert!(text.contains("SIGKILL"), "{text}");
}

#[tokio::test]
async fn a_timeout_while_the_sandbox_is_frozen_still_ends_the_run() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let mut events =
        setup.stream(RunCode::new("print('on')\nwhile True: pass").timeout(SHORT)).await.unwrap();
    until_printed(&mut events, "on").await;
    setup.guest.freeze().await.unwrap();
    assert_eq!(collect(events).await.failed().0, ErrorKind::Timeout);
    setup.guest.thaw().await.unwrap();
    assert_eq!(setup.python("1").await.text(), "1");
}

#[tokio::test]
async fn an_interpreter_goes_when_its_guest_is_dropped() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let owner = Guest::new(setup.guest.shared.config.clone()).unwrap();
    collect(owner.run_code(RunCode::new("1")).await.unwrap()).await;
    assert_eq!(setup.alive(), 1);
    drop(owner);
    eventually("it ends by itself", || setup.alive() == 0).await;
}
