//! Our own terminal: its size, and handing every key to somebody else.

use std::io::IsTerminal;

use grainchain::{Error, PtySize, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The size of our terminal, when we have one.
pub(crate) fn size() -> Option<PtySize> {
    let size =
        tcgetwinsize(rustix::stdio::stdout()).or_else(|_| tcgetwinsize(rustix::stdio::stdin())).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some(PtySize { columns: size.ws_col, rows: size.ws_row })
}

/// Whether somebody may type at us.
pub(crate) fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Our terminal while it hands every key on, Ctrl-C included. Dropping it puts the terminal back as it was, also while a panic
/// unwinds.
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Hands every key on from now; none when stdin is no terminal.
    pub(crate) fn enter() -> Result<Option<Self>> {
        if !stdin_is_terminal() {
            return Ok(None);
        }
        let fail = |what| move |error: rustix::io::Errno| Error::io(what, error.into());
        let before = tcgetattr(rustix::stdio::stdin()).map_err(fail("look at the terminal"))?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &raw)
            .map_err(fail("set up the terminal"))?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Fails only when the terminal is gone, and then there is nothing to put back.
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before).ok();
    }
}
