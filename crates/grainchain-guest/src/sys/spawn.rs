//! Starts a program in a session of its own, marked, with nothing of ours left open.

use std::{
    ffi::{CString, OsStr, OsString, c_char},
    fmt, io,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    ptr,
};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::users::Account;

use super::{
    child::Child,
    image::Image,
    launch::{self, Failure, Identity, Plan, Refusal},
    tag::{self, Carrier, Mark, Marking},
};

/// What to start and how. Fields not mentioned in [`Spawn::new`] are optional and empty at first.
#[derive(Debug)]
pub(crate) struct Spawn<'a> {
    /// A path if it contains a slash (relative to the child's working directory); otherwise a name that is
    /// looked for in the `PATH` of `environment`, or in `/bin:/usr/bin` if it has none.
    pub(crate) program: &'a OsStr,
    /// Without the program's own name.
    pub(crate) arguments: &'a [OsString],
    /// What the program is told its name is; `program` if absent.
    pub(crate) argument_zero: Option<&'a OsStr>,
    /// Complete: nothing is inherited. Of two equal names the later counts.
    pub(crate) environment: &'a [(OsString, OsString)],
    /// Standard input, output and error; any descriptors, also equal ones.
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    /// What the program finds as descriptors 3 and 4; any descriptors.
    pub(crate) channel: Option<[BorrowedFd<'a>; 2]>,
    /// An open folder; ours if absent. Entered as the new user.
    pub(crate) working_directory: Option<BorrowedFd<'a>>,
    /// Makes standard input, which must be a terminal, the session's controlling terminal.
    pub(crate) controlling_terminal: bool,
    pub(crate) umask: Option<u32>,
    /// Whom the program runs as; all three ids of each kind are set, and none of our groups stay.
    pub(crate) user: Option<Account>,
    pub(crate) mark: Option<Mark>,
    /// Written to `/proc/self/oom_score_adj`, before the user changes and whoever may write to our files by then.
    pub(crate) oom_score_adj: Option<i16>,
}

impl<'a> Spawn<'a> {
    pub(crate) fn new(
        program: &'a OsStr,
        arguments: &'a [OsString],
        environment: &'a [(OsString, OsString)],
        stdio: [BorrowedFd<'a>; 3],
    ) -> Self {
        Self {
            program,
            arguments,
            argument_zero: None,
            environment,
            stdio,
            channel: None,
            working_directory: None,
            controlling_terminal: false,
            umask: None,
            user: None,
            mark: None,
            oom_score_adj: None,
        }
    }

    /// Starts it, and returns when the child has become the program.
    ///
    /// Blocks the thread for as long as `execve` takes (microseconds to milliseconds). The child is the leader
    /// of a new session and process group, with every signal unblocked and at its default, and no descriptor
    /// but the three, and the two of the channel if there is one.
    ///
    /// # Errors
    ///
    /// Names the step that failed. No child is left behind.
    pub(crate) fn start(&self) -> Result<Child, SpawnError> {
        let refuse = |step, source| SpawnError { step, source, program: self.shown(), interpreter: None };

        let variable = self.mark.map(|mark| (tag::VARIABLE, mark.to_variable()));
        let image = Image::new(self.program, self.argument_zero, self.arguments, self.environment, variable)
            .map_err(|source| refuse(Step::Arguments, source))?;
        let candidates: Vec<*const c_char> =
            image.candidates.iter().map(|path| path.as_ptr()).chain([ptr::null()]).collect();
        let carrier = self.mark.and_then(|_| Carrier::free());
        let marking = match (self.mark, carrier) {
            (None, _) => Marking::None,
            (Some(_), Some(carrier)) => Marking::Limit(carrier),
            (Some(_), None) => Marking::VariableOnly,
        };
        let oom_score = self.oom_score_adj.map(|score| score.to_string());

        let plan = Plan {
            candidates: candidates.as_ptr(),
            searched: !self.program.as_bytes().contains(&b'/'),
            arguments: image.arguments.as_ptr(),
            environment: image.environment.as_ptr(),
            stdio: self.stdio.map(|fd| fd.as_raw_fd()),
            channel: self.channel.map(|channel| channel.map(|fd| fd.as_raw_fd())),
            working_directory: self.working_directory.map(|fd| fd.as_raw_fd()),
            controlling_terminal: self.controlling_terminal,
            umask: self.umask,
            identity: self.user.as_ref().map(|user| Identity {
                uid: user.uid,
                gid: user.gid,
                groups: user.groups.as_ptr(),
                group_count: user.groups.len(),
            }),
            limit: self.mark.zip(carrier).map(|(mark, carrier)| (carrier.resource(), mark.to_limit())),
            oom_score: oom_score.as_ref().map(|text| (text.as_ptr(), text.len())),
        };
        #[expect(unsafe_code, reason = "the plan is a bundle of pointers")]
        // SAFETY: all of them point into values above that live to the end of this function, and the arrays
        // end with null.
        let launch = || unsafe { launch::launch(&plan) };
        let mut launched = launch();
        if let Err(Refusal::Child(Failure { errno: libc::ETXTBSY, .. })) = launched {
            // Whoever has just written the program may have closed it while another half-started child of ours
            // still had a copy of the descriptor. Once those have become their programs, that is over.
            drop(launch::hold());
            launched = launch();
        }
        match launched {
            Ok((pid, pidfd)) => Ok(Child::new(pid, pidfd, marking)),
            Err(Refusal::Clone(source)) => Err(refuse(Step::Clone, source)),
            Err(Refusal::Child(failure)) => {
                let mut error = refuse(failure.step, io::Error::from_raw_os_error(failure.errno));
                error.interpreter = self.interpreter(&image.candidates, failure);
                Err(error)
            }
        }
    }

    fn shown(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    /// The name in the script's first line, for the message. The script may be hostile by now: no waiting, no
    /// reading without end.
    fn interpreter(&self, candidates: &[CString], failure: Failure) -> Option<String> {
        if failure.step != Step::Interpreter {
            return None;
        }
        let path = candidates.get(failure.candidate)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let folder = self.working_directory.unwrap_or(CWD);
        let script = rustix::fs::openat(folder, path.as_c_str(), flags, Mode::empty()).ok()?;
        if FileType::from_raw_mode(rustix::fs::fstat(&script).ok()?.st_mode) != FileType::RegularFile {
            return None;
        }
        let mut start = [0; 256];
        let length = rustix::io::read(&script, &mut start).ok()?;
        let line = start.get(..length)?.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
        let name = line.split(|byte| byte.is_ascii_whitespace()).find(|word| !word.is_empty())?;
        // A carriage return counts as white space above, but to the kernel it is a part of the name.
        let windows = line.ends_with(b"\r");
        Some(format!("{}{}", String::from_utf8_lossy(name), if windows { "\\r" } else { "" }))
    }
}

/// What was being done when a start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Preparing arguments and environment.
    Arguments,
    /// Creating the process.
    Clone,
    /// Starting a session.
    Session,
    /// Setting the limit that marks it.
    Mark,
    /// Writing the score.
    OomScore,
    /// Placing the standard descriptors.
    Stdio,
    /// Taking the controlling terminal.
    Terminal,
    /// Setting the supplementary groups.
    Groups,
    /// Setting the group.
    Group,
    /// Setting the user.
    User,
    /// Entering the working directory.
    WorkingDirectory,
    /// Closing our descriptors; `ENOSYS` before Linux 5.9.
    Descriptors,
    /// Unblocking signals.
    Signals,
    /// The program: `ENOENT` not found, `EACCES` found but not executable, `ENOEXEC` no known format.
    Program,
    /// The program is there, but what should run it is not: a script's first line, or a binary's loader.
    Interpreter,
}

/// Why a program did not start.
#[derive(Debug)]
pub(crate) struct SpawnError {
    pub(crate) step: Step,
    pub(crate) source: io::Error,
    program: String,
    interpreter: Option<String>,
}

impl SpawnError {
    /// There is no such program. False for a missing interpreter.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self.step, Step::Program | Step::Arguments) && self.source.kind() == io::ErrorKind::NotFound
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot start {:?}: ", self.program)?;
        let doing = match self.step {
            Step::Program if self.source.raw_os_error() == Some(libc::ENOENT) => {
                return f.write_str("no such program; check the name and PATH");
            }
            Step::Program if self.source.raw_os_error() == Some(libc::EACCES) => {
                return f.write_str(
                    "permission denied; it is not an executable file or a folder above it is closed",
                );
            }
            Step::Program if self.source.raw_os_error() == Some(libc::ENOEXEC) => {
                return f.write_str("no known format; a script needs a first line such as #!/bin/sh");
            }
            Step::Interpreter => {
                return match &self.interpreter {
                    Some(name) => write!(f, "its interpreter {name:?} does not exist"),
                    None => f.write_str("it exists, but the loader that it names does not"),
                };
            }
            Step::Arguments => "arguments",
            Step::Clone => "new process",
            Step::Session => "new session",
            Step::Mark => "mark",
            Step::OomScore => "oom_score_adj",
            Step::Stdio => "standard streams",
            Step::Terminal => "controlling terminal",
            Step::Groups => "supplementary groups",
            Step::Group => "group",
            Step::User => "user",
            Step::WorkingDirectory => "working directory",
            Step::Descriptors => "closing descriptors",
            Step::Signals => "signals",
            Step::Program => "exec",
        };
        write!(f, "{doing}: {}", self.source)
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
