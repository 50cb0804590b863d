//! `shell` and `-t` at a terminal that this test plays.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::world::{Watch, World, signal_child};

/// A terminal: our end, and the one that programs get.
struct Terminal {
    ours: File,
    theirs: File,
}

impl Terminal {
    fn open(columns: u16, rows: u16) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let terminal = Self { ours: File::from(ours), theirs };
        terminal.resize(columns, rows);
        terminal
    }

    fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.ours, size).unwrap();
    }

    fn type_in(&self, keys: &str) {
        (&self.ours).write_all(keys.as_bytes()).unwrap();
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.theirs).unwrap().local_modes.contains(LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Starts the command at this terminal, in a session of its own as a terminal window does; its output is watched through the
    /// terminal.
    fn start(&self, world: &World, arguments: &[&str]) -> AtTerminal {
        let mut command = Command::new("setsid");
        world.surround(&mut command);
        command
            .env("TERM", "xterm")
            .args(["--ctty", "--wait", env!("CARGO_BIN_EXE_grainchain")])
            .args(arguments);
        command.stdin(self.theirs.try_clone().unwrap());
        command.stdout(self.theirs.try_clone().unwrap());
        command.stderr(self.theirs.try_clone().unwrap());
        let screen = Watch::new([Box::new(self.ours.try_clone().unwrap()) as Box<dyn Read + Send>]);
        AtTerminal { child: command.spawn().unwrap(), screen }
    }
}

struct AtTerminal {
    child: Child,
    screen: Watch,
}

impl AtTerminal {
    fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for AtTerminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_shell_is_at_a_terminal_as_large_as_ours_and_follows_it() {
    let world = World::new();
    let id = world.sandbox();
    let terminal = Terminal::open(101, 37);
    let mut shell = terminal.start(&world, &["shell", &id, "--", "sh"]);
    terminal.type_in("stty size; tty; echo in=$((6*7))\n");
    shell.screen.wait_for("in=42");
    assert!(shell.screen.text().contains("37 101"), "{}", shell.screen.text());
    terminal.resize(55, 22);
    // The new size needs a moment to get through.
    for probe in 100.. {
        terminal.type_in(&format!("stty size; echo probe=$(({probe}+0))\n"));
        shell.screen.wait_for(&format!("probe={probe}"));
        if shell.screen.text().contains("22 55") {
            break;
        }
        assert!(probe < 1000, "{}", shell.screen.text());
    }
    terminal.type_in("exit 5\n");
    assert_eq!(shell.end(), Some(5));
    assert!(terminal.echoes());
    assert_eq!(world.sandboxes(), [id]);
}

#[test]
fn without_a_word_the_shell_is_bash_or_sh() {
    let world = World::new();
    let id = world.sandbox();
    let terminal = Terminal::open(80, 24);
    let mut shell = terminal.start(&world, &["shell", &id]);
    terminal.type_in("echo shell=$((6*7)); exit 3\n");
    shell.screen.wait_for("shell=42");
    assert_eq!(shell.end(), Some(3));
}

#[test]
fn keys_that_signal_go_to_the_program_in_the_sandbox() {
    let world = World::new();
    let id = world.sandbox();
    let terminal = Terminal::open(80, 24);
    let script = "trap 'echo got=int' INT; echo rea=dy; read x; read x; exit 4";
    let mut shell = terminal.start(&world, &["shell", &id, "--", "sh", "-c", script]);
    shell.screen.wait_for("rea=dy");
    assert!(!terminal.echoes(), "our terminal is not raw");
    terminal.type_in("\x03");
    shell.screen.wait_for("got=int");
    terminal.type_in("\n\n\n");
    assert_eq!(shell.end(), Some(4));
    assert!(terminal.echoes());
}

#[test]
fn the_terminal_is_put_back_when_we_are_told_to_end() {
    let world = World::new();
    let terminal = Terminal::open(80, 24);
    let mut run = terminal.start(&world, &["run", "-it", "--", "sh", "-c", "echo rea=dy; sleep 5000"]);
    run.screen.wait_for("rea=dy");
    signal_child(&run.child, rustix::process::Signal::TERM);
    assert_eq!(run.end(), Some(143));
    assert!(terminal.echoes());
    assert!(world.sandboxes().is_empty());
}

#[test]
fn at_a_terminal_a_command_gets_no_input_unless_asked() {
    let world = World::new();
    let terminal = Terminal::open(80, 24);
    let mut run = terminal.start(&world, &["run", "--", "sh", "-c", "read x; echo end=$?"]);
    run.screen.wait_for("end=1");
    assert_eq!(run.end(), Some(0));
    let terminal = Terminal::open(80, 24);
    let mut run =
        terminal.start(&world, &["run", "-i", "--", "sh", "-c", "echo rea=dy; read x; echo got=$x"]);
    run.screen.wait_for("rea=dy");
    terminal.type_in("line\n");
    run.screen.wait_for("got=line");
    assert_eq!(run.end(), Some(0));
}

#[test]
fn a_hostile_name_is_written_out_at_a_terminal() {
    let world = World::new();
    let id = world.sandbox();
    world.run_with(["files", "write", &format!("{id}:a\x1b[2Jb")], "").succeeded();
    let terminal = Terminal::open(80, 24);
    let mut list = terminal.start(&world, &["files", "ls", &id]);
    list.screen.wait_for("a\\x1b[2Jb");
    assert_eq!(list.end(), Some(0));
    assert!(!list.screen.text().contains("\x1b[2J"));
}
