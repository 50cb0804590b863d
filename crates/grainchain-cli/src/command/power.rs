//! `grainchain pause` and `resume`, `terminate` and `wake-up`.

use crate::app::App;
use crate::exit::{Code, Outcome};
use crate::output::Progress;

/// The sandbox to stop or to set going.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sandbox; the beginning of its id is enough
    id: String,
}

pub(crate) async fn pause(app: App, args: Args) -> Outcome {
    let sandbox = app.sandbox(&args.id).await?;
    let waiting = Progress::begin(app.printer, "pausing");
    sandbox.pause().await?;
    drop(waiting);
    done(app, &sandbox).await
}

pub(crate) async fn resume(app: App, args: Args) -> Outcome {
    let sandbox = app.sandbox(&args.id).await?;
    let waiting = Progress::begin(app.printer, "resuming");
    sandbox.resume().await?;
    drop(waiting);
    done(app, &sandbox).await
}

pub(crate) async fn terminate(app: App, args: Args) -> Outcome {
    let sandbox = app.sandbox(&args.id).await?;
    let waiting = Progress::begin(app.printer, "terminating");
    sandbox.terminate().await?;
    drop(waiting);
    done(app, &sandbox).await
}

pub(crate) async fn wake_up(app: App, args: Args) -> Outcome {
    let sandbox = app.sandbox(&args.id).await?;
    let waiting = Progress::begin(app.printer, "waking up");
    sandbox.wake_up().await?;
    drop(waiting);
    done(app, &sandbox).await
}

async fn done(app: App, sandbox: &grainchain::Sandbox) -> Outcome {
    if app.printer.json {
        app.printer.json(&sandbox.info().await?)?;
    }
    Ok(Code::OK)
}
