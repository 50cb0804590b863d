//! Words for people, JSON for programs; results to stdout, everything else to stderr.

use std::fmt::Display;
use std::io::Write;

use anstyle::{AnsiColor, Style};
use grainchain::{Effect, Error, Output};
use serde::Serialize;

use super::table::Table;
use super::text::visible;
use super::to_json;
use crate::exit::Failure;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HELP: Style = AnsiColor::Cyan.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const HEADING: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Prints. Colours are dropped by the streams themselves where nobody can see them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    /// JSON instead of words.
    pub(crate) json: bool,
    /// Results and errors alone.
    pub(crate) quiet: bool,
}

impl Printer {
    /// One line of a result.
    pub(crate) fn line(self, text: impl Display) -> Result<(), Failure> {
        writeln!(anstream::stdout().lock(), "{text}").map_err(Failure::printing)
    }

    /// Bytes of a result, exactly as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Failure::printing)
    }

    /// A result for programs.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        self.line(to_json(value)?)
    }

    /// A result for people, or with `--json` for programs.
    pub(crate) fn result(
        self,
        value: &impl Serialize,
        words: impl FnOnce(Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.json { self.json(value) } else { words(self) }
    }

    /// Rows under headings.
    pub(crate) fn table(self, table: &Table) -> Result<(), Failure> {
        let (headings, rows) = table.lines();
        self.line(format_args!("{HEADING}{headings}{HEADING:#}"))?;
        rows.iter().try_for_each(|row| self.line(row))
    }

    /// Names and values, a line each.
    pub(crate) fn pairs<'a>(self, pairs: impl IntoIterator<Item = (&'a str, String)>) -> Result<(), Failure> {
        let pairs: Vec<_> = pairs.into_iter().collect();
        let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        pairs.iter().try_for_each(|(name, value)| {
            self.line(format_args!("{HEADING}{name:width$}{HEADING:#}  {}", visible(value)))
        })
    }

    /// A verdict and what it is about.
    pub(crate) fn verdict(self, verdict: Verdict, text: &str, remedy: Option<&str>) -> Result<(), Failure> {
        let (style, word) = match verdict {
            Verdict::Ok => (GOOD, "ok  "),
            Verdict::Warn => (WARNING, "warn"),
            Verdict::Fail => (ERROR, "fail"),
        };
        self.line(format_args!("{style}{word}{style:#}  {}", visible(text)))?;
        match remedy {
            Some(remedy) => self.line(format_args!("      {HELP}help:{HELP:#} {}", visible(remedy))),
            None => Ok(()),
        }
    }

    /// Something worth knowing that is no result; not with `--quiet`.
    pub(crate) fn note(self, text: impl Display) {
        if self.quiet {
            return;
        }
        if self.json {
            aside("note", &text);
        } else {
            complain(format_args!("{DIM}{}{DIM:#}", visible(&text.to_string())));
        }
    }

    /// Something that went wrong without stopping us.
    pub(crate) fn warn(self, text: impl Display) {
        if self.json {
            aside("warning", &text);
        } else {
            complain(format_args!("{WARNING}warning:{WARNING:#} {}", visible(&text.to_string())));
        }
    }

    /// What went wrong: for people the reason and the remedy, for programs everything.
    pub(crate) fn error(self, error: &Error) {
        if self.json {
            match to_json(&ErrorForm::of(error)) {
                Ok(json) => complain(json),
                Err(_) => complain(error),
            }
            return;
        }
        complain(format_args!("{ERROR}error:{ERROR:#} {}", visible(&reason(error))));
        if let Some(remedy) = error.remedy() {
            complain(format_args!("{HELP}help:{HELP:#} {}", visible(remedy)));
        }
    }

    /// One line to stderr as it stands.
    pub(crate) fn complaint(self, text: impl Display) {
        complain(text);
    }
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One line of JSON beside the result, so that whoever asked for JSON finds nothing else on stderr.
fn aside(what: &str, text: &impl Display) {
    match to_json(&std::collections::BTreeMap::from([(what, text.to_string())])) {
        Ok(json) => complain(json),
        Err(_) => complain(text),
    }
}

/// Writes a line to stderr. When that fails there is nobody left to tell.
fn complain(text: impl Display) {
    writeln!(anstream::stderr().lock(), "{text}").ok();
}

/// One line without the remedy, which has a line of its own.
fn reason(error: &Error) -> String {
    let all = error.to_string();
    match error.remedy() {
        Some(remedy) => all.strip_suffix(&format!("; {remedy}")).map_or_else(|| all.clone(), str::to_owned),
        None => all,
    }
}

#[derive(Serialize)]
struct ErrorForm<'a> {
    error: ErrorFields<'a>,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    kind: &'static str,
    message: &'a str,
    operation: Option<&'static str>,
    provider: Option<&'a str>,
    sandbox: Option<&'a str>,
    option: Option<&'a str>,
    remedy: Option<&'a str>,
    /// Whether the failed request changed anything: none, possible or done.
    effect: &'static str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a Output>,
}

impl<'a> ErrorForm<'a> {
    fn of(error: &'a Error) -> Self {
        Self {
            error: ErrorFields {
                kind: error.kind().as_str(),
                message: error.message(),
                operation: error.failed_operation().map(grainchain::Operation::as_str),
                provider: error.failed_provider(),
                sandbox: error.failed_sandbox().map(grainchain::SandboxId::as_str),
                option: error.failed_option(),
                remedy: error.remedy(),
                effect: match error.what_happened() {
                    Effect::None => "none",
                    Effect::Done => "done",
                    _ => "possible",
                },
                retryable: error.is_retryable(),
                output: error.partial_output(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_is_not_said_twice() {
        let error = Error::bad_request("no").hint("say yes").option("x");
        assert_eq!(reason(&error), "option `x`: no");
    }

    #[test]
    fn the_json_form_has_every_field() {
        let error = Error::bad_request("no").hint("say yes").option("x");
        let form: serde_json::Value =
            serde_json::from_str(&to_json(&ErrorForm::of(&error)).unwrap()).unwrap();
        assert_eq!(form["error"]["kind"], "bad request");
        assert_eq!(form["error"]["remedy"], "say yes");
        assert!(form["error"]["sandbox"].is_null());
        assert_eq!((&form["error"]["effect"], &form["error"]["retryable"]), (&"none".into(), &false.into()));
        let error = Error::new(grainchain::ErrorKind::Connection, "lost").effect(Effect::Possible);
        let form = serde_json::to_value(ErrorForm::of(&error)).unwrap();
        assert_eq!(form["error"]["effect"], "possible");
    }
}
