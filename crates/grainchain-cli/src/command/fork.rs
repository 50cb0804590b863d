//! `grainchain fork`: copies of a sandbox.

use grainchain::{Error, ErrorKind, Operation};

use crate::app::App;
use crate::exit::{Code, Outcome};
use crate::output::Progress;

/// Copy a sandbox as it is now, and print the ids of the copies
///
/// A copy has the files, the settings and the labels of the original, and lives as long. All copies are made or none.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sandbox; the beginning of its id is enough
    id: String,
    /// How many copies to make
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1)]
    count: u32,
}

pub(crate) async fn execute(app: App, args: Args) -> Outcome {
    let sandbox = app.sandbox(&args.id).await?;
    if !sandbox.info().await?.keep_alive {
        let message =
            "it lives only while its client does, and so would the copies: they would end with this command";
        return Err(Error::new(ErrorKind::Conflict, message)
            .operation(Operation::Fork)
            .sandbox(sandbox.id())
            .provider(sandbox.provider())
            .hint("fork a sandbox that was made to stay, as by `grainchain create`")
            .into());
    }
    let waiting = Progress::begin(app.printer, "copying the sandbox");
    let copies = sandbox.fork(args.count).await?;
    drop(waiting);
    if !app.printer.json {
        copies.iter().try_for_each(|copy| app.printer.line(copy.id()))?;
        return Ok(Code::OK);
    }
    let mut infos = Vec::new();
    for copy in &copies {
        infos.push(copy.info().await?);
    }
    app.printer.json(&infos)?;
    Ok(Code::OK)
}
