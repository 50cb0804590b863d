use std::os::fd::AsFd;

use bytes::BytesMut;

use super::*;
use crate::sys::{
    pipe::{self, Capacity, Drained},
    pty::{Pty, WindowSize},
};

const SIZE: WindowSize = WindowSize { columns: 132, rows: 43 };

#[test]
fn output_is_read_to_its_end() {
    block_on(async {
        for capacity in [Capacity::Default, Capacity::Large] {
            let (mut reader, theirs) = pipe::for_reading(capacity).unwrap();
            let setup = shell("head -c 3000000 /dev/zero");
            let null = null();
            let mut child = setup.with([null.as_fd(), theirs.as_fd(), null.as_fd()]).start().unwrap();
            drop(theirs);
            let mut bytes = BytesMut::new();
            while reader.read(&mut bytes).await.unwrap() > 0 {}
            assert_eq!(bytes.len(), 3_000_000);
            assert_eq!(child.wait().await.unwrap(), WaitStatus::Exited(0));
        }
    });
}

#[test]
fn the_childs_end_blocks() {
    block_on(async {
        let (_reader, theirs) = pipe::for_reading(Capacity::Large).unwrap();
        let (_writer, theirs_too) = pipe::for_writing(Capacity::Default).unwrap();
        for fd in [theirs, theirs_too] {
            assert!(!rustix::fs::fcntl_getfl(&fd).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
        }
    });
}

#[test]
fn input_reaches_the_child_and_its_end_too() {
    block_on(async {
        let (mut writer, theirs) = pipe::for_writing(Capacity::Default).unwrap();
        let (mut reader, output) = pipe::for_reading(Capacity::Default).unwrap();
        let setup = shell("wc -c");
        let null = null();
        let mut child = setup.with([theirs.as_fd(), output.as_fd(), null.as_fd()]).start().unwrap();
        drop((theirs, output));
        writer.write_all(&vec![b'x'; 500_000]).await.unwrap();
        drop(writer);
        let mut bytes = BytesMut::new();
        while reader.read(&mut bytes).await.unwrap() > 0 {}
        assert_eq!(bytes, "500000\n");
        child.wait().await.unwrap();
    });
}

#[test]
fn writing_to_a_child_that_does_not_read_is_an_error_and_no_signal() {
    block_on(async {
        let (mut writer, theirs) = pipe::for_writing(Capacity::Default).unwrap();
        drop(theirs);
        assert_eq!(writer.write(b"x").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn what_is_there_is_drained_although_a_background_child_keeps_the_pipe_open() {
    let token = Token::new();
    block_on(async {
        let (mut reader, theirs) = pipe::for_reading(Capacity::Default).unwrap();
        let setup = shell(&format!("sleep {} & printf 123456", token.0));
        let null = null();
        let mut child = setup.with([null.as_fd(), theirs.as_fd(), null.as_fd()]).start().unwrap();
        drop(theirs);
        child.wait().await.unwrap();
        let mut bytes = BytesMut::new();
        assert_eq!(reader.drain_now(&mut bytes, 4).unwrap(), Drained { bytes: 4, ended: false });
        assert_eq!(reader.drain_now(&mut bytes, 100).unwrap(), Drained { bytes: 2, ended: false });
        assert_eq!(bytes, "123456");
    });
    // Only what is called by its token is cleared away.
    token.await_alive(1);
}

#[test]
fn draining_sees_the_end_when_nobody_is_left() {
    block_on(async {
        let (mut reader, theirs) = pipe::for_reading(Capacity::Default).unwrap();
        rustix::io::write(&theirs, b"last").unwrap();
        drop(theirs);
        let mut bytes = BytesMut::new();
        assert_eq!(reader.drain_now(&mut bytes, 100).unwrap(), Drained { bytes: 4, ended: true });
    });
}

async fn read_until(master: &mut crate::sys::pty::Master, wanted: &str) -> String {
    let mut bytes = BytesMut::new();
    let reading = async {
        while !String::from_utf8_lossy(&bytes).contains(wanted) {
            assert!(master.reader.read(&mut bytes).await.unwrap() > 0, "ended before {wanted:?}: {bytes:?}");
        }
    };
    tokio::time::timeout(LIMIT, reading).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn start_on_terminal(script: &str) -> (Child, crate::sys::pty::Master) {
    let pty = Pty::open(SIZE).unwrap();
    let setup = shell(script);
    let mut spawn = setup.with([pty.slave.as_fd(); 3]);
    spawn.controlling_terminal = true;
    let child = spawn.start().unwrap();
    (child, pty.into_master().unwrap())
}

#[test]
fn a_program_on_a_terminal_sees_its_size_and_every_change() {
    block_on(async {
        let script = "trap 'stty size; exit 3' WINCH; stty size; while :; do sleep 0.01; done";
        let (mut child, mut master) = start_on_terminal(script);
        read_until(&mut master, "43 132").await;
        master.control.resize(WindowSize { columns: 10, rows: 5 }).unwrap();
        read_until(&mut master, "5 10").await;
        assert_eq!(child.wait().await.unwrap(), WaitStatus::Exited(3));
    });
}

#[test]
fn a_terminal_echoes_and_its_keys_send_signals_to_the_foreground() {
    block_on(async {
        let (mut child, mut master) = start_on_terminal("tty >/dev/null && echo ready </dev/tty; cat");
        read_until(&mut master, "ready").await;
        master.writer.write_all(b"hello\n").await.unwrap();
        let text = read_until(&mut master, "hello\r\nhello\r\n").await;
        assert!(!text.is_empty());
        master.writer.write_all(b"\x03").await.unwrap();
        let status = child.wait().await.unwrap();
        assert!(matches!(status, WaitStatus::Signaled { signal: libc::SIGINT, .. }), "{status:?}");
    });
}

#[test]
fn the_end_of_a_terminal_is_an_end_and_no_error() {
    block_on(async {
        let (mut child, mut master) = start_on_terminal("echo bye");
        let mut bytes = BytesMut::new();
        while master.reader.read(&mut bytes).await.unwrap() > 0 {}
        assert_eq!(bytes, "bye\r\n");
        child.wait().await.unwrap();
    });
}

#[test]
fn a_pipe_cannot_be_a_controlling_terminal() {
    let setup = shell("true");
    let null = null();
    let mut spawn = setup.with([null.as_fd(); 3]);
    spawn.controlling_terminal = true;
    let error = spawn.start().unwrap_err();
    assert_eq!(error.step, crate::sys::spawn::Step::Terminal);
}
