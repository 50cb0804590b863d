//! `grainchain list`: the sandboxes there are.

use std::time::SystemTime;

use grainchain::{ListFilter, SandboxInfo, SandboxStatus};

use super::options::pair;
use crate::app::App;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Printer, Table, age, expiry, visible};

/// List sandboxes
///
/// With --quiet their ids alone.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those with this label. Repeatable
    #[arg(short, long, value_name = "K=V", value_parser = pair)]
    label: Vec<(String, String)>,
    /// Only those in this state: creating, running, paused, stopped, error or unknown. Repeatable
    #[arg(short, long, value_parser = status)]
    status: Vec<SandboxStatus>,
}

pub(crate) async fn execute(app: App, args: Args) -> Outcome {
    let client = app.client()?;
    let mut filter = ListFilter::default();
    filter.metadata = args.label.into_iter().collect();
    filter.status = args.status;
    let narrow = filter != ListFilter::default();
    let sandboxes = client.list(filter).await?;
    app.printer.result(&sandboxes, |printer| show(printer, &sandboxes))?;
    if sandboxes.is_empty() && !app.printer.json {
        let provider = client.provider_info().name;
        app.printer.note(if narrow {
            format!("no sandbox at {provider} is like that")
        } else {
            format!("no sandboxes at {provider}; `grainchain create` makes one")
        });
    }
    Ok(Code::OK)
}

fn show(printer: Printer, sandboxes: &[SandboxInfo]) -> Result<(), Failure> {
    if printer.quiet {
        return sandboxes.iter().try_for_each(|sandbox| printer.line(visible(sandbox.id.as_str())));
    }
    if sandboxes.is_empty() {
        return Ok(());
    }
    let now = SystemTime::now();
    let mut table = Table::new(["ID", "PROVIDER", "STATUS", "AGE", "EXPIRES", "LABELS"]);
    for sandbox in sandboxes {
        table.row([
            sandbox.id.to_string(),
            sandbox.provider.clone(),
            state(sandbox),
            age(sandbox.created_at, now),
            expiry(sandbox.expires_at, now),
            labels(sandbox),
        ]);
    }
    printer.table(&table)
}

/// The status, and for a broken sandbox the reason.
fn state(sandbox: &SandboxInfo) -> String {
    match &sandbox.reason {
        Some(reason) => format!("{} ({reason})", sandbox.status),
        None => sandbox.status.to_string(),
    }
}

/// The labels in one cell.
pub(crate) fn labels(sandbox: &SandboxInfo) -> String {
    let labels = sandbox.metadata.iter().map(|(key, value)| format!("{key}={value}"));
    labels.collect::<Vec<_>>().join(", ")
}

fn status(text: &str) -> Result<SandboxStatus, String> {
    use SandboxStatus::{Creating, Error, Paused, Running, Stopped, Unknown};
    let all = [Creating, Running, Paused, Stopped, Error, Unknown];
    all.into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| "write creating, running, paused, stopped, error or unknown".to_owned())
}
