//! Terminals.

use grainchain_core::{Capability, ErrorKind, ProcessEvent, PtySize};

use super::processes::{next, read_until};
use super::support::secs;
use crate::case::cases;
use crate::check::fails;

const SIZE: PtySize = PtySize { columns: 100, rows: 30 };

cases! { pty:
    fn a_terminal_is_one(cx) needs [Pty] {
        let output = cx.sandbox().await?.execute("[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo yes").pty(SIZE).timeout(secs(20)).await?;
        same!(output.stdout().trim(), "yes");
    }

    fn without_a_terminal_there_is_none(cx) {
        same!(cx.sandbox().await?.execute("[ -t 0 ] || [ -t 1 ] || [ -t 2 ] || echo none").await?.stdout(), "none\n");
    }

    fn a_terminal_has_the_size_asked_for(cx) needs [Pty] {
        same!(cx.sandbox().await?.execute("stty size").pty(SIZE).timeout(secs(20)).await?.stdout().trim(), "30 100");
    }

    fn a_terminal_merges_stderr(cx) needs [Pty] {
        let output = cx.sandbox().await?.execute("echo out; echo err >&2").pty(SIZE).timeout(secs(20)).await?;
        same!(output.stdout(), "out\r\nerr\r\n");
        same!(output.stderr(), "");
    }

    fn a_terminal_keeps_the_exit_code(cx) needs [Pty] {
        same!(cx.sandbox().await?.execute("exit 7").pty(SIZE).timeout(secs(20)).await?.exit_code(), Some(7));
    }

    fn a_terminal_echoes(cx) needs [Pty, Processes] {
        let mut process = cx.sandbox().await?.spawn("echo ready; read line; echo \"<$line>\"").pty(SIZE).piped_stdin().await?;
        read_until(&mut process, "ready").await?;
        process.write("typed\n").await?;
        let seen = read_until(&mut process, "<typed>").await?;
        check!(seen.contains("typed\r\n<typed>"), "no echo in {seen:?}");
    }

    fn a_terminal_can_be_resized(cx) needs [Pty, Processes] {
        let line = "trap 'stty size' WINCH; echo ready; while :; do read x; echo \"read $x\"; done";
        let mut process = cx.sandbox().await?.spawn(line).pty(SIZE).piped_stdin().await?;
        read_until(&mut process, "ready").await?;
        process.resize(PtySize { columns: 66, rows: 11 }).await?;
        // The trap of a shell runs after what it waits for: the line read.
        process.write("on\n").await?;
        read_until(&mut process, "11 66").await?;
        process.kill().await?;
    }

    fn control_c_interrupts(cx) needs [Pty, Processes] {
        // The trap makes it certain that the shell, which some shells forget while they start a child, sees the signal.
        let script = "trap 'exit 9' INT; echo ready; while :; do sleep 1; done";
        let mut process = cx.sandbox().await?.spawn(script).pty(SIZE).piped_stdin().await?;
        read_until(&mut process, "ready").await?;
        process.write("\u{3}").await?;
        let status = tokio::time::timeout(secs(20), process.wait()).await;
        let Ok(status) = status else { return Err("Ctrl-C did not end the command".into()) };
        same!(status?.code(), Some(9));
    }

    fn the_end_of_input_ends_a_reader(cx) needs [Pty, Processes] {
        let mut process = cx.sandbox().await?.spawn("echo ready; cat; echo over").pty(SIZE).piped_stdin().await?;
        read_until(&mut process, "ready").await?;
        process.close_stdin().await?;
        read_until(&mut process, "over").await?;
    }

    fn a_terminal_goes_with_its_process(cx) needs [Pty, Processes] {
        let mut process = cx.sandbox().await?.spawn("echo ready; sleep 300").pty(SIZE).await?;
        read_until(&mut process, "ready").await?;
        process.kill().await?;
        while next(&mut process).await?.is_some() {}
        check!(process.status().is_some(), "no exit was told");
    }

    fn a_terminal_without_columns_is_refused(cx) needs [Pty] {
        let result = cx.sandbox().await?.execute("true").pty(PtySize { columns: 0, rows: 24 }).await;
        same!(fails(result, &[ErrorKind::BadRequest])?.failed_option(), Some("pty"));
    }

    fn a_terminal_passes_every_byte_when_raw(cx) needs [Pty, Processes] {
        let mut process = cx.sandbox().await?.spawn("stty raw -echo; echo ready; head -c 6 | od -An -tx1; echo").pty(SIZE).piped_stdin().await?;
        read_until(&mut process, "ready").await?;
        process.write(&b"\x03\x04\x1a\xff\r\n"[..]).await?;
        let seen = read_until(&mut process, "0a").await?;
        check!(seen.contains("03 04 1a ff 0d 0a"), "saw {seen:?}");
        while let Some(event) = next(&mut process).await? { drop::<ProcessEvent>(event); }
    }

    fn a_terminal_timeout_kills(cx) needs [Pty] {
        fails(cx.sandbox().await?.execute("sleep 300").pty(SIZE).timeout(secs(1)).await, &[ErrorKind::Timeout])?;
    }

    fn what_is_not_declared_is_refused_by_name(cx) lacks [Pty] {
        let sandbox = cx.sandbox().await?;
        check!(!sandbox.capabilities().supports(Capability::Pty), "the sandbox can what its provider cannot");
        same!(fails(sandbox.execute("true").pty(SIZE).await, &[ErrorKind::Unsupported])?.failed_option(), Some("pty"));
    }
}
