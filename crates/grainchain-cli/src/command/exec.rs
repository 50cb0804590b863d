//! `grainchain exec`: a command in a sandbox that is there.

use grainchain::{Capability, Command, ErrorKind, Sandbox};

use super::options::{self, Limit};
use crate::app::App;
use crate::exit::{Code, Failure, Outcome};
use crate::live::{self, Setup, Stdio};
use crate::output::Printer;
use crate::signals::Signals;
use crate::terminal;

/// Run a command in a sandbox, with live output
///
/// Our stdin goes to the command when it is not a terminal, or with -i. The first Ctrl-C goes to the command, a second one kills it.
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
    #[command(flatten)]
    program: Program,
}

/// The command and what stands around it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Command")]
pub(crate) struct Program {
    /// Kill it after so many seconds (or 5m, 2h); `none` for never. The sandbox's default, 300 s, unless it has a terminal
    #[arg(long, value_name = "TIME", value_parser = options::limit, allow_negative_numbers = true)]
    timeout: Option<Limit>,
    /// Pass our stdin on also when it is a terminal
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal, as large as ours
    #[arg(short, long, conflicts_with = "json")]
    tty: bool,
    /// The program and its arguments, passed on exactly; no shell touches them
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    command: Vec<String>,
}

pub(crate) async fn execute(app: App, args: Args) -> Outcome {
    let mut signals = Signals::listen()?;
    let sandbox = app.sandbox(&args.id).await?;
    let mut command = args.program.command().envs(args.env);
    command.working_directory = args.workdir;
    command.user = args.user;
    args.program.run(sandbox, command, app.printer, &mut signals).await
}

impl Program {
    /// The bare command.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::argv(&self.command);
        command.timeout = self.timeout.map(Limit::timeout);
        command
    }

    /// Runs `command` with live output; with `--json`, and where there is no other way, to its end.
    pub(crate) async fn run(
        &self,
        sandbox: Sandbox,
        command: Command,
        printer: Printer,
        signals: &mut Signals,
    ) -> Outcome {
        let input = self.interactive || !terminal::stdin_is_terminal();
        let setup = Setup { sandbox, command, stdio: Stdio { input, terminal: self.tty }, printer };
        // A terminal that cannot be had is refused by the provider.
        let live = self.tty || setup.sandbox.capabilities().supports(Capability::Processes);
        let outcome = if printer.json || !live {
            self.to_end(setup, signals).await
        } else {
            live::drive(setup, signals).await.and_then(live::Ended::outcome)
        };
        outcome.map_err(|failure| self.explain(failure))
    }

    async fn to_end(&self, setup: Setup, signals: &mut Signals) -> Outcome {
        let printer = setup.printer;
        if !printer.json {
            printer.note(format_args!(
                "{} shows output only when the command has ended",
                setup.sandbox.provider()
            ));
        }
        let ended = live::to_end(setup, signals).await;
        if !printer.json
            && let Err(Failure::Error(error) | Failure::Start(error)) = &ended
            && let Some(output) = error.partial_output()
        {
            live::show(output, printer).await?;
        }
        let output = ended?;
        if printer.json {
            printer.json(&output)?;
        } else {
            live::show(&output, printer).await?;
        }
        Ok(output.status.map_or(Code::OURS, |status| Code::of_shell(status.shell_code())))
    }

    /// Guesses what a newcomer meant.
    fn explain(&self, failure: Failure) -> Failure {
        match (failure, self.command.as_slice()) {
            (Failure::Start(error), [only])
                if error.kind() == ErrorKind::NotFound && only.contains(char::is_whitespace) =>
            {
                Failure::Start(error.hint(
                    "the whole line was taken as a program's name; leave out the quotes, or write -- sh -c '…'",
                ))
            }
            (failure, _) => options::explain_timeout(failure),
        }
    }
}
