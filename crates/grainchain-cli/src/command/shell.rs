//! `grainchain shell`: a shell at our terminal.

use grainchain::Command;

use super::options;
use crate::app::App;
use crate::exit::Outcome;
use crate::live::{self, Ended, Setup, Stdio};
use crate::signals::Signals;

/// bash where there is one, else sh: as the image has it.
const SHELL: &str = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi";

/// Open a shell in a sandbox
///
/// It is at a terminal as large as ours. `exit` or Ctrl-D leaves it; the sandbox stays.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sandbox; the beginning of its id is enough
    id: String,
    /// Set a variable; `K` alone passes ours on. Repeatable
    #[arg(short, long, value_name = "K=V", value_parser = options::variable)]
    env: Vec<(String, String)>,
    /// Where it starts
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// As whom it runs, where the provider allows that
    #[arg(short, long)]
    user: Option<String>,
    /// Another program than bash or sh, with its arguments
    #[arg(value_name = "CMD", trailing_var_arg = true)]
    command: Vec<String>,
}

pub(crate) async fn execute(app: App, args: Args) -> Outcome {
    if app.printer.json {
        return Err(grainchain::Error::bad_request("a shell at a terminal cannot answer in JSON")
            .hint("use exec --json")
            .into());
    }
    let mut signals = Signals::listen()?;
    let sandbox = app.sandbox(&args.id).await?;
    let command = if args.command.is_empty() { Command::shell(SHELL) } else { Command::argv(args.command) };
    let mut command = command.envs(args.env);
    command.working_directory = args.workdir;
    command.user = args.user;
    let setup =
        Setup { sandbox, command, stdio: Stdio { input: true, terminal: true }, printer: app.printer };
    live::drive(setup, &mut signals).await.and_then(Ended::outcome)
}
