//! A terminal that a test plays.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::world::{Watch, World};

/// A terminal: our end, and the one that programs get.
pub(crate) struct Terminal {
    ours: File,
    theirs: File,
}

impl Terminal {
    pub(crate) fn open(columns: u16, rows: u16) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let terminal = Self { ours: File::from(ours), theirs };
        terminal.resize(columns, rows);
        terminal
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.ours, size).unwrap();
    }

    pub(crate) fn type_in(&self, keys: &str) {
        (&self.ours).write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn echoes(&self) -> bool {
        tcgetattr(&self.theirs).unwrap().local_modes.contains(LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Starts the command at this terminal, in a session of its own as a terminal window does; its output is watched through the
    /// terminal.
    pub(crate) fn start(&self, world: &World, arguments: &[&str]) -> AtTerminal {
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

/// A command at a terminal.
pub(crate) struct AtTerminal {
    pub(crate) child: Child,
    pub(crate) screen: Watch,
}

impl AtTerminal {
    pub(crate) fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for AtTerminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
