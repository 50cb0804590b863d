//! `grainchain config`: what is configured, and where.

mod show;

use clap::Subcommand;
use grainchain::Error;

use crate::app::App;
use crate::exit::{Code, Outcome};

/// The configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check everything that is configured and show what is in effect, without secrets
    Check,
    /// Print the path of the file that is read
    Path,
}

pub(crate) async fn execute(app: App, command: Command) -> Outcome {
    let settings = app.settings()?;
    match command {
        Command::Check => {
            let effective = show::effective(&settings, app.global.provider.as_deref())?;
            app.printer.result(&effective, |printer| effective.show(printer))?;
            let registry = grainchain::registry();
            let client = registry.client_of(app.provider(&settings), &settings)?;
            // All of them, not only the one in use: who checks wants to know.
            for own in settings.configured_providers() {
                (registry.entry(own.name())?.build)(own)?;
            }
            client.provider_info().check(&client.default_config())?;
            app.printer.note("the configuration is valid");
        }
        Command::Path => match &settings.file {
            Some(file) => {
                let path = std::path::absolute(file).unwrap_or_else(|_| file.clone());
                let shown = path.display().to_string();
                app.printer.result(&serde_json::json!({ "path": shown }), |printer| printer.line(&shown))?;
            }
            None => {
                return Err(Error::not_found("there is no configuration file")
                    .hint("write grainchain.toml here or in ~/.config/grainchain, or name one with GRAINCHAIN_CONFIG")
                    .into());
            }
        },
    }
    Ok(Code::OK)
}
