//! Commands by the engine's own exec: they run to their end, and what a timeout leaves is looked for by its mark.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use grainchain_core::facet::Exec;
use grainchain_core::types::id::random_id;
use grainchain_core::{
    Capability, Collector, Command, Content, Effect, Error, ErrorKind, ExitStatus, Output, Program,
    RESERVED_VARIABLE, Result, Stdin,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OwnedRwLockReadGuard;
use tokio::time::Instant;

use crate::asleep;
use crate::engine::{Engine, ExecStart, Frames, Hijacked, Stream};
use crate::options::absolute;
use crate::refusal::{StartFailure, too_long};
use crate::sandbox::DockerSandbox;

/// How much is read at once: one frame of the engine's.
const CHUNK: usize = 64 * 1024;

/// How often the engine is asked for the exit code of a command whose streams have ended.
const LOOKS: u32 = 50;

/// The pause before the engine is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// Kills whatever carries the mark `$1` in its environment, twice: what forks while the first look goes on is met by the second.
const SWEEP: &str = "for i in 1 2; do for d in /proc/[0-9]*; do tr '\\0' '\\n' <$d/environ 2>/dev/null | grep -qxF \"$1\" && kill -9 ${d#/proc/} 2>/dev/null; done; done; :";

#[async_trait]
impl Exec for DockerSandbox {
    async fn execute(&self, command: Command) -> Result<Output> {
        command.validate()?;
        if command.pty.is_some() {
            return Err(Capability::Pty.unsupported().option("pty"));
        }
        let content = match command.stdin {
            Stdin::Null => None,
            Stdin::Content(content) => Some(content),
            _ => {
                return Err(Error::bad_request(
                    "nobody could write to the input of a command that runs to its end",
                )
                .hint("give the whole input")
                .option("stdin"));
            }
        };
        let working_directory = match &command.working_directory {
            Some(path) => absolute(&self.identity.config.working_directory, path).ok_or_else(|| {
                Error::bad_request(format!("`{}` leaves the root", path.escape_debug()))
                    .hint("name a directory of the sandbox")
                    .option("working_directory")
            })?,
            None => self.identity.config.working_directory.clone(),
        };
        let argv = match command.program {
            Program::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line],
            Program::Argv(argv) => argv,
            _ => return Err(Error::unsupported("this kind of command", "use a line or a list")),
        };
        let mark = random_id("c");
        let mut environment: BTreeMap<String, String> = command.environment;
        environment.insert(RESERVED_VARIABLE.to_owned(), mark.clone());
        too_long(&argv, &environment)?;
        let shown = argv.first().cloned().unwrap_or_default();
        let mut start = ExecStart::new(argv, &environment, working_directory);
        start.user = command.user;
        start.attach_stdin = content.is_some();
        let failure =
            StartFailure { program: shown, directory: start.working_dir.clone(), user: start.user.clone() };

        let mut run = Run {
            started_at: SystemTime::now(),
            begun: Instant::now(),
            stdout: Collector::new(command.output_limit),
            stderr: Collector::new(command.output_limit),
            frames: 0,
        };
        let mut reaper = Reaper {
            engine: self.engine.clone(),
            container: self.container.clone(),
            mark,
            user: start.user.clone(),
            armed: false,
        };
        let timeout = command.timeout;
        let work = async {
            let moving = Arc::clone(&self.still).read_owned().await;
            let id = self.engine.exec_create(&self.container, &start).await.map_err(ended)?;
            reaper.armed = true;
            let hijacked = self.engine.exec_start(&id).await.map_err(ended)?;
            tokio::select! {
                followed = run.follow(hijacked, content) => followed?,
                never = self.release(&id, moving) => match never {},
            }
            reaper.armed = false;
            self.exit_code(&id).await
        };
        let code = match timeout {
            Some(timeout) => match tokio::time::timeout(timeout, work).await {
                Ok(code) => code,
                Err(_) => {
                    return Err(Error::new(
                        ErrorKind::Timeout,
                        format!("the command did not end within its timeout of {timeout:?}"),
                    )
                    .hint("give it more time, or ask it for less")
                    .output(run.output(None)));
                }
            },
            None => work.await,
        };
        let code = match code {
            Ok(code) => code,
            Err(error) => return Err(asleep::explained(&self.engine, &self.container, error).await),
        };
        let frames = run.frames;
        let output = run.output(Some(ExitStatus::Code(code)));
        match failure.told_by(code, frames, &output) {
            Some(error) => Err(error),
            None => Ok(output),
        }
    }
}

impl DockerSandbox {
    /// Lets snapshots go on once the command has been started: a commit freezes the container, and what is to start in that moment
    /// fails.
    async fn release(&self, id: &str, moving: OwnedRwLockReadGuard<bool>) -> Infallible {
        loop {
            tokio::time::sleep(PAUSE).await;
            match self.engine.exec_inspect(id).await {
                Ok(state) if state.pid == 0 && state.exit_code.is_none() => {}
                // Also when nobody can tell: its own streams will.
                _ => break,
            }
        }
        drop(moving);
        std::future::pending().await
    }

    async fn exit_code(&self, id: &str) -> Result<i32> {
        for _ in 0..LOOKS {
            let state = self.engine.exec_inspect(id).await.map_err(ended)?;
            if let Some(code) = state.exit_code.filter(|_| !state.running) {
                return Ok(code);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Error::new(ErrorKind::Connection, "the command's streams broke off while it went on")
            .hint("look what it did before running it again")
            .effect(Effect::Done))
    }
}

/// A container that is there no more, or stands still, is a closed or paused sandbox.
fn ended(error: Error) -> Error {
    let is_over = error.kind() == ErrorKind::NotFound
        || (error.kind() == ErrorKind::Conflict && error.message().contains("is not running"));
    if is_over { crate::engine::gone().caused_by(error) } else { error }
}

/// One command, as far as it has come.
struct Run {
    started_at: SystemTime,
    begun: Instant,
    stdout: Collector,
    stderr: Collector,
    frames: u32,
}

impl Run {
    /// Takes both outputs until they end, while the input is given.
    async fn follow(&mut self, hijacked: Hijacked, content: Option<Content>) -> Result<()> {
        let Hijacked { pipe, early: mut buffer } = hijacked;
        let (mut reader, mut writer) = tokio::io::split(pipe);
        let give = async move {
            if let Some(content) = content {
                let mut chunks = content.into_stream();
                while let Some(chunk) = futures_util::StreamExt::next(&mut chunks).await {
                    // A command need not read its input.
                    if writer.write_all(&chunk?).await.is_err() {
                        break;
                    }
                }
                writer.shutdown().await.ok();
            }
            // Kept open until the output has ended: some engines take the end of the writing for the end of everything.
            std::future::pending::<Result<()>>().await
        };
        let take = async {
            let mut frames = Frames::default();
            loop {
                while let Some(piece) = frames.next(&mut buffer)? {
                    self.frames += u32::from(piece.first);
                    match piece.stream {
                        Stream::Stdout => self.stdout.push(&piece.bytes),
                        Stream::Stderr => self.stderr.push(&piece.bytes),
                        Stream::Engine => {
                            let said = String::from_utf8_lossy(&piece.bytes).into_owned();
                            return Err(crate::error::told("follow the command", None, &said));
                        }
                    }
                }
                buffer.reserve(CHUNK);
                let count = reader
                    .read_buf(&mut buffer)
                    .await
                    .map_err(|cause| Error::io("follow the command", cause))?;
                if count == 0 {
                    return if frames.is_whole(&buffer) { Ok(()) } else { Err(broke_off()) };
                }
            }
        };
        tokio::select! {
            taken = take => taken,
            given = give => given,
        }
    }

    fn output(self, status: Option<ExitStatus>) -> Output {
        Output::new(status, self.stdout.finish(), self.stderr.finish(), self.started_at, self.begun.elapsed())
    }
}

fn broke_off() -> Error {
    Error::new(ErrorKind::Connection, "the command's output broke off")
        .hint("look what it did before running it again")
        .effect(Effect::Done)
}

/// Looks for what is left of a command that nobody waits for any more, and kills it.
struct Reaper {
    engine: Engine,
    container: String,
    mark: String,
    user: Option<String>,
    armed: bool,
}

impl Drop for Reaper {
    fn drop(&mut self) {
        let Some(runtime) = tokio::runtime::Handle::try_current().ok().filter(|_| self.armed) else { return };
        let (engine, container, user) = (self.engine.clone(), self.container.clone(), self.user.take());
        let mark = format!("{RESERVED_VARIABLE}={}", self.mark);
        runtime.spawn(async move {
            if let Err(error) = sweep(&engine, &container, mark, user).await {
                tracing::debug!(%error, "what is left of a command could not be looked for");
            }
        });
    }
}

async fn sweep(engine: &Engine, container: &str, mark: String, user: Option<String>) -> Result<()> {
    let argv = ["/bin/sh", "-c", SWEEP, "sweep", &mark].map(str::to_owned).to_vec();
    let mut start = ExecStart::new(argv, &BTreeMap::new(), "/".to_owned());
    start.user = user;
    let id = engine.exec_create(container, &start).await?;
    let Hijacked { mut pipe, .. } = engine.exec_start(&id).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink())
        .await
        .map_err(|cause| Error::io("look for what is left", cause))?;
    Ok(())
}
