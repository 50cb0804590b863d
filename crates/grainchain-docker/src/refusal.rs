//! Commands that could not be started: the engine tells it where a program's output would be.

use std::collections::BTreeMap;

use grainchain_core::{Effect, Error, ErrorKind, Output, Result};

/// The longest argument or variable that a kernel takes, its end mark included.
const LONGEST: usize = 128 * 1024;

/// How much all of them may come to: a quarter of the usual stack, less what the engine and the kernel add.
const LONGEST_TOGETHER: usize = 2 * 1024 * 1024 - 64 * 1024;

/// Refuses what no kernel would start. The engine would tell it as the output of a program that ended with 1.
///
/// # Errors
///
/// `BadRequest` for a single one, `Exhausted` for all together.
pub(crate) fn too_long(argv: &[String], environment: &BTreeMap<String, String>) -> Result<()> {
    let arguments = argv.iter().map(String::len);
    let variables = environment.iter().map(|(name, value)| name.len() + 1 + value.len());
    let mut together = 0;
    for length in arguments.chain(variables) {
        if length + 1 > LONGEST {
            return Err(Error::bad_request(format!(
                "an argument or variable of {length} bytes is longer than the {LONGEST} that a kernel takes"
            ))
            .hint("pass it through stdin or a file"));
        }
        together += length + 1 + size_of::<usize>();
    }
    if together > LONGEST_TOGETHER {
        return Err(Error::new(
            ErrorKind::Exhausted,
            format!("{together} bytes of arguments and variables are more than a kernel takes"),
        )
        .hint("pass them through stdin or a file")
        .effect(Effect::None));
    }
    Ok(())
}

/// What is needed to say why a command could not be started.
#[derive(Clone, Debug)]
pub(crate) struct StartFailure {
    pub(crate) program: String,
    pub(crate) directory: String,
    pub(crate) user: Option<String>,
}

impl StartFailure {
    /// The error, if `output` is the engine's complaint and no program's: the code for it, one frame alone, its words, its line end.
    pub(crate) fn told_by(&self, code: i32, frames: u32, output: &Output) -> Option<Error> {
        if !(126..=127).contains(&code) || frames != 1 {
            return None;
        }
        let spoken = if output.stderr.total() == 0 { &output.stdout } else { &output.stderr };
        let text = spoken.text().into_owned();
        let is_engines =
            ["OCI runtime exec failed", "unable to find user", "Error: runc: exec failed", "Error: crun:"]
                .iter()
                .any(|words| text.starts_with(words));
        // A program that repeats those words does not end its lines like this. Podman does not either, but says `Error:`.
        if !is_engines || !(text.ends_with("\r\n") || text.starts_with("Error: ")) {
            return None;
        }
        let lower = text.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let error = if says(&["unable to find user", "no matching entries in passwd", "unable to find group"])
        {
            let user = self.user.as_deref().unwrap_or("of the sandbox");
            Error::not_found(format!("there is no user `{}`", user.escape_debug()))
                .hint("name a user of the image, or a number")
                .option("user")
        } else if says(&["chdir to cwd", "mkdir "])
            || lower.contains(&format!("chdir {}", self.directory.to_lowercase()))
        {
            let shown = self.directory.escape_debug();
            let error = if says(&["not a directory"]) {
                Error::bad_request(format!("the working directory `{shown}` is no directory"))
            } else if says(&["permission denied"]) {
                Error::new(ErrorKind::Denied, format!("the working directory `{shown}` may not be entered"))
            } else {
                Error::not_found(format!("there is no working directory `{shown}`"))
            };
            error.hint("make it first, or choose another one").option("working_directory")
        } else if says(&["paused container", "is paused"]) {
            Error::new(ErrorKind::Conflict, "the sandbox stood still while the command was to start")
                .hint("try again")
                .retryable(None)
        } else if says(&["argument list too long"]) {
            Error::new(ErrorKind::Exhausted, "the arguments and variables are more than the kernel takes")
                .hint("pass them through stdin or a file")
        } else if says(&["permission denied", "is a directory"]) {
            Error::new(ErrorKind::Denied, format!("`{}` may not be executed", self.program.escape_debug()))
                .hint("make it executable, or name the interpreter in front of it")
        } else if says(&["executable file not found", "no such file or directory"]) {
            Error::not_found(format!(
                "there is no program `{}`, or its interpreter is missing",
                self.program.escape_debug()
            ))
            .hint("install it in the image, or correct PATH")
        } else if says(&["exec format error"]) {
            Error::bad_request(format!("`{}` is no program for this processor", self.program.escape_debug()))
                .hint("choose an image for this platform")
        } else {
            Error::new(
                ErrorKind::Server,
                format!("the engine could not start `{}`", self.program.escape_debug()),
            )
            .hint("look into the engine's log")
        };
        Some(error.effect(Effect::None))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use grainchain_core::{Capture, ExitStatus};

    use super::*;

    fn told(code: i32, text: &str) -> Option<Error> {
        let failure = StartFailure {
            program: "tool".into(),
            directory: "/not/there".into(),
            user: Some("nobody-here".into()),
        };
        let output = Output::new(
            Some(ExitStatus::Code(code)),
            Capture::whole(text.to_owned()),
            Capture::default(),
            SystemTime::UNIX_EPOCH,
            Duration::ZERO,
        );
        failure.told_by(code, 1, &output)
    }

    #[test]
    fn the_engines_complaints_are_errors_that_name_the_culprit() {
        let runc = |rest: &str| {
            format!(
                "OCI runtime exec failed: exec failed: unable to start container process: {rest}: unknown\r\n"
            )
        };
        for (text, kind, named) in [
            (runc("exec: \"tool\": executable file not found in $PATH"), ErrorKind::NotFound, "`tool`"),
            (runc("exec: \"./tool\": permission denied"), ErrorKind::Denied, "`tool`"),
            (
                runc("chdir to cwd (\"/not/there\") set in config.json failed: no such file or directory"),
                ErrorKind::NotFound,
                "`/not/there`",
            ),
            (
                runc("chdir to cwd (\"/not/there\") set in config.json failed: not a directory"),
                ErrorKind::BadRequest,
                "`/not/there`",
            ),
            (
                "unable to find user nobody-here: no matching entries in passwd file\r\n".to_owned(),
                ErrorKind::NotFound,
                "`nobody-here`",
            ),
        ] {
            let error = told(126, &text).unwrap();
            assert_eq!(error.kind(), kind, "{text}");
            assert!(error.to_string().contains(named) && error.remedy().is_some(), "{error}");
        }
    }

    #[test]
    fn a_program_that_ends_with_such_a_code_is_a_result() {
        assert!(told(127, "sh: nope: not found\n").is_none());
        assert!(told(126, "OCI runtime exec failed: said a program\n").is_none());
        assert!(told(0, "OCI runtime exec failed: x\r\n").is_none());
    }

    #[test]
    fn what_no_kernel_takes_is_refused_before_it_is_sent() {
        let none = BTreeMap::new();
        assert!(too_long(&["x".repeat(100 * 1024)], &none).is_ok());
        assert_eq!(too_long(&["x".repeat(4 << 20)], &none).unwrap_err().kind(), ErrorKind::BadRequest);
        let many = vec!["x".repeat(100 * 1024); 30];
        assert_eq!(too_long(&many, &none).unwrap_err().kind(), ErrorKind::Exhausted);
        let variable = BTreeMap::from([("A".to_owned(), "x".repeat(200_000))]);
        assert!(too_long(&[], &variable).is_err());
    }
}
