//! How the program ends: exit codes, and failures that are not the library's.

use std::io;

use grainchain::{Effect, Error, ErrorKind, Operation};

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u8);

impl Code {
    pub(crate) const OK: Self = Self(0);
    /// Something failed, in commands that run no program.
    pub(crate) const FAILED: Self = Self(1);
    /// The program's time ran out, as `timeout` says it.
    pub(crate) const TIMED_OUT: Self = Self(124);
    /// We failed, not the program, as `docker run` says it.
    pub(crate) const OURS: Self = Self(125);
    /// The program is there but cannot be executed, as shells say it.
    pub(crate) const NOT_EXECUTABLE: Self = Self(126);
    /// There is no such program, as shells say it.
    pub(crate) const NO_PROGRAM: Self = Self(127);
    /// Nobody reads what we print, as a shell says it of a program that SIGPIPE ended.
    pub(crate) const BROKEN_PIPE: Self = Self(128 + 13);

    /// The code of a program that ended with `code`, of which a system keeps the lowest eight bits.
    pub(crate) const fn of_shell(code: i32) -> Self {
        Self((code & 0xff) as u8)
    }
}

/// Why a command did not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library, a provider or an argument says why.
    Error(Error),
    /// The program could not be started.
    Start(Error),
    /// Nobody reads our output any more: the end, but nothing to complain about.
    BrokenPipe,
    /// A signal ended us; what we held is closed.
    Signal(i32),
}

impl Failure {
    /// What the failure of writing our own output means.
    pub(crate) fn printing(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::Error(Error::io("write the output", error))
        }
    }

    /// The exit code; `runs_programs` tells our failures from those of the program that was run.
    pub(crate) fn code(&self, runs_programs: bool) -> Code {
        match self {
            Self::BrokenPipe => Code::BROKEN_PIPE,
            Self::Signal(number) => Code::of_shell(128 + number),
            Self::Error(error) | Self::Start(error) if runs_programs && is_out_of_time(error) => {
                Code::TIMED_OUT
            }
            // A working directory that is missing is not a program that is missing.
            Self::Start(error) if error.failed_option().is_none() => match error.kind() {
                ErrorKind::NotFound => Code::NO_PROGRAM,
                ErrorKind::Denied => Code::NOT_EXECUTABLE,
                _ => Code::OURS,
            },
            Self::Error(_) | Self::Start(_) if runs_programs => Code::OURS,
            Self::Error(_) | Self::Start(_) => Code::FAILED,
        }
    }
}

/// Whether the time of a program or of code ran out. A program that never began had none: somebody else did not answer.
pub(crate) fn is_out_of_time(error: &Error) -> bool {
    let began = error.what_happened() != Effect::None;
    // Code may have spent its time waiting for its turn.
    error.kind() == ErrorKind::Timeout && (began || error.failed_operation() == Some(Operation::RunCode))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// What a command answers.
pub(crate) type Outcome = Result<Code, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_and_a_missing_sandbox_have_different_codes() {
        let error = || Error::not_found("x");
        assert_eq!(Failure::Start(error()).code(true), Code::NO_PROGRAM);
        assert_eq!(Failure::Error(error()).code(true), Code::OURS);
        assert_eq!(Failure::Error(error()).code(false), Code::FAILED);
        assert_eq!(Failure::Start(error().option("working_directory")).code(true), Code::OURS);
    }

    #[test]
    fn only_the_time_of_what_began_runs_out() {
        let error = || Error::new(ErrorKind::Timeout, "x");
        assert_eq!(Failure::Start(error()).code(true), Code::TIMED_OUT);
        assert_eq!(Failure::Start(error().effect(Effect::None)).code(true), Code::OURS);
        let code = error().effect(Effect::None).operation(Operation::RunCode);
        assert_eq!(Failure::Start(code).code(true), Code::TIMED_OUT);
    }

    #[test]
    fn a_code_beyond_a_byte_is_cut_as_systems_cut_it() {
        assert_eq!(Code::of_shell(256 + 7), Code(7));
        assert_eq!(Code::of_shell(-1), Code(255));
    }
}
