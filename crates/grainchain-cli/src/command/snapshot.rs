//! `grainchain snapshot`: points to go back to.

use std::time::SystemTime;

use clap::Subcommand;
use grainchain::{ByteSize, CreateSnapshot, Error, Result, Sandbox, SnapshotId, SnapshotInfo, SnapshotKind};

use super::options::pair;
use crate::app::App;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Printer, Progress, Table, age, visible};

/// Snapshots of a sandbox.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take a snapshot and print its id
    Create {
        /// The sandbox; the beginning of its id is enough
        id: String,
        /// A name for people
        #[arg(short, long)]
        name: Option<String>,
        /// Keep the memory of all processes too
        #[arg(short, long)]
        memory: bool,
        /// Add a label. Repeatable
        #[arg(short, long, value_name = "K=V", value_parser = pair)]
        label: Vec<(String, String)>,
    },
    /// List the snapshots of a sandbox
    #[command(visible_alias = "ls")]
    List {
        /// The sandbox; the beginning of its id is enough
        id: String,
    },
    /// Put a sandbox back to a snapshot; its processes end
    Restore {
        /// The sandbox; the beginning of its id is enough
        id: String,
        /// The snapshot's id or the beginning of it, or its name when only one is called so
        snapshot: String,
    },
    /// Remove a snapshot
    Rm {
        /// The sandbox; the beginning of its id is enough
        id: String,
        /// The snapshot's id or the beginning of it, or its name when only one is called so
        snapshot: String,
    },
}

pub(crate) async fn execute(app: App, command: Command) -> Outcome {
    match command {
        Command::Create { id, name, memory, label } => {
            let sandbox = app.sandbox(&id).await?;
            let mut request = if memory { CreateSnapshot::memory() } else { CreateSnapshot::filesystem() };
            (request.name, request.metadata) = (name, label.into_iter().collect());
            let waiting = Progress::begin(app.printer, "taking a snapshot");
            let snapshot = sandbox.create_snapshot(request).await?;
            drop(waiting);
            for note in &snapshot.notes {
                app.printer.warn(note);
            }
            app.printer.result(&snapshot, |printer| printer.line(&snapshot.id))?;
        }
        Command::List { id } => {
            let snapshots = app.sandbox(&id).await?.list_snapshots().await?;
            app.printer.result(&snapshots, |printer| show(printer, &snapshots))?;
            if snapshots.is_empty() && !app.printer.json {
                app.printer.note(format_args!("no snapshots; `grainchain snapshot create {id}` takes one"));
            }
        }
        Command::Restore { id, snapshot } => {
            let sandbox = app.sandbox(&id).await?;
            let snapshot = find(&sandbox, &snapshot).await?;
            let waiting = Progress::begin(app.printer, "restoring");
            sandbox.restore_snapshot(&snapshot.id).await?;
            drop(waiting);
            app.printer.result(&snapshot, |_| Ok(()))?;
        }
        Command::Rm { id, snapshot } => {
            let sandbox = app.sandbox(&id).await?;
            let snapshot = find(&sandbox, &snapshot).await?;
            sandbox.delete_snapshot(&snapshot.id).await?;
            app.printer.result(&snapshot, |printer| printer.line(visible(snapshot.id.as_str())))?;
        }
    }
    Ok(Code::OK)
}

fn show(printer: Printer, snapshots: &[SnapshotInfo]) -> Result<(), Failure> {
    if printer.quiet {
        return snapshots.iter().try_for_each(|snapshot| printer.line(visible(snapshot.id.as_str())));
    }
    if snapshots.is_empty() {
        return Ok(());
    }
    let now = SystemTime::now();
    let mut table = Table::new(["ID", "NAME", "KIND", "AGE", "SIZE", "PARENT"]);
    for snapshot in snapshots {
        table.row([
            snapshot.id.as_str(),
            snapshot.name.as_deref().unwrap_or("-"),
            match snapshot.kind {
                SnapshotKind::Filesystem => "filesystem",
                SnapshotKind::Memory => "memory",
                _ => "unknown",
            },
            &age(Some(snapshot.created_at), now),
            &snapshot.size_bytes.map_or_else(|| "-".to_owned(), |bytes| ByteSize::bytes(bytes).to_string()),
            snapshot.parent.as_ref().map_or("-", SnapshotId::as_str),
        ]);
    }
    printer.table(&table)
}

/// The snapshot that is `wanted`: by its id, by its name, or by the beginning of its id.
async fn find(sandbox: &Sandbox, wanted: &str) -> Result<SnapshotInfo> {
    choose(wanted, sandbox.list_snapshots().await?, sandbox)
}

fn choose(wanted: &str, all: Vec<SnapshotInfo>, sandbox: &Sandbox) -> Result<SnapshotInfo> {
    type Matches<'a> = &'a dyn Fn(&SnapshotInfo) -> bool;
    let ways: [Matches<'_>; 3] = [
        &|snapshot| snapshot.id.as_str() == wanted,
        &|snapshot| snapshot.name.as_deref() == Some(wanted),
        &|snapshot| !wanted.is_empty() && snapshot.id.as_str().starts_with(wanted),
    ];
    for matches in ways {
        let mut found = all.iter().filter(|snapshot| matches(snapshot));
        if let Some(first) = found.next() {
            let Some(second) = found.next() else { return Ok(first.clone()) };
            return Err(Error::bad_request(format!("`{wanted}` may be {} or {}", first.id, second.id))
                .hint("write more of the id")
                .sandbox(sandbox.id()));
        }
    }
    Err(Error::not_found(format!("there is no snapshot `{wanted}`"))
        .hint(format!("`grainchain snapshot list {}` shows those that there are", sandbox.id()))
        .sandbox(sandbox.id()))
}
