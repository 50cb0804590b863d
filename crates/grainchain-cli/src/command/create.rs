//! `grainchain create`: a sandbox that stays.

use super::options::SandboxArgs;
use super::run;
use crate::app::App;
use crate::exit::{Code, Outcome};
use crate::output::Progress;
use crate::signals::Signals;

/// Create a sandbox that outlives this command, and print its id
///
/// The id is alone on stdout: ID=$(grainchain create)
///
/// The sandbox ends with its lifetime (one hour unless told otherwise) or with `grainchain kill`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sandbox: SandboxArgs,
}

pub(crate) async fn execute(app: App, args: Args) -> Outcome {
    let mut signals = Signals::listen()?;
    let client = app.client_for_new()?;
    let config = args.sandbox.apply(client.default_config()).keep_alive();
    let waiting = Progress::begin(app.printer, "creating a sandbox");
    let sandbox = run::create(&client, config, &mut signals).await?;
    let info = sandbox.info().await;
    drop(waiting);
    if !app.printer.json {
        app.printer.line(sandbox.id())?;
        return Ok(Code::OK);
    }
    app.printer.json(&info?)?;
    Ok(Code::OK)
}
