//! The signals that people and systems end programs with.

use grainchain::{Error, Result, Signal};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// The signals that end us by themselves when nobody listens. From its making on we decide.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Stream,
    terminate: Stream,
    hang_up: Stream,
    quit: Stream,
    resize: Stream,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Ctrl-C.
    Interrupt,
    /// Somebody wants us gone: this signal.
    End(Signal),
    /// Our terminal has another size.
    Resize,
}

impl Event {
    /// The signal to end with.
    pub(crate) fn ends(self) -> Option<Signal> {
        match self {
            Self::Interrupt => Some(Signal::INT),
            Self::End(signal) => Some(signal),
            Self::Resize => None,
        }
    }
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self> {
        let open = |kind| signal(kind).map_err(|error| Error::io("listen for signals", error));
        Ok(Self {
            interrupt: open(SignalKind::interrupt())?,
            terminate: open(SignalKind::terminate())?,
            hang_up: open(SignalKind::hangup())?,
            quit: open(SignalKind::quit())?,
            resize: open(SignalKind::window_change())?,
        })
    }

    /// The next one. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.interrupt.recv() => Event::Interrupt,
            _ = self.terminate.recv() => Event::End(Signal::TERM),
            _ = self.hang_up.recv() => Event::End(Signal::HUP),
            _ = self.quit.recv() => Event::End(Signal::QUIT),
            _ = self.resize.recv() => Event::Resize,
        }
    }

    /// The next one that ends programs.
    pub(crate) async fn end(&mut self) -> Signal {
        loop {
            if let Some(signal) = self.next().await.ends() {
                return signal;
            }
        }
    }
}
