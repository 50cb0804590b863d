//! `grainchain run`: one command in a sandbox of its own.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use grainchain::{Client, Error, Sandbox, SandboxConfig};

use super::exec::Program;
use super::options::{self, SandboxArgs};
use crate::app::App;
use crate::exit::{Failure, Outcome};
use crate::output::Progress;
use crate::signals::Signals;

/// Run one command in a new sandbox, with live output, and throw the sandbox away
///
/// Our stdin goes to the command when it is not a terminal, or with -i. The first Ctrl-C goes to the command, a second one kills it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sandbox: SandboxArgs,
    #[command(flatten)]
    program: Program,
}

pub(crate) async fn execute(app: App, args: Args) -> Outcome {
    let mut signals = Signals::listen()?;
    let client = app.client_for_new()?;
    let mut config = args.sandbox.apply(client.default_config());
    // Whatever is configured for sandboxes that stay: this one goes.
    (config.keep_alive, config.auto_cleanup) = (false, true);
    let waiting = Progress::begin(app.printer, "creating a sandbox");
    let sandbox = create(&client, config, &mut signals).await?;
    drop(waiting);
    let work = args.program.run(sandbox.clone(), args.program.command(), app.printer, &mut signals);
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    let closed = close(&sandbox, &mut signals).await;
    match outcome {
        Ok(outcome) => {
            if let (Err(_), Err(Failure::Error(error))) = (&outcome, &closed) {
                app.printer.warn(error);
            }
            outcome.and_then(|code| closed.map(|()| code))
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Makes a sandbox; when we are told to end meanwhile, it is waited for and removed.
pub(crate) async fn create(
    client: &Client,
    config: SandboxConfig,
    signals: &mut Signals,
) -> Result<Sandbox, Failure> {
    let (client, provider) = (client.clone(), client.provider_info().clone());
    let mut creation = tokio::spawn(async move { client.create(config).await });
    let created = tokio::select! {
        created = &mut creation => created,
        signal = signals.end() => {
            tokio::select! {
                created = &mut creation => if let Ok(Ok(sandbox)) = created {
                    close(&sandbox, signals).await?;
                },
                // Told twice; what is being made ends with its lease.
                _ = signals.end() => {}
            }
            return Err(Failure::Signal(signal.as_raw()));
        }
    };
    match created {
        Ok(created) => created.map_err(|error| options::explain_refusal(error, &provider).into()),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::unexpected("the runtime is shutting down").caused_by(error).into()),
    }
}

/// Closes a sandbox unless we are told to end while it will not close; then its lease ends it.
async fn close(sandbox: &Sandbox, signals: &mut Signals) -> Result<(), Failure> {
    tokio::select! {
        biased;
        closed = sandbox.close() => Ok(closed?),
        signal = signals.end() => Err(Failure::Signal(signal.as_raw())),
    }
}
