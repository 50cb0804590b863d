//! `grainchain doctor`: what could go wrong here.

use std::io::IsTerminal;
use std::os::unix::fs::PermissionsExt;

use grainchain::{Client, Error, GcOptions, Settings};
use serde::Serialize;

use crate::app::App;
use crate::exit::{Code, Outcome};
use crate::output::Verdict;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    about: &'static str,
    verdict: Verdict,
    text: String,
    remedy: Option<String>,
}

impl Finding {
    fn ok(about: &'static str, text: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Ok, text: text.into(), remedy: None }
    }

    fn warn(about: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Warn, text: text.into(), remedy: Some(remedy.into()) }
    }

    fn fail(about: &'static str, error: &Error) -> Self {
        let remedy = error.remedy().map(str::to_owned);
        Self { about, verdict: Verdict::Fail, text: error.message().to_owned(), remedy }
    }
}

pub(crate) async fn execute(app: App) -> Outcome {
    let mut findings = vec![Finding::ok("version", env!("CARGO_PKG_VERSION"))];
    match app.settings() {
        Ok(settings) => {
            findings.push(configuration(&settings));
            provider(&app, &settings, &mut findings).await;
        }
        Err(error) => findings.push(Finding::fail("configuration", &error)),
    }
    findings.push(terminal());
    app.printer.result(&findings, |printer| {
        findings.iter().try_for_each(|finding| {
            let text = format!("{}: {}", finding.about, finding.text);
            printer.verdict(finding.verdict, &text, finding.remedy.as_deref())
        })
    })?;
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    Ok(if failed { Code::FAILED } else { Code::OK })
}

fn configuration(settings: &Settings) -> Finding {
    match &settings.file {
        Some(file) => Finding::ok("configuration", file.display().to_string()),
        None => Finding::ok("configuration", "no grainchain.toml; the defaults are in effect"),
    }
}

async fn provider(app: &App, settings: &Settings, findings: &mut Vec<Finding>) {
    let client = match app.client_of(settings) {
        Ok(client) => client,
        Err(error) => return findings.push(Finding::fail("provider", &error)),
    };
    let name = client.provider_info().name;
    match client.check().await {
        Ok(health) => {
            let version = health.version.map(|version| format!(" ({version})")).unwrap_or_default();
            findings.push(Finding::ok("provider", format!("{name} is usable{version}")));
            findings.extend(health.place.map(|place| Finding::ok("provider", place)));
            findings.extend(health.notes.into_iter().map(|note| Finding {
                about: "provider",
                verdict: Verdict::Warn,
                text: note,
                remedy: None,
            }));
        }
        Err(error) => return findings.push(Finding::fail("provider", &error)),
    }
    if name == "local" {
        findings.extend([
            interpreter("python3", "code in Python", "install Python 3"),
            interpreter("node", "code in JavaScript", "install Node.js"),
            interpreter("bash", "code in bash", "install bash"),
        ]);
    }
    findings.push(leftovers(&client).await);
}

/// Whether the programs that run code on this machine are there.
fn interpreter(program: &'static str, what: &str, remedy: &str) -> Finding {
    let path = grainchain::config::environment("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| {
        std::fs::metadata(file)
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    });
    match found {
        Some(file) => Finding::ok(program, file.display().to_string()),
        None => Finding::warn(program, format!("not in PATH; {what} cannot run"), remedy),
    }
}

async fn leftovers(client: &Client) -> Finding {
    let about = "leftovers";
    match client.gc(GcOptions::default().dry_run().broken()).await {
        Err(error) => Finding::fail(about, &error),
        Ok(report) => match report.entries.len() {
            0 => Finding::ok(about, "no sandbox was left behind"),
            count => {
                let broken = report
                    .entries
                    .iter()
                    .filter(|entry| entry.sandbox.status == grainchain::SandboxStatus::Error)
                    .count();
                let remedy = if broken > 0 {
                    "`grainchain gc --broken` removes them; `grainchain list` shows what is broken"
                } else {
                    "`grainchain gc` removes them"
                };
                Finding::warn(about, format!("{count} left behind, {broken} of them broken"), remedy)
            }
        },
    }
}

fn terminal() -> Finding {
    if !std::io::stdin().is_terminal() {
        return Finding::ok(
            "terminal",
            "stdin is no terminal; `shell` and `-t` work with the input they get",
        );
    }
    match crate::terminal::size() {
        Some(size) => Finding::ok("terminal", format!("{} columns, {} rows", size.columns, size.rows)),
        None => Finding::warn(
            "terminal",
            "it does not say how large it is; shells get 80 by 24",
            "run `stty rows 24 columns 80`",
        ),
    }
}
