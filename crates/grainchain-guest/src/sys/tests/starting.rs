use std::{
    fs,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{ffi::OsStringExt, fs::PermissionsExt},
    },
    process,
};

use rustix::fs::{CWD, Mode, OFlags};

use super::*;
use crate::sys::spawn::Step;

fn script(folder: &tempfile::TempDir, name: &str, mode: u32, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().into()
}

fn folder_fd(path: &std::path::Path) -> OwnedFd {
    rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .unwrap()
}

fn errno(error: &SpawnError) -> Option<i32> {
    error.source.raw_os_error()
}

#[test]
fn a_missing_program_is_not_found() {
    for name in ["no-such-program-here", "/no/such/program", "/dev/null/x"] {
        let error = program(&[name]).try_start().unwrap_err();
        assert!(error.is_not_found() || errno(&error) == Some(libc::ENOTDIR), "{error:?}");
        assert_eq!(error.step, Step::Program);
        assert!(error.to_string().contains(name), "{error}");
    }
    assert!(program(&[""]).try_start().unwrap_err().is_not_found());
}

#[test]
fn a_file_that_is_not_executable_is_denied_and_not_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = script(&folder, "tool", 0o644, "#!/bin/sh\n");
    let error = program(&[&path]).try_start().unwrap_err();
    assert_eq!((error.step, errno(&error)), (Step::Program, Some(libc::EACCES)));

    let mut searched = program(&["tool"]);
    searched.environment = vec![("PATH".into(), format!("/nowhere:{}", folder.path().display()).into())];
    let error = searched.try_start().unwrap_err();
    assert_eq!((error.step, errno(&error)), (Step::Program, Some(libc::EACCES)));
}

#[test]
fn the_search_goes_on_after_a_file_that_is_not_executable() {
    let closed = tempfile::tempdir().unwrap();
    let open = tempfile::tempdir().unwrap();
    script(&closed, "tool", 0o644, "#!/bin/sh\n");
    script(&open, "tool", 0o755, "#!/bin/sh\nexit 9\n");
    let mut searched = program(&["tool"]);
    let path = format!("{}:{}", closed.path().display(), open.path().display());
    searched.environment = vec![("PATH".into(), path.into())];
    assert_eq!(wait(&mut searched.start()), WaitStatus::Exited(9));
}

#[test]
fn a_missing_interpreter_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = script(&folder, "tool", 0o755, "#! /no/such/interpreter -x\n");
    let error = program(&[&path]).try_start().unwrap_err();
    assert_eq!((error.step, errno(&error)), (Step::Interpreter, Some(libc::ENOENT)));
    assert!(!error.is_not_found());
    assert!(error.to_string().contains("/no/such/interpreter\""), "{error}");
}

#[test]
fn the_interpreter_of_a_script_with_windows_line_ends_is_shown_as_the_kernel_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = script(&folder, "tool", 0o755, "#!/bin/sh\r\n");
    let error = program(&[&path]).try_start().unwrap_err();
    assert_eq!(error.step, Step::Interpreter);
    assert!(
        error.to_string().contains("/bin/sh\\r") || error.to_string().contains("/bin/sh\\\\r"),
        "{error}"
    );
}

#[test]
fn a_text_without_a_first_line_is_refused_and_not_given_to_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    let path = script(&folder, "tool", 0o755, "exit 3\n");
    let error = program(&[&path]).try_start().unwrap_err();
    assert_eq!((error.step, errno(&error)), (Step::Program, Some(libc::ENOEXEC)));
}

#[test]
fn path_comes_from_the_childs_environment() {
    let mut nowhere = program(&["sh", "-c", "exit 4"]);
    nowhere.environment = vec![("PATH".into(), "/nowhere".into())];
    assert!(nowhere.try_start().unwrap_err().is_not_found());
    nowhere.environment.clear();
    assert_eq!(wait(&mut nowhere.start()), WaitStatus::Exited(4));
}

#[test]
fn a_relative_program_is_sought_in_the_childs_folder() {
    let folder = tempfile::tempdir().unwrap();
    script(&folder, "tool", 0o755, "#!/bin/sh\nexit 5\n");
    let (setup, null, cwd) = (program(&["./tool"]), null(), folder_fd(folder.path()));
    let mut spawn = setup.with([null.as_fd(); 3]);
    spawn.working_directory = Some(cwd.as_fd());
    assert_eq!(wait(&mut spawn.start().unwrap()), WaitStatus::Exited(5));
}

#[test]
fn the_working_directory_is_the_one_that_was_opened_even_if_its_name_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (folder.path().join("before"), folder.path().join("after"));
    fs::create_dir(&before).unwrap();
    let cwd = folder_fd(&before);
    fs::rename(&before, &after).unwrap();
    std::os::unix::fs::symlink("/etc", &before).unwrap();
    let setup = shell("touch here");
    let null = null();
    let mut spawn = setup.with([null.as_fd(); 3]);
    spawn.working_directory = Some(cwd.as_fd());
    assert_eq!(wait(&mut spawn.start().unwrap()), WaitStatus::Exited(0));
    assert!(after.join("here").exists());
}

#[test]
fn a_removed_working_directory_still_starts_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let cwd = folder_fd(folder.path());
    fs::remove_dir(folder.path()).unwrap();
    let (setup, null) = (program(&["/bin/true"]), null());
    let mut spawn = setup.with([null.as_fd(); 3]);
    spawn.working_directory = Some(cwd.as_fd());
    assert_eq!(wait(&mut spawn.start().unwrap()), WaitStatus::Exited(0));
}

#[test]
fn a_working_directory_that_is_a_file_is_an_error_of_that_step() {
    let (setup, null) = (program(&["/bin/true"]), null());
    let mut spawn = setup.with([null.as_fd(); 3]);
    spawn.working_directory = Some(null.as_fd());
    let error = spawn.start().unwrap_err();
    assert_eq!((error.step, errno(&error)), (Step::WorkingDirectory, Some(libc::ENOTDIR)));
}

#[test]
fn every_byte_but_zero_goes_through_environment_and_arguments() {
    let odd: Vec<u8> = (1..=255).collect();
    let mut setup = program(&["/bin/cat", "/proc/self/environ", "/proc/self/cmdline"]);
    setup.environment = vec![("ODD".into(), OsString::from_vec(odd.clone())), ("EMPTY".into(), "".into())];
    setup.arguments.push(OsString::from_vec(b"--".to_vec()));
    setup.arguments.push("/dev/null".into());
    let output = setup.output().1;
    let expected = [b"ODD=".as_slice(), &odd, b"\0EMPTY=\0/bin/cat\0/proc/self/environ\0"].concat();
    assert!(output.starts_with(&expected), "{}", String::from_utf8_lossy(&output));
}

#[test]
fn a_zero_byte_is_refused_with_its_place() {
    let mut setup = shell("true");
    setup.arguments.push("a\0b".into());
    assert!(setup.try_start().unwrap_err().to_string().contains("an argument contains a zero byte"));
    let mut setup = shell("true");
    setup.environment.push(("NAME".into(), "a\0b".into()));
    assert!(setup.try_start().unwrap_err().to_string().contains("NAME"));
}

#[test]
fn too_long_arguments_are_an_error_of_exec() {
    let mut setup = program(&["/bin/true"]);
    setup.arguments.push("x".repeat(1 << 20).into());
    let error = setup.try_start().unwrap_err();
    assert_eq!((error.step, errno(&error)), (Step::Program, Some(libc::E2BIG)));
}

#[test]
fn argument_zero_can_differ_from_the_program() {
    let setup = program(&["/bin/sh", "-c", "tr '\\0' ' ' </proc/$$/cmdline"]);
    let (read, write) = rustix::pipe::pipe().unwrap();
    let null = null();
    let mut spawn = setup.with([null.as_fd(), write.as_fd(), null.as_fd()]);
    spawn.argument_zero = Some("-sh".as_ref());
    let mut child = spawn.start().unwrap();
    drop(write);
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    wait(&mut child);
    assert!(text.starts_with("-sh -c"), "{text}");
}

#[test]
fn no_descriptor_of_ours_reaches_the_child() {
    // As careless libraries leave them: without the flag that closes them on exec.
    let leaks: Vec<_> = (0..20).map(|_| rustix::io::dup(null()).unwrap()).collect();
    let text = shell("ls /proc/$$/fd").text();
    drop(leaks);
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2"]);
}

#[test]
fn a_channel_arrives_as_descriptors_3_and_4_and_nothing_else_does() {
    let leaks: Vec<_> = (0..20).map(|_| rustix::io::dup(null()).unwrap()).collect();
    let (request, mut ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let (answer, response) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let (null, setup) = (null(), shell("read word <&3; exec >&4; echo $word; ls /proc/$$/fd"));
    let mut spawn = setup.with([null.as_fd(); 3]);
    spawn.channel = Some([request.as_fd(), response.as_fd()]);
    let mut child = spawn.start().unwrap();
    drop((leaks, request, response));
    rustix::io::write(&mut ours, b"hello\n").unwrap();
    let mut text = String::new();
    File::from(answer).read_to_string(&mut text).unwrap();
    wait(&mut child);
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["hello", "0", "1", "2", "3", "4"]);
}

#[test]
fn a_channel_whose_descriptors_lie_crossed_or_on_each_others_numbers_arrives() {
    // In a process of its own, because it needs certain numbers.
    if std::env::var_os("GRAINCHAIN_TEST_CHANNEL").is_some() {
        let keep = |fd: OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 100).unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let (high_read, high_write) = (keep(read), keep(write));
        let (high_cwd, high_null) = (keep(folder_fd("/usr".as_ref())), keep(null()));
        let mut good = true;
        // The folder, both ends of a pipe, and which of the two goes where.
        for [folder, reading, writing] in [[3, 4, 5], [4, 3, 1], [5, 4, 3], [0, 1, 4], [3, 0, 1], [9, 3, 4]] {
            let place = |fd: &OwnedFd, number: i32| {
                #[expect(unsafe_code, reason = "placing descriptors on certain numbers on purpose")]
                // SAFETY: whatever was there is not used by this process, whose only thread at work is this one.
                unsafe {
                    assert_eq!(libc::dup2(fd.as_raw_fd(), number), number);
                    BorrowedFd::borrow_raw(number)
                }
            };
            let (folder, reading, writing) =
                (place(&high_cwd, folder), place(&high_read, reading), place(&high_write, writing));
            let setup = shell("read word <&3; echo $word $(pwd) >&4");
            let mut spawn = setup.with([high_null.as_fd(); 3]);
            spawn.working_directory = Some(folder);
            spawn.channel = Some([reading, writing]);
            rustix::io::write(&high_write, b"hello\n").unwrap();
            good &= wait(&mut spawn.start().unwrap()) == WaitStatus::Exited(0);
            let mut text = [0; 64];
            let length = rustix::io::read(&high_read, &mut text).unwrap();
            good &= &text[..length] == b"hello /usr\n";
        }
        process::exit(if good { 42 } else { 1 });
    }
    let name = "a_channel_whose_descriptors_lie_crossed_or_on_each_others_numbers_arrives";
    let own = std::env::current_exe().unwrap();
    let mut setup = program(&[own.to_str().unwrap(), name, "--nocapture", "--test-threads=1"]);
    setup.environment.push(("GRAINCHAIN_TEST_CHANNEL".into(), "1".into()));
    assert_eq!(wait(&mut setup.start()), WaitStatus::Exited(42));
}

#[test]
fn standard_descriptors_may_be_crossed_and_equal() {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let null = null();
    let setup = shell("echo out; echo err >&2");
    let mut child = setup.with([null.as_fd(), write.as_fd(), write.as_fd()]).start().unwrap();
    drop(write);
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    wait(&mut child);
    assert_eq!(text, "out\nerr\n");
}

#[test]
fn a_process_whose_own_standard_descriptors_are_closed_or_swapped_can_start_children() {
    // In a process of its own, because it closes 0, 1 and 2: the pipe then gets these very numbers.
    if std::env::var_os("GRAINCHAIN_TEST_SWAPPED").is_some() {
        #[expect(unsafe_code, reason = "closing the standard descriptors on purpose")]
        // SAFETY: this process does nothing afterwards that expects them open.
        unsafe {
            for fd in 0..3 {
                libc::close(fd);
            }
        }
        let (read, write) = rustix::pipe::pipe().unwrap();
        let cwd = folder_fd("/usr".as_ref());
        assert_eq!([read.as_raw_fd(), write.as_raw_fd(), cwd.as_raw_fd()], [0, 1, 2]);
        let setup = shell("echo error >&2; echo $(pwd)");
        let mut spawn = setup.with([read.as_fd(), write.as_fd(), write.as_fd()]);
        spawn.working_directory = Some(cwd.as_fd());
        let mut child = spawn.start().unwrap();
        drop(write);
        let mut text = String::new();
        File::from(read).read_to_string(&mut text).unwrap();
        let good = text == "error\n/usr\n" && wait(&mut child) == WaitStatus::Exited(0);
        process::exit(if good { 42 } else { 1 });
    }
    let name = "a_process_whose_own_standard_descriptors_are_closed_or_swapped_can_start_children";
    let own = std::env::current_exe().unwrap();
    let mut setup = program(&[own.to_str().unwrap(), name, "--nocapture"]);
    setup.environment.push(("GRAINCHAIN_TEST_SWAPPED".into(), "1".into()));
    assert_eq!(wait(&mut setup.start()), WaitStatus::Exited(42));
}

#[test]
fn signals_are_unblocked_and_at_their_defaults() {
    // The test runner ignores SIGPIPE, as every Rust program does. The rest is set here, for this process
    // and this thread; nothing else in these tests depends on it.
    #[expect(unsafe_code, reason = "signal settings")]
    // SAFETY: no handler, only dispositions and this thread's mask.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGUSR1, libc::SIG_IGN);
        let mut set = std::mem::zeroed();
        libc::sigfillset(&mut set);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
    let text = program(&["/bin/cat", "/proc/self/status"]).text();
    for field in ["SigBlk:", "SigIgn:", "SigCgt:"] {
        let line = text.lines().find(|line| line.starts_with(field)).unwrap();
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
    let own = fs::read_to_string("/proc/thread-self/status").unwrap();
    let blocked = own.lines().find(|line| line.starts_with("SigBlk:")).unwrap();
    assert!(!blocked.ends_with("\t0000000000000000"), "our own mask was restored: {blocked}");
}

#[test]
fn the_child_leads_a_session_and_a_group_of_its_own() {
    let (mut child, mut output) = shell("cat /proc/$$/stat").start_talking();
    let mut line = String::new();
    output.read_to_string(&mut line).unwrap();
    wait(&mut child);
    let fields: Vec<_> = line.rsplit(')').next().unwrap().split_whitespace().collect();
    let pid = child.pid().to_string();
    assert_eq!((fields[2], fields[3], fields[4]), (pid.as_str(), pid.as_str(), "0"), "{line}");
}

#[test]
fn the_umask_is_set_when_asked_for() {
    let (setup, null) = (shell("test $(umask) = 0037"), null());
    let mut spawn = setup.with([null.as_fd(); 3]);
    spawn.umask = Some(0o037);
    assert_eq!(wait(&mut spawn.start().unwrap()), WaitStatus::Exited(0));
}

#[test]
fn the_oom_score_is_set_when_asked_for() {
    let (setup, null) = (shell("test $(cat /proc/self/oom_score_adj) = 321"), null());
    let mut spawn = setup.with([null.as_fd(); 3]);
    spawn.oom_score_adj = Some(321);
    assert_eq!(wait(&mut spawn.start().unwrap()), WaitStatus::Exited(0));
    spawn.oom_score_adj = Some(2000);
    assert_eq!(spawn.start().unwrap_err().step, Step::OomScore);
}

#[test]
fn the_user_changes_completely_or_the_start_fails() {
    let mut setup = shell("grep -E '^(Uid|Gid|Groups|CapEff)' /proc/self/status");
    setup.user = Some(Account { uid: 1234, gid: 2345, groups: vec![7, 8] });
    if !rustix::process::geteuid().is_root() {
        assert_eq!(setup.try_start().unwrap_err().step, Step::Groups);
        return;
    }
    let text = setup.text();
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    assert_eq!(lines[..3], ["Uid:\t1234\t1234\t1234\t1234", "Gid:\t2345\t2345\t2345\t2345", "Groups:\t7 8"]);
    assert!(lines[3].ends_with("\t0000000000000000"), "{text}");
}

#[test]
fn a_change_of_user_leaves_our_own_process_as_it_was() {
    let before = rustix::process::dumpable_behavior().unwrap();
    // Without privileges no change is possible, and then nothing may change either.
    wait(&mut shell("true").unprivileged().start());
    assert_eq!(rustix::process::dumpable_behavior().unwrap(), before);
}

#[test]
fn a_failed_start_leaves_no_child() {
    let before = children();
    for _ in 0..20 {
        program(&["/no/such/program"]).mark(fresh_mark()).try_start().unwrap_err();
    }
    // Other tests have children of their own; ours would be twenty zombies named after this binary.
    let left = children().into_iter().filter(|pid| !before.contains(pid)).filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains(") Z ")
    });
    assert!(left.count() < 20);
}

fn children() -> Vec<String> {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let lists =
        threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn a_program_that_was_written_just_now_starts_while_other_children_are_being_started() {
    let folder = tempfile::tempdir().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                wait(&mut program(&["/bin/true"]).start());
            }
        });
        let results: Vec<_> = (0..200)
            .map(|index| {
                let path = script(&folder, &format!("tool{index}"), 0o755, "#!/bin/sh\nexit 2\n");
                program(&[&path]).try_start().map(|mut child| wait(&mut child))
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        for result in results {
            assert_eq!(result.unwrap(), WaitStatus::Exited(2));
        }
    });
}

#[test]
fn many_threads_can_start_children_at_once() {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for _ in 0..10 {
                    let script = format!("exit {thread}");
                    assert_eq!(wait(&mut shell(&script).start()), WaitStatus::Exited(thread));
                }
            });
        }
    });
}
