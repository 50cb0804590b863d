//! `grainchain gc`: what clients left behind.

use grainchain::{GcAction, GcOptions, GcReport};

use crate::app::App;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Printer, Table};

/// Remove sandboxes that nobody holds any more
///
/// Nobody holds those whose lifetime is over or whose client is gone. Those of living clients and those made to stay are kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only say what would be removed
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Remove broken sandboxes too, whose state may be worth a look
    #[arg(long)]
    broken: bool,
}

pub(crate) async fn execute(app: App, args: Args) -> Outcome {
    let mut options = GcOptions::default();
    (options.dry_run, options.broken) = (args.dry_run, args.broken);
    let report = app.client()?.gc(options).await?;
    app.printer.result(&report, |printer| show(printer, &report, args.dry_run))?;
    let failed = report.entries.iter().any(|entry| matches!(entry.action, GcAction::Failed(_)))
        || report.sweep_error.is_some();
    Ok(if failed { Code::FAILED } else { Code::OK })
}

fn show(printer: Printer, report: &GcReport, dry_run: bool) -> Result<(), Failure> {
    if !report.entries.is_empty() {
        let mut table = Table::new(["ID", "ACTION", "REASON"]);
        for entry in &report.entries {
            let action = match &entry.action {
                GcAction::WouldRemove => "would remove".to_owned(),
                GcAction::Removed => "removed".to_owned(),
                GcAction::Failed(reason) => format!("failed: {reason}"),
                _ => "unknown".to_owned(),
            };
            table.row([entry.sandbox.id.as_str(), &action, &entry.reason]);
        }
        printer.table(&table)?;
    }
    let done = if dry_run { "would remove" } else { "removed" };
    for debris in &report.swept {
        printer.note(format_args!("{done} what an interrupted operation left: {debris}"));
    }
    if let Some(reason) = &report.sweep_error {
        printer.note(format_args!("what interrupted operations left could not be removed: {reason}"));
    }
    let other = if report.entries.is_empty() { "" } else { "other " };
    let kept = match report.kept {
        1 => format!("1 {other}sandbox is kept"),
        kept => format!("{kept} {other}sandboxes are kept"),
    };
    match (report.entries.len(), report.kept) {
        (0, 0) => printer.note("there are no sandboxes"),
        (0, _) => printer.note(format_args!("nothing to remove; {kept}")),
        (_, 0) => {}
        _ => printer.note(kept),
    }
    Ok(())
}
