//! The command line: what may be said, and who does it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ColorChoice, Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::app::App;
use crate::command;
use crate::exit::{Code, Failure, Outcome};
use crate::output::Printer;

/// How long cancelled work may tidy up.
const TIDY_UP: std::time::Duration = std::time::Duration::from_millis(500);

const EXIT_CODES: &str = "\
Exit codes:
  run, exec, shell  the program's own; 128 + n when signal n ended it
                    126 it cannot be executed, 127 there is none
  code              0 done, 1 the code raised an exception
  all of these      124 the time ran out, 125 grainchain failed
  all others        0 done, 1 failed
  every command     2 wrong usage, 141 nobody reads the output,
                    128 + n when signal n ended grainchain

With nothing configured the provider is `local`: commands run on this machine
without isolation.";

/// Sandboxes from a terminal: create them, run commands and code in them, move files, snapshot them, throw them away.
#[derive(Debug, Parser)]
#[command(name = "grainchain", version, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What may be said with every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// A provider's name, or a URI such as `docker://python:3.12-slim?memory=2GiB`
    #[arg(short, long, global = true, value_name = "P")]
    pub(crate) provider: Option<String>,
    /// Read this file instead of looking for `grainchain.toml`
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Answer, and complain, in JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print results and errors alone; lists shrink to ids
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Show each operation on stderr, with how it ended; -vv shows all libraries too. `GRAINCHAIN_LOG` has the last word
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// When to use colours; NO_COLOR is respected
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(command::run::Args),
    Create(command::create::Args),
    #[command(visible_alias = "ls", alias = "ps")]
    List(command::list::Args),
    Info(command::info::Args),
    Exec(command::exec::Args),
    Code(command::code::Args),
    Shell(command::shell::Args),
    Cp(command::cp::Args),
    /// Look at and change files of a sandbox
    #[command(subcommand)]
    Files(command::files::Command),
    /// Take, list, restore and remove snapshots
    #[command(subcommand)]
    Snapshot(command::snapshot::Command),
    /// Freeze every process of a sandbox
    Pause(command::power::Args),
    /// Thaw every process of a sandbox
    Resume(command::power::Args),
    /// End every process of a sandbox and give up its compute; files and snapshots stay
    Terminate(command::power::Args),
    /// Get compute again after `terminate`
    WakeUp(command::power::Args),
    Fork(command::fork::Args),
    #[command(visible_alias = "rm", alias = "close")]
    Kill(command::kill::Args),
    Gc(command::gc::Args),
    /// Show the providers, whether they are usable here, and what each lacks
    Providers,
    Capabilities(command::capabilities::Args),
    /// Look for what could go wrong here
    Doctor,
    /// Check the configuration and show what is in effect
    #[command(subcommand)]
    Config(command::config::Command),
    Completions(command::completions::Args),
}

impl Command {
    /// Whether exit codes belong to a program that we run.
    fn runs_programs(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Exec(_) | Self::Code(_) | Self::Shell(_))
    }

    async fn execute(self, app: App) -> Outcome {
        match self {
            Self::Run(args) => command::run::execute(app, args).await,
            Self::Create(args) => command::create::execute(app, args).await,
            Self::List(args) => command::list::execute(app, args).await,
            Self::Info(args) => command::info::execute(app, args).await,
            Self::Exec(args) => command::exec::execute(app, args).await,
            Self::Code(args) => command::code::execute(app, args).await,
            Self::Shell(args) => command::shell::execute(app, args).await,
            Self::Cp(args) => command::cp::execute(app, args).await,
            Self::Files(command) => command::files::execute(app, command).await,
            Self::Snapshot(command) => command::snapshot::execute(app, command).await,
            Self::Pause(args) => command::power::pause(app, args).await,
            Self::Resume(args) => command::power::resume(app, args).await,
            Self::Terminate(args) => command::power::terminate(app, args).await,
            Self::WakeUp(args) => command::power::wake_up(app, args).await,
            Self::Fork(args) => command::fork::execute(app, args).await,
            Self::Kill(args) => command::kill::execute(app, args).await,
            Self::Gc(args) => command::gc::execute(app, args).await,
            Self::Providers => command::providers::execute(app).await,
            Self::Capabilities(args) => command::capabilities::execute(app, args).await,
            Self::Doctor => command::doctor::execute(app).await,
            Self::Config(command) => command::config::execute(app, command).await,
            Self::Completions(args) => command::completions::execute(app, args),
        }
    }
}

/// Does what the command line says.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refusal) => return refuse(&refusal),
    };
    let printer = Printer { json: cli.global.json, quiet: cli.global.quiet };
    set_colors(cli.global.color);
    log(cli.global.verbose);
    let runs_programs = cli.command.runs_programs();
    let outcome = run(cli, printer);
    let code = match &outcome {
        Ok(code) => *code,
        Err(failure) => {
            if let Failure::Error(error) | Failure::Start(error) = failure {
                printer.error(error);
            }
            failure.code(runs_programs)
        }
    };
    ExitCode::from(code.0)
}

/// Says what is wrong with the command line, in JSON when it asks for that; also prints help and version.
fn refuse(refusal: &clap::Error) -> ExitCode {
    // Up to `--`: what follows belongs to a program.
    let json =
        std::env::args_os().take_while(|argument| argument != "--").any(|argument| argument == "--json");
    if refusal.use_stderr() && json {
        let text = refusal.render().to_string();
        let (message, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
        let message = message.strip_prefix("error: ").unwrap_or(message);
        let error = grainchain::Error::bad_request(message).hint(rest.trim());
        Printer { json, quiet: false }.error(&error);
    } else {
        // Fails only when nobody reads.
        refusal.print().ok();
    }
    ExitCode::from(u8::try_from(refusal.exit_code()).unwrap_or(Code::FAILED.0))
}

fn run(cli: Cli, printer: Printer) -> Result<Code, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| grainchain::Error::io("start the runtime", error))?;
    let outcome = runtime.block_on(cli.command.execute(App::new(cli.global, printer)));
    // Work that was cancelled removes its half-written files; what hangs shall not keep us.
    runtime.shutdown_timeout(TIDY_UP);
    outcome
}

fn set_colors(choice: ColorChoice) {
    let choice = match choice {
        // What the environment says is looked at by the streams.
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
}

/// Shows the library's own words on stderr.
fn log(verbose: u8) {
    let default = match verbose {
        0 => "off",
        1 => "grainchain=debug",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("GRAINCHAIN_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_span_events(FmtSpan::CLOSE)
        .without_time()
        .init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }
}
