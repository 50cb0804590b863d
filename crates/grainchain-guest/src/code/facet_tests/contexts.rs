use grainchain_core::Effect;

use super::*;

#[tokio::test]
async fn contexts_share_nothing_and_are_listed() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let (one, other) = (setup.create(Language::Python).await, setup.create(Language::Python).await);
    setup.request(RunCode::new("x = 1").context(&one)).await;
    assert_eq!(setup.request(RunCode::new("x").context(&other)).await.raised().0, "NameError");
    assert_eq!(setup.python("x").await.raised().0, "NameError");
    assert_eq!(setup.request(RunCode::new("x").context(&one)).await.text(), "1");
    let list = setup.guest.list_contexts().await.unwrap();
    let seen: Vec<_> = list.iter().map(|info| (info.id.as_str(), info.count)).collect();
    assert_eq!(seen, [(one.as_str(), 2), (other.as_str(), 1), ("default-python", 1)]);
    let root = std::fs::canonicalize(setup.folder.path()).unwrap();
    assert!(list.iter().all(|info| info.working_directory == root.to_str().unwrap()), "{list:?}");
}

#[tokio::test]
async fn a_context_has_its_own_folder_and_variables_on_top_of_the_sandboxs() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    std::fs::create_dir(setup.folder.path().join("sub")).unwrap();
    let request = CreateContext::new(Language::Python).working_directory("sub").env("LEVEL", "debug");
    let info = setup.guest.create_context(request).await.unwrap();
    assert!(info.working_directory.ends_with("/sub"), "{info:?}");
    let code = "import os; [os.path.basename(os.getcwd()), os.environ['LEVEL'], 'PATH' in os.environ]";
    let cell = setup.request(RunCode::new(code).context(&info.id)).await;
    assert_eq!(cell.text(), "['sub', 'debug', True]");
}

#[tokio::test]
async fn a_folder_that_is_not_there_or_outside_is_refused() {
    let setup = sandbox();
    for path in ["missing", "../.."] {
        let request = CreateContext::new(Language::Python).working_directory(path);
        let error = setup.guest.create_context(request).await.expect_err("no folder");
        assert_eq!(error.failed_option(), Some("working_directory"), "{error:?}");
    }
    assert_eq!(setup.guest.list_contexts().await.unwrap(), []);
}

#[tokio::test]
async fn unknown_contexts_and_other_languages_are_refused() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let unknown = ContextId::new("ctx_unknown");
    let error = setup.stream(RunCode::new("1").context(&unknown)).await.err().expect("an error");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(setup.guest.restart_context(&unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(setup.guest.delete_context(&unknown).await.unwrap_err().kind(), ErrorKind::NotFound);

    let id = setup.create(Language::Python).await;
    let error = setup.stream(RunCode::new("1").context(&id).language(Language::Bash)).await.err();
    let error = error.expect("another language");
    assert_eq!((error.kind(), error.failed_option()), (ErrorKind::BadRequest, Some("language")));
    assert_eq!(setup.request(RunCode::new("1").context(&id).language(Language::Python)).await.text(), "1");
}

#[tokio::test]
async fn a_restart_keeps_the_id_and_forgets_the_rest() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let id = setup.create(Language::Python).await;
    let before = setup.request(RunCode::new("import os; x = 1; os.getpid()").context(&id)).await;
    let info = setup.guest.restart_context(&id).await.unwrap();
    assert_eq!((&info.id, info.count), (&id, 0));
    let after = setup.request(RunCode::new("import os; os.getpid()").context(&id)).await;
    assert_ne!(before.text(), after.text());
    assert_eq!(after.count, 1);
    assert_eq!(setup.request(RunCode::new("x").context(&id)).await.raised().0, "NameError");
    assert_eq!(setup.alive(), 1, "the old one is gone");
}

#[tokio::test]
async fn a_restart_does_not_wait_for_code_that_runs_nor_for_who_reads_it() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let id = setup.create(Language::Python).await;
    let mut endless = setup.stream(RunCode::new("print('on')\nwhile True: pass").context(&id)).await.unwrap();
    until_printed(&mut endless, "on").await;
    // One more waits for its turn, and nobody polls the first meanwhile.
    let waiting = setup.stream(RunCode::new("'in the new one'").context(&id));
    let (waiting, restarted) = tokio::join!(waiting, setup.guest.restart_context(&id));
    restarted.unwrap();
    assert_eq!(collect(waiting.unwrap()).await.text(), "'in the new one'");
    let (kind, text) = collect(endless).await.failed();
    assert_eq!(kind, ErrorKind::Connection);
    assert!(text.contains("restarted or deleted"), "{text}");
}

#[tokio::test]
async fn a_deleted_context_is_gone_with_all_that_it_started() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let id = setup.create(Language::Python).await;
    let code = "import subprocess; p = subprocess.Popen(['sleep', '1000'], start_new_session=True)";
    setup.request(RunCode::new(code).context(&id)).await;
    assert_eq!(setup.alive(), 2);
    setup.guest.delete_context(&id).await.unwrap();
    assert_eq!(setup.alive(), 0);
    assert_eq!(setup.guest.list_contexts().await.unwrap(), []);
    let error = setup.stream(RunCode::new("1").context(&id)).await.err().expect("an error");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn who_waits_for_a_context_that_is_deleted_is_told() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let id = setup.create(Language::Python).await;
    let mut endless = setup.stream(RunCode::new("print('on')\nwhile True: pass").context(&id)).await.unwrap();
    until_printed(&mut endless, "on").await;
    let (waiting, deleted) =
        tokio::join!(setup.stream(RunCode::new("1").context(&id)), setup.guest.delete_context(&id));
    deleted.unwrap();
    assert_eq!(waiting.err().expect("an error").kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn runs_of_one_context_queue_in_order() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    setup.python("seen = []").await;
    let runs =
        (0..8).map(|number| setup.python(Box::leak(format!("seen.append({number})").into_boxed_str())));
    futures_util::future::join_all(runs).await;
    assert_eq!(setup.python("seen").await.text(), "[0, 1, 2, 3, 4, 5, 6, 7]");
}

#[tokio::test]
async fn different_contexts_run_at_the_same_time() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let (one, other) = (setup.create(Language::Python).await, setup.create(Language::Python).await);
    // Each waits for the other.
    let code = |mine: &str, theirs: &str| {
        format!(
            "import os, time\nopen('{mine}', 'w').close()\nwhile not os.path.exists('{theirs}'): time.sleep(0.001)"
        )
    };
    let (first, second) = tokio::join!(
        setup.request(RunCode::new(code("a", "b")).context(&one)),
        setup.request(RunCode::new(code("b", "a")).context(&other)),
    );
    assert_eq!((first.count, second.count), (1, 1));
}

#[tokio::test]
async fn a_timeout_that_passes_while_the_context_is_busy_says_that_nothing_ran() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let mut endless = setup.stream(RunCode::new("print('on')\nwhile True: pass")).await.unwrap();
    until_printed(&mut endless, "on").await;
    let request = RunCode::new("1").timeout(Duration::from_millis(20));
    let error = setup.stream(request).await.err().expect("an error");
    assert_eq!((error.kind(), error.what_happened()), (ErrorKind::Timeout, Effect::None));
    assert!(error.to_string().contains("busy"), "{error}");
}

#[tokio::test]
async fn a_missing_interpreter_is_named_with_the_path() {
    let empty = TempDir::new().unwrap();
    let setup = sandbox_with_path(empty.path().to_str().unwrap());
    for (language, names) in [
        (Language::Python, "neither python3 nor python"),
        (Language::JavaScript, "neither node nor nodejs"),
        (Language::Bash, "no program bash"),
    ] {
        let error = setup.stream(RunCode::new("1").language(language)).await.err().expect("an error");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let text = error.to_string();
        assert!(text.contains(names) && text.contains(empty.path().to_str().unwrap()), "{text}");
        let error = setup.guest.create_context(CreateContext::new(language)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    assert_eq!(setup.guest.list_contexts().await.unwrap(), []);
}

#[tokio::test]
async fn an_interpreter_that_does_not_start_says_why() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("python3");
    let setup = sandbox_with_path(&format!("{}:/usr/bin:/bin", folder.path().display()));
    for (script, how, reason) in [
        ("echo 'Unknown option: -X' >&2; exit 2", "exit code 2", "Unknown option: -X"),
        ("head -c 9000000 /dev/zero >&2; echo >&2; echo last >&2; kill -9 $$", "SIGKILL", "last"),
        ("echo hello >&4; exec sleep 1000", "unknown kind", ""),
    ] {
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = setup.stream(RunCode::new("1")).await.err().expect("an error");
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Unexpected, "{text}");
        assert!(text.contains(how) && text.contains(reason), "{text}");
        let kept = error.partial_output().expect("what it said").stderr.bytes().len();
        assert!(kept <= 16 * 1024, "{kept}");
        assert_eq!(setup.alive(), 0);
    }
}

#[tokio::test]
async fn nothing_runs_while_the_sandbox_is_frozen_and_all_goes_on_after_it() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    setup.python("x = 1").await;
    setup.guest.freeze().await.unwrap();
    let error = setup.stream(RunCode::new("1")).await.err().expect("an error");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = setup.guest.create_context(CreateContext::new(Language::Python)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    setup.guest.thaw().await.unwrap();
    assert_eq!(setup.python("x").await.text(), "1");
}

#[tokio::test]
async fn contexts_that_were_killed_with_the_sandbox_start_afresh() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    let id = setup.create(Language::Python).await;
    setup.request(RunCode::new("x = 1").context(&id)).await;
    setup.python("x = 1").await;
    setup.guest.kill_all().await.unwrap();
    for request in [RunCode::new("x"), RunCode::new("x").context(&id)] {
        let cell = setup.request(request).await;
        assert_eq!((cell.raised().0, cell.count), ("NameError", 1));
    }
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_leaves_nothing() {
    if !has(Language::Python) {
        return;
    }
    let setup = sandbox();
    for _ in 0..5 {
        let mut start = setup.guest.create_context(CreateContext::new(Language::Python));
        let mut nobody = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(start.as_mut().poll(&mut nobody).is_pending());
        assert_eq!(setup.alive(), 1);
        drop(start);
        assert_eq!(setup.alive(), 0);
    }
    assert_eq!(setup.guest.list_contexts().await.unwrap(), []);
}

#[tokio::test]
async fn what_an_interpreter_says_at_its_start_is_no_output_of_a_cell() {
    if !has(Language::Bash) {
        return;
    }
    let setup = sandbox();
    for _ in 0..10 {
        // A shell complains of a locale that is missing.
        let request = CreateContext::new(Language::Bash).env("LC_ALL", "xx_YY.UTF-8");
        let id = setup.guest.create_context(request).await.unwrap().id;
        let cell = setup.request(RunCode::new("echo $LC_ALL").language(Language::Bash).context(&id)).await;
        assert_eq!((&*cell.out, &*cell.err), ("xx_YY.UTF-8\n", ""));
    }
}
