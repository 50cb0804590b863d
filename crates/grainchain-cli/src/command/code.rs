//! `grainchain code`: code in an interpreter.

mod display;

use std::path::PathBuf;

use futures_util::StreamExt;
use grainchain::{
    ByteSize, CodeError, CodeEvent, CodeStream, ContextId, Error, ErrorKind, Language, Result, RunCode,
};

use self::display::Displays;
use super::options::{self, Limit};
use crate::app::App;
use crate::exit::{Code, Failure, Outcome};
use crate::live;
use crate::output::{Printer, visible_lines};
use crate::signals::Signals;
use crate::terminal;

/// How long code may be; beyond this it is data.
const LONGEST: ByteSize = ByteSize::mib(16);

/// Run Python, JavaScript or bash code in a sandbox
///
/// What the code writes is printed as it comes, then the value of its last expression. An exception is printed to stderr and ends with code 1. Interpreters of the provider `local` live in the program that started
/// them, so there variables do not last from one `grainchain code` to the next; files do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sandbox; the beginning of its id is enough
    id: String,
    /// python, javascript or bash; python by default
    #[arg(short, long, value_parser = language)]
    language: Option<Language>,
    /// The interpreter's context, where contexts last
    #[arg(short, long)]
    context: Option<String>,
    /// Interrupt it after so many seconds (or 5m, 2h); `none` for never. The sandbox's default, 300 s
    #[arg(long, value_name = "TIME", value_parser = options::limit, allow_negative_numbers = true)]
    timeout: Option<Limit>,
    /// Keep what it displays (images, HTML …) as files in this folder
    #[arg(long, value_name = "DIR")]
    save_displays: Option<PathBuf>,
    /// Read the code from a file of this machine
    #[arg(short, long, conflicts_with = "code")]
    file: Option<PathBuf>,
    /// The code; `-`, or nothing, reads it from stdin
    #[arg(allow_hyphen_values = true)]
    code: Option<String>,
}

pub(crate) async fn execute(app: App, args: Args) -> Outcome {
    let mut signals = Signals::listen()?;
    let code = source(args.file, args.code, app.printer).await?;
    let sandbox = app.sandbox(&args.id).await?;
    let mut request = RunCode::new(code);
    request.language = args.language;
    request.context = args.context.map(ContextId::new);
    request.timeout = args.timeout.map(Limit::timeout);
    let displays = Displays::new(args.save_displays)?;
    let work = async {
        if app.printer.json {
            let result = sandbox.run_code(request).await?;
            result.displays.iter().chain(&result.value).try_for_each(|bundle| displays.save(bundle))?;
            app.printer.json(&result)?;
            return Ok(if result.success() { Code::OK } else { Code::FAILED });
        }
        let events = sandbox.run_code(request).stream().await?;
        show(events, &displays, app.printer).await
    };
    tokio::select! {
        outcome = work => outcome.map_err(options::explain_timeout),
        // Dropping the work interrupts the code.
        signal = signals.end() => Err(Failure::Signal(signal.as_raw())),
    }
}

/// The code's text.
async fn source(file: Option<PathBuf>, code: Option<String>, printer: Printer) -> Result<String> {
    let content = match (file, code) {
        (Some(file), _) if file.as_os_str() != "-" => live::open(&file).await?,
        (None, Some(code)) if code != "-" => return Ok(code),
        _ => {
            if terminal::stdin_is_terminal() {
                printer.note("reading the code from the terminal; Ctrl-D ends it");
            }
            live::read_all()?
        }
    };
    let bytes = content.into_bytes(LONGEST).await?;
    String::from_utf8(bytes.into()).map_err(|_| Error::bad_request("the code is not UTF-8 text"))
}

async fn show(mut events: CodeStream, displays: &Displays, printer: Printer) -> Outcome {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let mut raised = false;
    while let Some(event) = events.next().await {
        match event? {
            CodeEvent::Stdout(bytes) => live::write(&mut stdout, &bytes).await?,
            CodeEvent::Stderr(bytes) => live::write(&mut stderr, &bytes).await?,
            CodeEvent::Display(bundle) | CodeEvent::Value(bundle) => {
                displays.save(&bundle)?;
                printer.line(display::words(&bundle))?;
            }
            CodeEvent::Raised(error) => {
                raised = true;
                complain(&error, printer);
            }
            CodeEvent::Done { .. } => return Ok(if raised { Code::FAILED } else { Code::OK }),
            _ => {}
        }
    }
    Err(Error::new(ErrorKind::Connection, "the interpreter ended before the code did")
        .hint("its context starts afresh at the next run")
        .into())
}

fn complain(error: &CodeError, printer: Printer) {
    for line in words(error) {
        printer.complaint(visible_lines(&line));
    }
}

/// The traceback as the interpreter wrote it, and the error itself where that does not name it: first in JavaScript, last in Python.
fn words(error: &CodeError) -> Vec<String> {
    let mut lines: Vec<_> =
        error.traceback.iter().map(|line| line.trim_end_matches('\n').to_owned()).collect();
    // Python writes the module too: `json.decoder.JSONDecodeError: …`.
    let names_it = |line: &String| {
        line.split(':').next().and_then(|head| head.rsplit('.').next()) == Some(error.name.as_str())
    };
    if !lines.iter().any(names_it) {
        lines.push(if error.value.is_empty() { error.name.clone() } else { error.to_string() });
    }
    lines
}

fn language(text: &str) -> Result<Language> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, value: &str, traceback: &[&str]) -> Vec<String> {
        let traceback = traceback.iter().map(|line| (*line).to_owned()).collect();
        words(&CodeError::new(name, value, traceback))
    }

    #[test]
    fn a_traceback_keeps_its_order_and_names_the_error_once() {
        for traceback in [
            &["TypeError: bad", "    at <cell-1>:1:7"][..],
            &["Traceback (most recent call last):", "  File \"x\"", "TypeError: bad"],
            &["  File \"x\", line 1", "TypeError: worse than the value says"],
            &["  File \"x\", line 1", "TypeError"],
            &["  File \"x\", line 1", "some.module.TypeError: bad"],
        ] {
            assert_eq!(shown("TypeError", "bad", traceback), traceback);
        }
    }

    #[test]
    fn an_error_that_its_traceback_does_not_name_comes_last() {
        assert_eq!(shown("Exit", "3", &["the shell ended"]), ["the shell ended", "Exit: 3"]);
        assert_eq!(shown("KeyError", "", &[]), ["KeyError"]);
    }
}
