//! How the benchmark is set: the only reader of the environment here.

use std::path::PathBuf;

use grainchain::config::environment;
use grainchain::docker::GuestKind;
use grainchain::{ByteSize, Error, Result};
use serde_json::json;

/// The socket when `DOCKER_HOST` names none.
const SOCKET: &str = "/var/run/docker.sock";

const GUEST: &str = "GRAINCHAIN_BENCH_GUEST";
const SHORTCUT: &str = "GRAINCHAIN_BENCH_SHORTCUT";
const SIZE: &str = "GRAINCHAIN_BENCH_SIZE";
const ROUNDS: &str = "GRAINCHAIN_BENCH_ROUNDS";

/// What the environment asks for.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The engine's socket: that of `DOCKER_HOST`, else the usual one.
    pub(crate) socket: PathBuf,
    /// `GRAINCHAIN_BENCH_GUEST`: what runs commands in our sandboxes, `helper` by default.
    pub(crate) guest: GuestKind,
    /// `GRAINCHAIN_BENCH_SHORTCUT`: `false` reaches helpers by way of the engine, as everybody but root does.
    pub(crate) shortcut: bool,
    /// `GRAINCHAIN_BENCH_SIZE`: how large the large file is, `1GiB` by default; smaller for a try.
    pub(crate) size: ByteSize,
    /// `GRAINCHAIN_BENCH_ROUNDS`: how often anything is done at most; for a try.
    rounds: usize,
}

impl Settings {
    /// Reads them.
    pub(crate) fn load() -> Result<Self> {
        let socket = match environment("DOCKER_HOST") {
            None => SOCKET.into(),
            Some(host) => host.strip_prefix("unix://").map(PathBuf::from).ok_or_else(|| {
                Error::config(format!("DOCKER_HOST is `{host}`, which is no socket of this machine"))
                    .hint("measure on the engine's own machine, with unix:///path/to/docker.sock")
            })?,
        };
        let guest = environment(GUEST).unwrap_or_else(|| "helper".to_owned());
        let guest = serde_json::from_value(json!(guest)).map_err(|_| {
            Error::config(format!("there is no guest `{guest}`")).hint("use helper or engine").option(GUEST)
        })?;
        let shortcut = match environment(SHORTCUT) {
            None => true,
            Some(shortcut) => shortcut.parse().map_err(|_| {
                Error::config(format!("`{shortcut}` says neither yes nor no"))
                    .hint("write true or false")
                    .option(SHORTCUT)
            })?,
        };
        let size = match environment(SIZE) {
            None => ByteSize::gib(1),
            Some(size) => size.parse().map_err(|error: Error| error.option(SIZE))?,
        };
        let rounds = match environment(ROUNDS) {
            None => usize::MAX,
            Some(rounds) => rounds.parse().ok().filter(|rounds| *rounds > 0).ok_or_else(|| {
                Error::config(format!("`{rounds}` is no number of rounds"))
                    .hint("write 1 or more")
                    .option(ROUNDS)
            })?,
        };
        Ok(Self { socket, guest, shortcut, size, rounds })
    }

    /// How often to do what should be done `wanted` times.
    pub(crate) fn rounds(&self, wanted: usize) -> usize {
        self.rounds.min(wanted)
    }
}
