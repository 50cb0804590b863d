//! A pseudo terminal: the master for us, the slave for the child.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{SpecialCodeIndex, Winsize, tcgetattr, tcsetwinsize},
};

use super::pipe::{Reader, Writer, set_nonblocking};

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowSize {
    pub(crate) columns: u16,
    pub(crate) rows: u16,
}

/// Both sides of a new terminal with the kernel's default settings (echo, line editing, signals by key).
#[derive(Debug)]
pub(crate) struct Pty {
    master: OwnedFd,
    /// For the child's three standard descriptors. Drop it after the start, or the end is never seen.
    pub(crate) slave: OwnedFd,
}

/// Our side, after the child has got its own.
#[derive(Debug)]
pub(crate) struct Master {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) control: Control,
}

/// Changes the terminal's size.
#[derive(Debug)]
pub(crate) struct Control {
    fd: OwnedFd,
}

impl Pty {
    /// Opens a pair. The slave is opened through the master and not by its name, so a private or missing
    /// `/dev/pts` does not matter.
    ///
    /// # Errors
    ///
    /// When there is no `/dev/ptmx` or terminals have run out.
    pub(crate) fn open(size: WindowSize) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        set_nonblocking(&master)?;
        resize(&master, size)?;
        Ok(Self { master, slave })
    }

    /// Closes our copy of the slave and makes the master asynchronous.
    ///
    /// # Errors
    ///
    /// When descriptors have run out. Panics outside a runtime with I/O enabled.
    pub(crate) fn into_master(self) -> io::Result<Master> {
        let control = Control { fd: self.master.try_clone()? };
        let writer = Writer::new(self.master.try_clone()?)?;
        Ok(Master { reader: Reader::new(self.master)?, writer, control })
    }
}

impl Control {
    /// Sets the size; the foreground processes get `SIGWINCH`.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn resize(&self, size: WindowSize) -> io::Result<()> {
        resize(&self.fd, size)
    }

    /// The character that means the end of the input, as the terminal is set at the moment.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn end_of_file(&self) -> io::Result<u8> {
        Ok(tcgetattr(&self.fd)?.special_codes[SpecialCodeIndex::VEOF])
    }
}

fn resize(fd: &impl AsFd, size: WindowSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(fd, size)?)
}
