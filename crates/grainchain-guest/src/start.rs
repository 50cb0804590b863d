//! From a command to a running process: checks, surroundings, streams, and words for what goes wrong.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use grainchain_core::tree::Root;
use grainchain_core::{Command, Content, Effect, Error, ErrorKind, Program, PtySize, Result};
use rustix::fs::{CWD, Mode, OFlags};

use crate::ending::Tree;
use crate::guest::Guest;
use crate::stdin::{self, Feed, Source};
use crate::sys::child::{Child, WaitStatus};
use crate::sys::pipe::{self, Capacity, Reader, Writer};
use crate::sys::pty::{Control, Pty, WindowSize};
use crate::sys::spawn::{Spawn, SpawnError, Step};
use crate::sys::tag::Marking;
use crate::users::Account;

/// What programs on a terminal are told it can do.
const TERMINAL: &str = "xterm-256color";

/// A command that runs, and our ends of its streams.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) tree: Tree,
    pub(crate) stdout: Reader,
    /// Absent on a terminal.
    pub(crate) stderr: Option<Reader>,
    pub(crate) input: Input,
    pub(crate) terminal: Option<Arc<Control>>,
    pub(crate) started_at: SystemTime,
    pub(crate) begun: Instant,
}

/// Our side of its standard input.
pub(crate) enum Input {
    /// There is none, or the child has it all.
    Done,
    /// To be polled until it is done.
    Feed(Feed),
    /// For whoever wants to write.
    Open(Writer),
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Done => "Done",
            Self::Feed(_) => "Feed",
            Self::Open(_) => "Open",
        })
    }
}

/// What becomes of a terminal's keyboard when the command was given no input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyboard {
    /// It types the end at once.
    Ended,
    /// It stays usable.
    Open,
}

struct Streams {
    stdio: [OwnedFd; 3],
    stdout: Reader,
    stderr: Option<Reader>,
    input: Input,
    terminal: Option<Arc<Control>>,
}

impl Guest {
    /// As [`start`](Self::start), when nothing is held still.
    pub(crate) async fn start_in_turn(
        &self,
        command: Command,
        capacity: Capacity,
        keyboard: Keyboard,
    ) -> Result<Started> {
        let _turn = self.shared.gate.turn_to_start().await;
        self.start(command, capacity, keyboard)
    }

    /// Starts `command`. Without an await in it, so that nothing can be dropped half-way.
    fn start(&self, mut command: Command, capacity: Capacity, keyboard: Keyboard) -> Result<Started> {
        command.validate()?;
        let user = self.user_of(command.user.as_deref())?;
        let source = Source::new(std::mem::take(&mut command.stdin))?;
        let directory = self.directory(command.working_directory.as_deref())?;
        let environment = self.environment(&command);
        let (program, arguments) = program(&command.program);
        let streams = match command.pty {
            Some(size) => Streams::on_terminal(size, source, keyboard),
            None => Streams::piped(source, capacity),
        };
        let streams = streams.map_err(|error| Error::io("open the command's streams", error))?;

        let [stdin, stdout, stderr] = &streams.stdio;
        let stdio: [BorrowedFd<'_>; 3] = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
        let mut spawn = Spawn::new(program, &arguments, &environment, stdio);
        spawn.working_directory = Some(directory.as_ref().unwrap_or(&self.shared.root).as_fd());
        spawn.controlling_terminal = command.pty.is_some();
        spawn.user = user;

        let (started_at, begun) = (SystemTime::now(), Instant::now());
        let (child, tree) = self.launch(spawn)?.map_err(|error| refused(error, &command, &environment))?;
        let Streams { stdio: _, stdout, stderr, input, terminal } = streams;
        Ok(Started { child, tree, stdout, stderr, input, terminal, started_at, begun })
    }

    /// Starts what is prepared, under a mark of its own by which the guest finds it again; refuses while nothing may be
    /// started.
    pub(crate) fn launch(&self, mut spawn: Spawn<'_>) -> Result<Result<(Child, Tree), SpawnError>> {
        let mark = self.shared.next_mark();
        spawn.mark = Some(mark);
        spawn.oom_score_adj = self.shared.config.oom_score_adj;
        spawn.user = spawn.user.or_else(|| self.shared.config.user.clone());
        let _startable = self.shared.gate.startable()?;
        Ok(spawn.start().map(|child| {
            if child.marking() == Marking::VariableOnly {
                self.shared.weakly_marked.store(true, Ordering::Relaxed);
            }
            let leaders = Arc::clone(&self.shared.leaders);
            let tree = Tree::new(mark, child.handle(), self.shared.depth(), leaders);
            (child, tree)
        }))
    }

    /// Whom a command runs as; none for the usual one.
    fn user_of(&self, wanted: Option<&str>) -> Result<Option<Account>> {
        let Some(wanted) = wanted else { return Ok(None) };
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if self.shared.config.user.is_none() {
            let (user, group) =
                wanted.split_once(':').map_or((wanted, None), |(user, group)| (user, Some(group)));
            let same = |wanted: &str, own: u32| wanted.parse() == Ok(own);
            if same(user, uid) && group.is_none_or(|group| same(group, gid)) {
                return Ok(None);
            }
            let remedy = format!("leave it out to run as {uid}:{gid}");
            return Err(Error::unsupported("running as another user", remedy).option("user"));
        }
        let account = Account::find(&self.shared.root, wanted)?;
        if account.uid == uid {
            // It could end the guest, and be taken for it.
            return Err(Error::new(ErrorKind::Denied, format!("the user {uid} is the sandbox's own guard"))
                .hint("run the command as any other")
                .option("user")
                .effect(Effect::None));
        }
        Ok(Some(account))
    }

    /// Where it starts; none for the root itself.
    pub(crate) fn directory(&self, wanted: Option<&str>) -> Result<Option<Root>> {
        let path = self.path(wanted.unwrap_or_default());
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        let opened = self.shared.root.subtree(&path);
        opened.map(Some).map_err(|error| {
            let error = Error::from(error);
            let mut named =
                Error::new(error.kind(), format!("cannot enter the working directory: {}", error.message()))
                    .hint(error.remedy().unwrap_or("make it first, or name another one"))
                    .effect(Effect::None);
            if wanted.is_some() {
                named = named.option("working_directory");
            }
            named.caused_by(error)
        })
    }

    pub(crate) fn environment(&self, command: &Command) -> Vec<(OsString, OsString)> {
        let base = &self.shared.environment;
        let mut all = Vec::with_capacity(base.len() + command.environment.len() + 1);
        if command.pty.is_some() {
            all.push(("TERM".into(), TERMINAL.into()));
        }
        all.extend_from_slice(base);
        all.extend(command.environment.iter().map(|(name, value)| (name.into(), value.into())));
        all
    }
}

impl Streams {
    fn piped(source: Source, capacity: Capacity) -> io::Result<Self> {
        let (stdout, stdout_theirs) = pipe::for_reading(capacity)?;
        let (stderr, stderr_theirs) = pipe::for_reading(capacity)?;
        let (stdin, input) = match source {
            Source::Nothing => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                (rustix::fs::openat(CWD, c"/dev/null", flags, Mode::empty())?, Input::Done)
            }
            Source::File(file) => (file, Input::Done),
            Source::Content(content) => {
                let (writer, theirs) = pipe::for_writing(capacity)?;
                (theirs, Input::Feed(stdin::feed(writer, Some(content), None)))
            }
            Source::Piped => {
                let (writer, theirs) = pipe::for_writing(capacity)?;
                (theirs, Input::Open(writer))
            }
        };
        let stdio = [stdin, stdout_theirs, stderr_theirs];
        Ok(Self { stdio, stdout, stderr: Some(stderr), input, terminal: None })
    }

    fn on_terminal(size: PtySize, source: Source, keyboard: Keyboard) -> io::Result<Self> {
        let pty = Pty::open(window(size))?;
        let stdio = [pty.slave.try_clone()?, pty.slave.try_clone()?, pty.slave.try_clone()?];
        let master = pty.into_master()?;
        let terminal = Arc::new(master.control);
        let content = match (source, keyboard) {
            (Source::Nothing, Keyboard::Ended) => Some(None),
            (Source::Content(content), _) => Some(Some(content)),
            (Source::File(file), _) => Some(Some(Content::from_file(file.into(), u64::MAX))),
            (Source::Nothing, Keyboard::Open) | (Source::Piped, _) => None,
        };
        let input = match content {
            Some(content) => Input::Feed(stdin::feed(master.writer, content, Some(Arc::clone(&terminal)))),
            None => Input::Open(master.writer),
        };
        Ok(Self { stdio, stdout: master.reader, stderr: None, input, terminal: Some(terminal) })
    }
}

pub(crate) fn window(size: PtySize) -> WindowSize {
    WindowSize { columns: size.columns, rows: size.rows }
}

/// How it ended, in the words of the facets.
pub(crate) fn exit_status(status: WaitStatus) -> Result<grainchain_core::ExitStatus> {
    Ok(match status {
        WaitStatus::Exited(code) => grainchain_core::ExitStatus::Code(code),
        WaitStatus::Signaled { signal, .. } => {
            grainchain_core::ExitStatus::Signal(grainchain_core::Signal::new(signal)?)
        }
    })
}

fn program(program: &Program) -> (&OsStr, Vec<OsString>) {
    match program {
        Program::Argv(argv) => {
            let (program, arguments) = argv.split_first().map_or(("", argv.as_slice()), |(p, a)| (p, a));
            (OsStr::new(program), arguments.iter().map(OsString::from).collect())
        }
        Program::Shell(line) => (OsStr::new("/bin/sh"), vec!["-c".into(), line.into()]),
        _ => (OsStr::new(""), Vec::new()),
    }
}

pub(crate) fn refused(error: SpawnError, command: &Command, environment: &[(OsString, OsString)]) -> Error {
    let errno = error.source.raw_os_error();
    let kind = match (error.step, errno) {
        (Step::Interpreter, _) | (Step::Program, Some(libc::ENOENT | libc::ENOTDIR)) => ErrorKind::NotFound,
        (_, Some(libc::EACCES | libc::EPERM)) => ErrorKind::Denied,
        (Step::Arguments, _)
        | (Step::Program, Some(libc::ENOEXEC | libc::E2BIG | libc::ELOOP | libc::ENAMETOOLONG)) => {
            ErrorKind::BadRequest
        }
        (Step::Program, Some(libc::ETXTBSY)) => ErrorKind::Conflict,
        (_, Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE)) => ErrorKind::Exhausted,
        _ => ErrorKind::Unexpected,
    };
    let hint = match (&command.program, error.step, errno) {
        (Program::Shell(_), Step::Program, Some(libc::ENOENT)) => {
            Some("there is no shell here; pass the command as a list of program and arguments".to_owned())
        }
        (Program::Argv(argv), Step::Program, Some(libc::ENOENT)) => Some(match argv.first() {
            Some(name) if name.contains('/') => "a name with a slash is not searched in PATH".to_owned(),
            _ => format!("it was looked for in PATH={:?}", search_path(environment)),
        }),
        (_, Step::Interpreter, _) => {
            Some("install the interpreter, or correct the script's first line".into())
        }
        (_, _, Some(libc::E2BIG)) => Some("pass large data through stdin or a file".to_owned()),
        (_, Step::Clone, _) => Some("the limit of processes or memory is reached".to_owned()),
        _ => None,
    };
    let mapped = Error::new(kind, error.to_string()).effect(Effect::None);
    let mapped = match hint {
        Some(hint) => mapped.hint(hint),
        None => mapped,
    };
    mapped.caused_by(error)
}

pub(crate) fn search_path(environment: &[(OsString, OsString)]) -> &OsStr {
    let path = environment.iter().rev().find(|(name, _)| name == "PATH");
    path.map_or(OsStr::new("/bin:/usr/bin"), |(_, value)| value)
}
