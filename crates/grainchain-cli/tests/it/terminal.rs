//! `shell` and `-t` at a terminal that this test plays.

use crate::pty::Terminal;
use crate::world::{World, signal_child};

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
