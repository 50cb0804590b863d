//! `grainchain info`: all about one sandbox.

use std::time::SystemTime;

use grainchain::{ErrorKind, SandboxInfo};

use super::list::labels;
use crate::app::App;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Printer, age, expiry, stamp};

/// Show a sandbox
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sandbox; the beginning of its id is enough
    id: String,
}

pub(crate) async fn execute(app: App, args: Args) -> Outcome {
    let info = find(&app, &args.id).await?;
    app.printer.result(&info, |printer| show(printer, &info))?;
    Ok(Code::OK)
}

/// What the sandbox says, and who holds it as the list says: while we are connected, we hold it ourselves. One that is too broken to
/// connect to can still be looked at in the list.
async fn find(app: &App, id: &str) -> Result<SandboxInfo, Failure> {
    let client = app.client()?;
    let listed = app.listed(&client, id).await?;
    let own = match client.connect(listed.id.clone()).await {
        Ok(sandbox) => sandbox.info().await,
        Err(error) => Err(error),
    };
    match own {
        Ok(mut info) => {
            info.lease = listed.lease.or(info.lease);
            Ok(info)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Err(error.into()),
        Err(_) => Ok(listed),
    }
}

fn show(printer: Printer, info: &SandboxInfo) -> Result<(), Failure> {
    let now = SystemTime::now();
    let mut pairs = vec![
        ("id", info.id.to_string()),
        ("provider", info.provider.clone()),
        ("status", info.status.to_string()),
    ];
    let mut add = |name, value: Option<String>| {
        if let Some(value) = value {
            pairs.push((name, value));
        }
    };
    add("reason", info.reason.clone());
    add("created", info.created_at.map(|at| format!("{} ({} ago)", stamp(at), age(Some(at), now))));
    add(
        "expires",
        Some(match info.expires_at {
            Some(at) => format!("{} ({})", stamp(at), expiry(Some(at), now)),
            None => "never".to_owned(),
        }),
    );
    add("image", info.image.clone());
    add("template", info.template.clone());
    add("directory", info.working_directory.clone());
    add("memory", info.memory_limit.map(|limit| limit.to_string()));
    add("processors", info.cpu_limit.map(|limit| limit.to_string()));
    add(
        "holder",
        info.lease.as_ref().filter(|_| !info.keep_alive).map(|lease| match lease.held {
            Some(true) => format!("{} (alive)", lease.owner),
            Some(false) => format!("{} (gone)", lease.owner),
            None => lease.owner.clone(),
        }),
    );
    add(
        "stays",
        Some(if info.keep_alive { "when its client is gone" } else { "while its client lives" }.to_owned()),
    );
    add("labels", (!info.metadata.is_empty()).then(|| labels(info)));
    printer.pairs(pairs)
}
