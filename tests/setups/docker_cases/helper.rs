//! The helper attacked by commands: its program, its socket, its token, its user.

use grainchain_core::{Client, ErrorKind, Sandbox};
use grainchain_docker::{Docker, DockerConfig};
use grainchain_testkit::{Outcome, fails, until};

use super::support::{
    EVERYBODY, container, engine, equal, goes_on, nothing_left, refused, require, run_as, secs, sh, sh_as,
};

/// The user that the helper runs as.
const HELPER_USER: &str = "65433";

/// What helpers are told at their start stands in this variable.
const BOOT: &str = "GRAINCHAIN_BOOT";

/// Knocks at the helper's socket, says something, and prints how many bytes came back.
const KNOCK: &str = "import socket\ns = socket.socket(socket.AF_UNIX)\ns.settimeout(30)\ntry:\n    s.connect('\\0grainchain-helper')\n    s.sendall(b'hello' * 100)\n    print(len(s.recv(100)))\nexcept (ConnectionError, PermissionError):\n    print(0)\n";

/// Knocks five hundred times without ever going away, and says so.
const FLOOD: &str = "import socket, time\nheld = []\nfor _ in range(500):\n    s = socket.socket(socket.AF_UNIX)\n    s.settimeout(30)\n    try:\n        s.connect('\\0grainchain-helper')\n        s.send(b'hello')\n    except OSError:\n        pass\n    held.append(s)\nprint('flooded', flush=True)\ntime.sleep(300)\n";

/// Opens as many files as it may, and says so.
const HOARD: &str = "import os, time\ncount = 0\ntry:\n    while True:\n        os.open('/dev/null', os.O_RDONLY)\n        count += 1\nexcept OSError:\n    pass\nprint('hoarded', count, flush=True)\ntime.sleep(300)\n";

/// The token that clients of `sandbox` must know, as whoever may use the engine can read it.
async fn token(sandbox: &Sandbox) -> Outcome<String> {
    let token =
        engine(&["inspect", "-f", "{{index .Config.Labels \"grainchain.token\"}}", &container(sandbox)])
            .await?;
    require(token.len() >= 16, "the sandbox has no token")?;
    Ok(token)
}

/// A client that is no root, as far as the way to helpers is concerned.
fn by_the_engine() -> Outcome<Client> {
    Ok(Client::new(Docker::new(DockerConfig::default().shortcut(false))?))
}

/// Waits until the background command that writes into `file` says `word`.
async fn says(sandbox: &Sandbox, file: &str, word: &str) -> Outcome {
    until(&format!("it has {word}"), async || {
        Ok(sh(sandbox, &format!("cat {file} 2>/dev/null || :")).await?.contains(word))
    })
    .await
}

cases! { docker_helper:
    fn its_program_can_be_neither_changed_nor_moved(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let sum = sh(&sandbox, "sha256sum < /.grainchain/helper").await?;
        refused(&sandbox, &[
            "echo x > /.grainchain/helper",
            "echo x >> /.grainchain/helper",
            "cp /bin/sh /.grainchain/helper",
            "mv /.grainchain/helper /.grainchain/other",
            "mv /.grainchain/helper /tmp/other",
            "rm -f /.grainchain/helper",
            "touch /.grainchain/new",
            "chmod 777 /.grainchain/helper",
            "chmod 777 /.grainchain",
            "mount -o remount,rw /.grainchain",
            "mount -o bind /tmp /.grainchain",
            "umount -l /.grainchain",
        ]).await?;
        // Something is mounted there: that is said in other words.
        for user in EVERYBODY {
            let output = run_as(&sandbox, user, "mv /.grainchain /tmp/other || mv /.grainchain /other || rmdir /.grainchain").await?;
            require(!output.success(), format!("{user} moved the folder: {}", output.combined()))?;
        }
        equal("the program", sh(&sandbox, "sha256sum < /.grainchain/helper").await?, sum)?;
    }

    fn nor_by_the_clients_own_operations(cx) needs [Processes, Files] {
        let sandbox = cx.sandbox().await?;
        let sum = sh(&sandbox, "sha256sum < /.grainchain/helper").await?;
        let refused = [ErrorKind::Denied, ErrorKind::Conflict, ErrorKind::BadRequest, ErrorKind::Exhausted];
        fails(sandbox.upload_file("/.grainchain/helper", "x").await, &refused)?;
        fails(sandbox.upload_file("/.grainchain/new", "x").await, &refused)?;
        fails(sandbox.remove("/.grainchain/helper").await, &refused)?;
        fails(sandbox.remove(grainchain_core::Remove::new("/.grainchain").recursive()).await, &refused)?;
        fails(sandbox.rename(grainchain_core::Rename::new("/.grainchain/helper", "/tmp/other")).await, &refused)?;
        equal("the program", sh(&sandbox, "sha256sum < /.grainchain/helper").await?, sum)?;
    }

    fn a_second_run_of_it_is_of_no_use(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let orders = r#"{"sandbox":"evil","token":"0123456789abcdef0123","user":"0:0","working_directory":"/tmp","lifetime":null,"lease":null,"capabilities":["SYS_ADMIN"]}"#.to_owned();
        for user in EVERYBODY {
            for arguments in [&["dial"][..], &[], &["dial", "x"], &["--help"]] {
                for boot in [None, Some("{}"), Some(orders.as_str())] {
                    let argv = std::iter::once("/.grainchain/helper").chain(arguments.iter().copied());
                    let mut command = sandbox.execute(argv.collect::<Vec<_>>()).user(user).stdin("hello").timeout(secs(40));
                    if let Some(boot) = boot { command = command.env(BOOT, boot); }
                    let output = command.await?;
                    require(!output.success(), format!("{arguments:?} with {boot:?} as {user} succeeded"))?;
                    equal("its output", output.stdout().into_owned().as_str(), "")?;
                    require(!output.stderr().is_empty(), format!("{arguments:?} as {user} does not say why it failed"))?;
                }
            }
        }
        goes_on(&sandbox).await?;
    }

    fn a_copy_of_it_is_of_no_use_either(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        for user in EVERYBODY {
            sh_as(&sandbox, user, &format!("cp /.grainchain/helper /tmp/copy-{0} && chmod 6755 /tmp/copy-{0}", &user[..1])).await?;
        }
        for user in EVERYBODY {
            for copy in ["/tmp/copy-0", "/tmp/copy-1"] {
                let output = sandbox.execute([copy, "dial"]).user(user).stdin("hello").timeout(secs(40)).await?;
                require(!output.success() && output.stdout().is_empty(), format!("{copy} as {user}: {}", output.combined()))?;
            }
        }
        goes_on(&sandbox).await?;
    }

    fn its_socket_says_nothing_to_others(cx) needs [Processes] with [Python] {
        let sandbox = cx.sandbox().await?;
        require(sh(&sandbox, "cat /proc/net/unix").await?.contains("@grainchain-helper"), "there is no such socket: the case tests nothing")?;
        for user in EVERYBODY {
            let output = sandbox.execute(["python3", "-c", KNOCK]).user(user).timeout(secs(60)).await?;
            require(output.success(), format!("the socket stays open for {user}: {}", output.stderr()))?;
            equal(&format!("bytes that {user} got"), output.stdout().trim(), "0")?;
        }
        goes_on(&sandbox).await?;
    }

    fn a_flood_at_its_socket_keeps_no_client_out(cx) needs [Processes, Files] with [Python] tags [Heavy] {
        let sandbox = cx.sandbox().await?;
        let mut floods = Vec::new();
        for user in EVERYBODY {
            let file = format!("/tmp/flood-{}", &user[..1]);
            floods.push(sandbox.spawn(["sh", "-c", "exec python3 -c \"$0\" > $1", FLOOD, &file]).user(user).await?);
            // A client that comes while it goes on, and one when all of them are held open.
            goes_on(&cx.client().connect(sandbox.id().clone()).await?).await?;
            says(&sandbox, &file, "flooded").await?;
            goes_on(&cx.client().connect(sandbox.id().clone()).await?).await?;
            sandbox.upload_file("note", "written meanwhile").await?;
        }
        for flood in floods { flood.kill().await?; }
        goes_on(&sandbox).await?;
    }

    fn its_socket_cannot_be_taken_over(cx) needs [Processes] with [Python] {
        let sandbox = cx.sandbox().await?;
        let code = "import socket\ns = socket.socket(socket.AF_UNIX)\ntry: s.bind('\\0grainchain-helper')\nexcept OSError as error: raise SystemExit(error.strerror)\n";
        for user in EVERYBODY {
            let output = sandbox.execute(["python3", "-c", code]).user(user).timeout(secs(40)).await?;
            require(!output.success() && output.stderr().contains("in use"), format!("{user} took it: {}", output.combined()))?;
        }
    }

    fn neither_token_nor_orders_are_in_any_commands_reach(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let token = token(&sandbox).await?;
        let line = "env; cat /proc/self/environ /proc/[0-9]*/environ /proc/[0-9]*/task/*/environ /proc/[0-9]*/cmdline /proc/[0-9]*/comm 2>/dev/null; cat /proc/mounts /proc/net/unix; :";
        for user in EVERYBODY {
            let seen = sh_as(&sandbox, user, line).await?;
            require(seen.contains("PATH="), "nothing was seen at all")?;
            require(!seen.contains(BOOT) && !seen.contains(&token), format!("{user} reads the helper's orders"))?;
        }
        require(!format!("{:?}", sandbox.info().await?).contains(&token), "`info` tells the token")?;
        require(!format!("{sandbox:?}").contains(&token), "the handle shows the token")?;
    }

    fn a_bridge_that_the_engine_starts_shows_its_orders_to_nobody(cx) needs [Processes, Files] tags [Heavy] {
        let sandbox = cx.sandbox().await?;
        let token = token(&sandbox).await?;
        let (mut watchers, mut bridges) = (Vec::new(), 0);
        for user in EVERYBODY {
            let line = format!("while :; do cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -a '^{BOOT}=' ; done > /tmp/seen-{}", &user[..1]);
            watchers.push(sandbox.spawn(line.as_str()).user(user).await?);
        }
        for _ in 0..20 {
            // Each dials by a program that the engine starts with everything that the first one was told.
            let other = by_the_engine()?.connect(sandbox.id().clone()).await?;
            goes_on(&other).await?;
            bridges += engine(&["top", &container(&sandbox), "-eo", "pid,args"]).await?.matches("helper dial").count();
        }
        require(bridges >= 20, format!("{bridges} bridges were started"))?;
        for watcher in watchers { watcher.kill().await?; }
        let seen = sh_as(&sandbox, "0:0", "cat /tmp/seen-0 /tmp/seen-1 2>/dev/null || cat /tmp/seen-0; :").await?;
        let others = sh_as(&sandbox, "1000:1000", "cat /tmp/seen-1").await?;
        require(!seen.contains(&token) && !others.contains(&token), "a command has read the token from a bridge")?;
        equal("what was seen", (seen.as_str(), others.as_str()), ("", ""))?;
    }

    fn no_command_is_the_helpers_own_user(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        for user in [HELPER_USER, "65433:65433", "65433:0", "65433:1000", "065433", "+65433", " 65433", "65433 ", "65433:root"] {
            let tried = sandbox.execute("id").user(user).timeout(secs(40)).await;
            fails(tried, &[ErrorKind::BadRequest, ErrorKind::Denied, ErrorKind::NotFound, ErrorKind::Config])?;
            let tried = sandbox.spawn("id").user(user).await;
            fails(tried, &[ErrorKind::BadRequest, ErrorKind::Denied, ErrorKind::NotFound, ErrorKind::Config])?;
        }
        goes_on(&sandbox).await?;
    }

    fn nor_does_a_name_make_it_so(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        let changed = run_as(&sandbox, "0:0", "echo 'evil:x:65433:65433::/:/bin/sh' >> /etc/passwd").await?;
        if !changed.success() {
            // The image cannot be changed: then there is no such name.
            fails(sandbox.execute("id").user("evil").await, &[ErrorKind::NotFound, ErrorKind::BadRequest])?;
            return Ok(());
        }
        let tried = sandbox.execute("id").user("evil").timeout(secs(40)).await;
        fails(tried, &[ErrorKind::BadRequest, ErrorKind::Denied, ErrorKind::NotFound, ErrorKind::Config])?;
    }

    fn no_sandbox_is_made_for_the_helpers_own_user(cx) needs [Processes] {
        for user in [HELPER_USER, "65433:0", "+65433"] {
            let error = fails(cx.create(cx.config().provider_option("user", user)).await, &[ErrorKind::BadRequest, ErrorKind::Config, ErrorKind::Denied, ErrorKind::Server])?;
            require(error.to_string().contains(HELPER_USER), format!("does not name the user: {error}"))?;
        }
        nothing_left(&cx).await?;
    }

    fn whoever_stops_everything_does_not_keep_others_from_starting(cx) needs [Processes, Files] tags [Heavy] {
        let sandbox = cx.sandbox().await?;
        for user in EVERYBODY {
            let attacker = sandbox.spawn("while :; do kill -STOP -1 2>/dev/null; done").user(user).await?;
            for _ in 0..10 {
                equal("another user's command", sh_as(&sandbox, "1234:1234", "echo goes on").await?.as_str(), "goes on\n")?;
                sandbox.upload_file("note", "x").await?;
            }
            // One's own are fair game once they run; but they are started, and the helper does not stand still with them.
            let mut own = Vec::new();
            for _ in 0..3 { own.push(sandbox.spawn("sleep 300").user(user).await?); }
            attacker.kill().await?;
            for process in own { process.kill().await?; }
            equal("afterwards", sh_as(&sandbox, user, "echo goes on").await?.as_str(), "goes on\n")?;
        }
    }

    fn whoever_kills_everything_for_ever_ends_with_its_timeout(cx) needs [Processes] tags [Heavy] {
        let sandbox = cx.sandbox().await?;
        let attack = sandbox.execute("while :; do kill -9 -1 2>/dev/null; done").timeout(secs(3)).await;
        fails(attack, &[ErrorKind::Timeout])?;
        goes_on(&sandbox).await?;
    }

    fn a_command_that_hoards_files_leaves_enough_for_the_helper(cx) needs [Processes, Files] with [Python] tags [Heavy] {
        let sandbox = cx.sandbox().await?;
        let hoarder = sandbox.spawn(["sh", "-c", "ulimit -n $(ulimit -Hn); exec python3 -c \"$0\" > /tmp/hoard", HOARD]).await?;
        says(&sandbox, "/tmp/hoard", "hoarded").await?;
        for number in 0..20 { sandbox.upload_file(format!("f{number}"), "x").await?; }
        goes_on(&cx.client().connect(sandbox.id().clone()).await?).await?;
        hoarder.kill().await?;
    }

    fn what_it_complains_of_and_what_it_says_is_out_of_commands_reach(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        // The pipes of the first process are the link itself: whoever writes there speaks for the helper.
        refused(&sandbox, &["echo x > /proc/1/fd/0", "echo x > /proc/1/fd/1", "echo x > /proc/1/fd/2", "cat /proc/1/fd/0"]).await?;
        run_as(&sandbox, "0:0", "echo x > /dev/console; echo x > /dev/stderr; :").await?;
        goes_on(&sandbox).await?;
    }
}
