//! The sandbox's first process, attacked by commands.

use grainchain_core::{Sandbox, SandboxStatus};
use grainchain_testkit::{Outcome, until};

use super::support::{EVERYBODY, container, engine, equal, goes_on, require, run_as, secs, sh, sh_as};

/// Attaches to the first process and reads from its memory, in every way that there is, and prints what worked.
const TRACE: &str = r"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
for name, request in (('attach', 16), ('seize', 0x4206)):
    if libc.ptrace(request, 1, 0, 0) != -1:
        print(name)
piece = ctypes.create_string_buffer(8)
class Piece(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]
here, there = Piece(ctypes.addressof(piece), 8), Piece(0x400000, 8)
if libc.process_vm_readv(1, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) != -1:
    print('read')
if libc.process_vm_writev(1, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) != -1:
    print('write')
try:
    if libc.syscall(438, os.pidfd_open(1), 0, 0) != -1:
        print('a descriptor')
except OSError:
    pass
";

/// Holds `line` to fail without a word of output, whatever it says of the reason.
async fn yields_nothing(sandbox: &Sandbox, user: &str, line: &str) -> Outcome {
    let output = run_as(sandbox, user, line).await?;
    require(
        !output.success() && output.stdout.total() == 0,
        format!("`{line}` as {user} ended with {:?}: {}", output.status, output.combined()),
    )
}

cases! { docker_first_process:
    fn it_is_neither_killed_nor_stopped_from_inside(cx) {
        let sandbox = cx.sandbox().await?;
        let born = engine(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &container(&sandbox)]).await?;
        for user in EVERYBODY {
            // Whether it is allowed does not matter: it must not do anything.
            run_as(&sandbox, user, "kill -9 1; kill -KILL 1; kill -STOP 1; kill -TSTP 1; :").await?;
            goes_on(&sandbox).await?;
        }
        require(!sh(&sandbox, "grep State: /proc/1/status").await?.contains('T'), "it is stopped")?;
        equal("the container", engine(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &container(&sandbox)]).await?, born)?;
        equal("the status", sandbox.status().await?, SandboxStatus::Running)?;
    }

    fn no_signal_at_all_reaches_it(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let line = "i=0; while [ $i -le 64 ]; do kill -$i 1 2>/dev/null && echo $i; i=$((i + 1)); done; :";
        for user in EVERYBODY {
            equal(&format!("signals of {user}"), sh_as(&sandbox, user, line).await?.as_str(), "")?;
        }
        goes_on(&sandbox).await?;
    }

    fn whoever_kills_all_that_it_can_leaves_the_sandbox_alive(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        for user in EVERYBODY {
            let mut other = sandbox.spawn("sleep 300").user(user).await?;
            run_as(&sandbox, user, "kill -9 -1; :").await?;
            require(!other.wait().await?.success(), "the other command was not even killed: the case tests nothing")?;
            goes_on(&sandbox).await?;
        }
    }

    fn it_is_a_closed_book(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let files = ["environ", "mem", "maps", "smaps", "auxv", "pagemap", "syscall", "stack", "exe", "fd/0", "fd/1", "fd/3", "root/etc/passwd"];
        for user in EVERYBODY {
            for file in files { yields_nothing(&sandbox, user, &format!("head -c 1 /proc/1/{file}")).await?; }
            for folder in ["fd/", "fdinfo/", "map_files/", "root/", "cwd/"] { yields_nothing(&sandbox, user, &format!("ls /proc/1/{folder}")).await?; }
        }
        goes_on(&sandbox).await?;
    }

    fn its_files_belong_to_no_user_that_a_command_may_be(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        // Each start of a command as somebody else could give them away.
        for user in ["0:0", "1000:1000", "1234:1234"] {
            for file in ["environ", "mem", "oom_score_adj", "fd", "comm"] {
                let owner = sh_as(&sandbox, user, &format!("stat -c %u:%g /proc/1/{file}")).await?;
                equal(&format!("whose /proc/1/{file} is, after a command of {user}"), owner.trim(), "65433:65433")?;
            }
        }
    }

    fn nor_does_any_of_its_threads_tell_more(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let line = "for t in /proc/1/task/*; do for f in environ mem maps fd/0 fd/1 fd/3 root/etc/passwd; do head -c 1 $t/$f >/dev/null 2>&1 && echo $t/$f; done; done; :";
        for user in EVERYBODY {
            equal(&format!("what {user} reads"), sh_as(&sandbox, user, line).await?.as_str(), "")?;
        }
        let threads = sh(&sandbox, "ls /proc/1/task | wc -l").await?;
        require(threads.trim().parse::<u32>().is_ok_and(|count| count > 0), format!("no thread was tried: {threads}"))?;
    }

    fn nothing_of_it_can_be_written(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let files = [("oom_score_adj", "1000"), ("mem", "x"), ("comm", "x"), ("clear_refs", "1"), ("timerslack_ns", "0"), ("coredump_filter", "0"), ("uid_map", "0 0 1"), ("task/1/comm", "x"), ("fd/1", "x")];
        for user in EVERYBODY {
            for (file, text) in files { yields_nothing(&sandbox, user, &format!("/bin/echo {text} > /proc/1/{file}")).await?; }
        }
        goes_on(&sandbox).await?;
    }

    fn it_cannot_be_traced(cx) needs [Processes] with [Python] {
        let sandbox = cx.sandbox().await?;
        for user in EVERYBODY {
            let output = sandbox.execute(["python3", "-c", TRACE]).user(user).timeout(secs(40)).await?;
            require(output.success(), format!("could not try: {}", output.stderr()))?;
            equal(&format!("what worked for {user}"), output.stdout().trim(), "")?;
        }
        goes_on(&sandbox).await?;
    }

    fn its_threads_cannot_be_slowed_or_bound(cx) needs [Processes] with [Python] {
        let sandbox = cx.sandbox().await?;
        let code = "import os\nfor what, values in ((os.sched_setaffinity, (1, [0])), (os.setpriority, (os.PRIO_PROCESS, 1, 19)), (os.sched_setscheduler, (1, os.SCHED_IDLE, os.sched_param(0)))):\n    try: what(*values)\n    except PermissionError: continue\n    print(what)\n";
        for user in EVERYBODY {
            let output = sandbox.execute(["python3", "-c", code]).user(user).timeout(secs(40)).await?;
            require(output.success(), format!("could not try: {}", output.stderr()))?;
            equal(&format!("what worked for {user}"), output.stdout().trim(), "")?;
        }
    }

    fn it_takes_in_what_has_lost_its_parent(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        // Each is left behind by its shell and ends by itself.
        sh(&sandbox, "i=0; while [ $i -lt 100 ]; do (true &) ; i=$((i + 1)); done").await?;
        until("no ended process is left", async || {
            Ok(!sh(&sandbox, "cat /proc/[0-9]*/stat 2>/dev/null || :").await?.contains(") Z "))
        }).await?;
    }

    fn it_has_nothing_but_what_it_needs(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let status = sh(&sandbox, "cat /proc/1/status").await?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or("not told").split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        // KILL, SETGID and SETUID.
        equal("its capabilities", field("CapPrm"), ["00000000000000e0"])?;
        for set in ["CapBnd", "CapInh", "CapAmb"] { equal(set, field(set), ["0000000000000000"])?; }
        equal("its users, but for the one that it opens files as", &field("Uid")[..3], ["65433"; 3])?;
        equal("no_new_privs", field("NoNewPrivs"), ["1"])?;
    }
}
