//! What a command may not do, whoever it runs as.

use serde_json::json;

use grainchain_core::Sandbox;
use grainchain_testkit::Outcome;

use super::support::{EVERYBODY, equal, goes_on, refused, require, run_as, sh, sh_as};

const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

/// Tries system calls by number, without arguments that could do anything, and prints those that were not refused.
const CALLS: &str = r"
import ctypes, os, errno
libc = ctypes.CDLL(None, use_errno=True)
x86, arm = 0, 1
calls = {
    'add_key': (248, 217), 'keyctl': (250, 219), 'bpf': (321, 280), 'perf_event_open': (298, 241),
    'kexec_load': (246, 104), 'init_module': (175, 105), 'open_by_handle_at': (304, 265),
    'userfaultfd': (323, 282), 'mount': (165, 40), 'pivot_root': (155, 41), 'swapon': (167, 224),
    'unshare': (272, 97), 'setns': (308, 268), 'delete_module': (176, 106), 'syslog': (103, 116),
}
which = {'x86_64': x86, 'aarch64': arm}[os.uname().machine]
for name, numbers in calls.items():
    first = 0x10000000 if name == 'unshare' else 3 if name == 'syslog' else 0
    answer = libc.syscall(numbers[which], first, 0, 0, 0, 0)
    if answer != -1 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
        print(name, answer, ctypes.get_errno())
";

/// Tries to become each of the given users and groups, and prints those that it became.
const BECOME: &str = r"
import os, sys
for number in map(int, sys.argv[1:]):
    for what in (os.setuid, os.setgid, os.seteuid, os.setegid, lambda group: os.setgroups([group])):
        try:
            what(number)
        except PermissionError:
            continue
        print(what, number)
";

/// A line of the status of a command of `user`'s own.
async fn status(sandbox: &Sandbox, user: &str) -> Outcome<impl Fn(&str) -> String> {
    let status = sh_as(sandbox, user, "cat /proc/self/status").await?;
    Ok(move |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or("not told").trim().to_owned()
    })
}

cases! { docker_walls:
    fn a_command_has_no_capability_whoever_it_is(cx) {
        let sandbox = cx.sandbox().await?;
        for user in EVERYBODY {
            let status = status(&sandbox, user).await?;
            for set in SETS { equal(&format!("{set} of {user}"), status(set), "0000000000000000")?; }
        }
    }

    fn a_capability_that_was_given_is_the_only_one_and_roots_alone(cx) {
        let sandbox = cx.create(cx.config().provider_option("cap_add", json!(["NET_BIND_SERVICE"]))).await?;
        let root = status(&sandbox, "0:0").await?;
        for set in SETS { require(["0000000000000400", "0000000000000000"].contains(&root(set).as_str()), format!("{set} of root is {}", root(set)))?; }
        if sh(&sandbox, "id -u").await?.trim() == "0" { equal("what root may do", root("CapEff"), "0000000000000400")?; }
        let somebody = status(&sandbox, "1000:1000").await?;
        for set in ["CapPrm", "CapEff", "CapAmb"] { equal(&format!("{set} of somebody"), somebody(set), "0000000000000000")?; }
    }

    fn no_program_gains_privileges_and_every_system_call_is_filtered(cx) {
        let sandbox = cx.sandbox().await?;
        for user in EVERYBODY {
            let status = status(&sandbox, user).await?;
            equal(&format!("no_new_privs of {user}"), status("NoNewPrivs"), "1")?;
            equal(&format!("the seccomp mode of {user}"), status("Seccomp"), "2")?;
        }
    }

    fn a_wall_that_was_taken_down_by_name_is_down(cx) {
        let sandbox = cx.create(cx.config().provider_option("new_privileges", true)).await?;
        equal("no_new_privs", status(&sandbox, "1000:1000").await?("NoNewPrivs"), "0")?;
    }

    fn a_program_with_roots_setuid_bit_gives_nobody_roots_rights(cx) {
        let sandbox = cx.sandbox().await?;
        // A busybox is told by its name what to be.
        sh_as(&sandbox, "0:0", "mkdir /tmp/s && cp \"$(which id)\" /tmp/s/id && chmod 4755 /tmp/s/id").await?;
        let listed = sh(&sandbox, "ls -ln /tmp/s/id").await?;
        require(listed.starts_with("-rws") && listed.split_whitespace().nth(2) == Some("0"), format!("there is no such program: {listed}"))?;
        equal("its user", sh_as(&sandbox, "1000:1000", "/tmp/s/id -u").await?.trim(), "1000")?;
    }

    fn nobody_becomes_somebody_else(cx) with [Python] {
        let sandbox = cx.sandbox().await?;
        for (user, others) in [("1000:1000", ["0", "65433"]), ("0:0", ["1000", "65433"])] {
            let output = sandbox.execute(["python3", "-c", BECOME, others[0], others[1]]).user(user).await?;
            require(output.success(), format!("could not try: {}", output.stderr()))?;
            equal(&format!("what {user} became"), output.stdout().trim(), "")?;
        }
    }

    fn nothing_can_be_mounted_or_unmounted(cx) {
        refused(&cx.sandbox().await?, &[
            "mount -t tmpfs none /tmp",
            "mount -t proc none /tmp",
            "mount -o bind /etc /tmp",
            "mount -o remount,rw /proc/sys",
            "umount /proc",
            "umount -l /dev/shm",
        ]).await?;
    }

    fn no_namespace_can_be_made_and_no_other_root_taken(cx) {
        refused(&cx.sandbox().await?, &[
            "unshare -U true",
            "unshare -m true",
            "unshare -n true",
            "unshare -p true",
            "chroot / true",
            "pivot_root / /tmp",
            "nsenter -t 1 -n true",
        ]).await?;
    }

    fn no_device_can_be_made(cx) {
        refused(&cx.sandbox().await?, &["mknod /tmp/disk b 8 0", "mknod /tmp/mem c 1 1", "mknod /tmp/zero c 1 5"]).await?;
    }

    fn no_device_of_the_machine_is_inside(cx) {
        let sandbox = cx.sandbox().await?;
        equal("block devices", sh_as(&sandbox, "0:0", "find /dev -type b").await?.as_str(), "")?;
        let known = ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"];
        let devices = sh_as(&sandbox, "0:0", "find /dev -type c").await?;
        let strange = devices.lines().filter(|path| !path.starts_with("/dev/pts/") && !known.iter().any(|name| path.strip_prefix("/dev/") == Some(name)));
        equal("devices that no container needs", strange.collect::<Vec<_>>(), Vec::<&str>::new())?;
    }

    fn nothing_that_belongs_to_the_kernel_opens_for_writing(cx) tags [Heavy] {
        let sandbox = cx.sandbox().await?;
        // Opened and not written: what opens is the fault.
        let line = "for f in $(find /sys /proc/sys /proc/irq /proc/bus /proc/fs /proc/sysrq-trigger -type f 2>/dev/null); do true 2>/dev/null >>$f && echo $f; done; :";
        for user in EVERYBODY {
            let output = sandbox.execute(line).user(user).timeout(super::support::secs(200)).await?;
            require(output.success(), format!("could not try: {:?} {}", output.status, output.stderr()))?;
            equal(&format!("what {user} may write"), output.stdout().lines().take(5).collect::<Vec<_>>(), Vec::<&str>::new())?;
        }
        refused(&sandbox, &[
            "echo 1 > /proc/sys/vm/drop_caches",
            "echo /tmp/x > /proc/sys/kernel/core_pattern",
            "echo evil > /proc/sys/kernel/hostname",
            "mkdir /sys/fs/cgroup/memory/evil || mkdir /sys/fs/cgroup/evil",
        ]).await?;
    }

    fn what_the_kernel_tells_of_the_machine_is_masked(cx) {
        let sandbox = cx.sandbox().await?;
        for user in EVERYBODY {
            for file in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug"] {
                let read = run_as(&sandbox, user, &format!("head -c 1 {file} 2>/dev/null | wc -c")).await?;
                equal(&format!("bytes of {file} for {user}"), read.stdout().trim(), "0")?;
            }
            let listed = run_as(&sandbox, user, "ls -A /sys/firmware /proc/scsi /proc/acpi 2>/dev/null | grep -v ':$' | grep .").await?;
            equal(&format!("folders that {user} sees"), listed.stdout().trim(), "")?;
        }
        refused(&sandbox, &["dmesg"]).await?;
    }

    fn system_calls_that_no_sandbox_needs_are_refused(cx) with [Python] {
        let sandbox = cx.sandbox().await?;
        for user in EVERYBODY {
            let output = sandbox.execute(["python3", "-c", CALLS]).user(user).await?;
            require(output.success(), format!("could not try: {}", output.stderr()))?;
            equal(&format!("what {user} may call"), output.stdout().trim(), "")?;
        }
        goes_on(&sandbox).await?;
    }

    fn the_engines_socket_is_not_inside(cx) {
        let sandbox = cx.sandbox().await?;
        let line = "find / -xdev -type s 2>/dev/null; ls /run/docker.sock /var/run/docker.sock /run/podman/podman.sock 2>/dev/null; grep -a docker.sock /proc/mounts /proc/net/unix; :";
        equal("what was found", sh_as(&sandbox, "0:0", line).await?.trim(), "")?;
    }

    fn a_command_sees_no_process_of_the_machine(cx) {
        let sandbox = cx.sandbox().await?;
        let seen = sh_as(&sandbox, "0:0", "for p in /proc/[0-9]*; do cat $p/comm 2>/dev/null; done").await?;
        let known = ["docker-init", "tini", "catatonit", "sleep", "sh", "cat", "grainchain-help", "helper"];
        let strange: Vec<_> = seen.lines().filter(|name| !known.contains(name)).collect();
        equal("processes of others", strange, Vec::<&str>::new())?;
        require(seen.lines().count() <= 8, format!("there are more than this case started: {seen:?}"))?;
    }
}
