use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use bytes::Bytes;
use futures_util::stream;
use grainchain_core::{ByteSize, Command, Content, Error, ErrorKind, PtySize};

use crate::testing::TestGuest;

#[tokio::test]
async fn a_flood_is_cut_to_head_and_tail() {
    let guest = TestGuest::new();
    let line = "echo first; head -c 100M /dev/zero; echo last";
    let output = guest.run(Command::shell(line).output_limit(ByteSize::mib(10))).await;
    let capture = &output.stdout;
    assert_eq!((capture.total(), capture.bytes().len()), ((100 << 20) + 11, 10 << 20));
    assert!(capture.head().starts_with(b"first\n\0") && capture.tail().ends_with(b"\0last\n"));
    assert_eq!(capture.head().len(), capture.tail().len());
}

#[tokio::test]
async fn a_flood_on_one_stream_does_not_hold_back_the_other() {
    let guest = TestGuest::new();
    for (flood, rest) in [("yes", ">&2"), ("yes >&2", "")] {
        // Far more than a pipe holds: this ends only when both are read all the time.
        let line = format!("{flood} & head -c 1000000 /dev/zero {rest}; kill $!");
        let output = guest.run(Command::shell(line)).await;
        let whole = if rest.is_empty() { &output.stdout } else { &output.stderr };
        assert_eq!(whole.total(), 1_000_000);
    }
}

#[tokio::test]
async fn output_is_kept_as_bytes() {
    let guest = TestGuest::new();
    let output = guest.run(r"printf '\377\000\200\n'; printf '\300' >&2").await;
    assert_eq!(output.stdout.bytes().as_ref(), b"\xff\0\x80\n");
    assert_eq!(output.stderr.bytes().as_ref(), b"\xc0");
}

#[tokio::test]
async fn what_a_pipe_holds_at_the_end_is_not_lost() {
    let guest = TestGuest::new();
    for count in [1, 4096, 65_535, 65_536, 65_537, 200_000] {
        // The child that keeps the pipe open rules out waiting for its end.
        let output = guest.run(format!("sleep 1000 & head -c {count} /dev/zero")).await;
        assert_eq!(output.stdout.total(), count);
    }
}

#[tokio::test]
async fn ten_mebibytes_go_through_a_command_and_come_back() {
    let guest = TestGuest::new();
    let data: Vec<u8> = (0..10 << 20).map(|n: u32| (n >> 3) as u8).collect();
    let command = Command::shell("cat").stdin(data.clone()).output_limit(ByteSize::mib(20));
    assert!(guest.run(command).await.stdout.bytes() == data);
}

#[tokio::test]
async fn a_command_need_not_read_its_input() {
    let guest = TestGuest::new();
    let output = guest.run(Command::shell("exec 0<&-; echo x").stdin(vec![0; 1 << 20])).await;
    assert_eq!((output.exit_code(), &*output.stdout()), (Some(0), "x\n"));
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[0; 4096])));
    let command = Command::shell("head -c 1").stdin(Content::from_stream(endless, None));
    assert!(guest.run(command).await.success());
    let silent = Content::from_stream(stream::pending(), None);
    assert!(guest.run(Command::shell("true").stdin(silent)).await.success());
}

#[tokio::test]
async fn input_that_breaks_kills_the_command_and_is_the_error() {
    let guest = TestGuest::new();
    let broken = stream::iter([Ok(Bytes::from_static(b"half")), Err(Error::not_found("the other half"))]);
    let command = Command::shell("sleep 1000 & cat; sleep 1000").stdin(Content::from_stream(broken, None));
    let error = guest.error(command).await;
    assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, "the other half"));
    assert_eq!(guest.alive(), 0);
}

#[tokio::test]
async fn without_input_reads_see_the_end() {
    let guest = TestGuest::new();
    assert_eq!(guest.text("cat; echo done").await, "done");
    assert_eq!(guest.text(Command::shell("cat; echo done").stdin("")).await, "done");
}

#[tokio::test]
async fn a_file_is_read_from_where_it_is_and_no_further_than_was_said() {
    let guest = TestGuest::new();
    let mut named = tempfile::NamedTempFile::new().unwrap();
    named.write_all(b"0123456789").unwrap();
    for (length, expected) in [(4, "3456"), (7, "3456789")] {
        let mut file: File = named.reopen().unwrap();
        file.seek(SeekFrom::Start(3)).unwrap();
        let command = Command::shell("cat").stdin(Content::from_file(file, length));
        assert_eq!(guest.text(command).await, expected);
        let mut read_only = File::open(named.path()).unwrap();
        read_only.seek(SeekFrom::Start(3)).unwrap();
        let command = Command::shell("cat").stdin(Content::from_file(read_only, length));
        assert_eq!(guest.text(command).await, expected);
    }
}

#[tokio::test]
async fn a_file_that_can_be_written_is_never_given_away() {
    let guest = TestGuest::new();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"precious").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let kept = file.try_clone().unwrap();
    let command = Command::shell("cat; echo spoilt >&0").stdin(Content::from_file(file, 8));
    assert_eq!(guest.run(command).await.stdout(), "precious");
    assert_eq!(kept.metadata().unwrap().len(), 8);
}

#[tokio::test]
async fn on_a_terminal_everything_is_a_terminal_and_comes_as_stdout() {
    let guest = TestGuest::new();
    let line = "test -t 0 && test -t 1 && test -t 2 && stty size && echo $TERM; cat; echo x >/dev/tty";
    let output = guest.run(Command::shell(line).pty(PtySize { columns: 91, rows: 17 })).await;
    assert_eq!(output.stdout(), "17 91\r\nxterm-256color\r\nx\r\n");
    assert_eq!(output.stderr.total(), 0);
}

#[tokio::test]
async fn a_terminals_input_is_typed_and_ended() {
    let guest = TestGuest::new();
    for input in ["one\ntwo\n", "unfinished"] {
        let command = Command::shell("cat >typed").stdin(input).pty(PtySize::default());
        assert!(guest.run(command).await.success());
        assert_eq!(std::fs::read_to_string(guest.path().join("typed")).unwrap(), input);
    }
}

#[tokio::test]
async fn a_terminals_last_words_are_not_lost() {
    let guest = TestGuest::new();
    for _ in 0..20 {
        let command = Command::shell("setsid sleep 1000 & seq 500").pty(PtySize::default());
        assert_eq!(guest.run(command).await.stdout().lines().last(), Some("500"));
    }
}

#[tokio::test]
async fn on_a_terminal_without_input_every_read_sees_an_end() {
    let guest = TestGuest::new();
    for line in [
        "cat",
        "read x",
        "python3 -c 'input()'",
        "cat; cat; cat",
        // After what was typed before is gone, in the mode of a program that edits lines, and in both.
        "python3 -c 'import sys, termios; termios.tcflush(0, termios.TCIFLUSH); sys.stdin.read()'",
        "stty -icanon -echo; [ $(head -c 3 | tail -c 1 | od -A n -t u1) = 4 ]",
        "python3 -c 'import readline; input()'",
    ] {
        let output = guest.run(Command::shell(format!("{line}; echo done")).pty(PtySize::default())).await;
        assert!(output.stdout().ends_with("done\r\n"), "{line}: {}", output.stdout());
    }
}
