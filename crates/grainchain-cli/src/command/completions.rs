//! `grainchain completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::app::App;
use crate::cli::Cli;
use crate::exit::{Code, Outcome};

/// Print a completion script for a shell
///
/// For example: grainchain completions bash > ~/.local/share/bash-completion/completions/grainchain
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell that it is for
    shell: Shell,
}

pub(crate) fn execute(app: App, args: Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "grainchain", &mut script);
    app.printer.bytes(&script)?;
    Ok(Code::OK)
}
