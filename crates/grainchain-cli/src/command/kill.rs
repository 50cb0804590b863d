//! `grainchain kill`: the end of sandboxes.

use grainchain::{Error, ListFilter, SandboxId};
use serde::Serialize;

use crate::app::App;
use crate::exit::{Code, Failure, Outcome};
use crate::output::visible;

/// End sandboxes and remove all they hold
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sandboxes; the beginning of an id is enough
    #[arg(required_unless_present = "all")]
    ids: Vec<String>,
    /// All sandboxes of the provider, also those of others
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

#[derive(Serialize)]
struct Killed {
    id: String,
    killed: bool,
    error: Option<String>,
}

pub(crate) async fn execute(app: App, args: Args) -> Outcome {
    let client = app.client()?;
    let ids: Vec<SandboxId> = if args.all {
        client.list(ListFilter::default()).await?.into_iter().map(|info| info.id).collect()
    } else {
        // All are looked up before the first one ends: a slip of the keyboard ends none.
        let mut ids = Vec::new();
        for id in &args.ids {
            ids.push(app.id(&client, id).await?);
        }
        ids
    };
    let mut report = Vec::new();
    let mut first: Option<Error> = None;
    for id in ids {
        let result = client.remove(&id).await;
        if result.is_ok() && !app.printer.json {
            app.printer.line(visible(id.as_str()))?;
        }
        let error = result.as_ref().err().map(ToString::to_string);
        report.push(Killed { id: id.to_string(), killed: error.is_none(), error });
        if let Err(error) = result {
            match &first {
                None => first = Some(error),
                Some(_) => app.printer.warn(error),
            }
        }
    }
    if app.printer.json {
        app.printer.json(&report)?;
    } else if report.is_empty() {
        app.printer.note("there are no sandboxes");
    }
    first.map_or(Ok(Code::OK), |error| Err(Failure::Error(error)))
}
