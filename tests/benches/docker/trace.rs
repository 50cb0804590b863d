//! Finds a command's processes from outside, by a number that stands in their command lines and nowhere else.

use std::fs;
use std::time::Duration;

use grainchain::{Error, Result};

use crate::raw::Raw;

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The processes of this machine: the engine's are among them. Takes a few milliseconds.
    Here,
    /// The engine's own list, which takes longer than what is to be measured.
    Engine,
}

/// The trace of one command.
#[derive(Debug)]
pub(crate) struct Trace {
    number: String,
    place: Place,
}

impl Trace {
    pub(crate) fn new(round: usize) -> Self {
        let number = 200_000_000 + u64::from(std::process::id()) % 1_000_000 * 100 + round as u64 % 100;
        Self { number: number.to_string(), place: Place::Here }
    }

    /// A command that sleeps and leaves the trace.
    pub(crate) fn command(&self) -> String {
        format!("sleep {}", self.number)
    }

    /// Finds a place where `least` processes or more are seen.
    pub(crate) async fn begin(&mut self, raw: &Raw, container: &str, least: usize) -> Result<()> {
        for place in [Place::Here, Place::Engine] {
            self.place = place;
            if self.count(raw, container).await? >= least {
                return Ok(());
            }
        }
        Err(Error::unexpected("the command's processes are seen nowhere"))
    }

    /// Waits until none is seen.
    pub(crate) async fn end(&self, raw: &Raw, container: &str) -> Result<()> {
        // So long no timeout takes to be kept, and no engine to answer.
        let patience = Duration::from_secs(20);
        let wait = async {
            while self.count(raw, container).await? > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        };
        let never = |_| Error::unexpected(format!("processes are left {patience:?} after their timeout"));
        tokio::time::timeout(patience, wait).await.map_err(never)?
    }

    async fn count(&self, raw: &Raw, container: &str) -> Result<usize> {
        if self.place == Place::Engine {
            let lines = raw.processes(container).await?;
            return Ok(lines.iter().filter(|line| line.contains(&self.number)).count());
        }
        let processes = fs::read_dir("/proc").map_err(|error| Error::io("list the processes", error))?;
        let is_ours = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            let is_process = name.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit);
            // One that ends meanwhile has none, and neither has one that waits to be buried.
            is_process
                && fs::read(entry.path().join("cmdline")).is_ok_and(|line| {
                    line.windows(self.number.len()).any(|part| part == self.number.as_bytes())
                })
        };
        Ok(processes.filter_map(std::result::Result::ok).filter(is_ours).count())
    }
}
