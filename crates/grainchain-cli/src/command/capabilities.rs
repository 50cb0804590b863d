//! `grainchain capabilities`: what a provider can do.

use grainchain::{Capability, ProviderInfo};

use crate::app::App;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Printer, Table};

/// Show what a provider can do and which options it honours
///
/// Where something is missing, the table says what to use instead.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The provider; the one in use by default
    provider: Option<String>,
}

pub(crate) async fn execute(app: App, args: Args) -> Outcome {
    let settings = app.settings()?;
    let name = args.provider.as_deref().unwrap_or_else(|| app.provider(&settings));
    let client = grainchain::registry().client_of(name, &settings)?;
    let info = client.provider_info();
    app.printer.result(info, |printer| show(printer, info))?;
    Ok(Code::OK)
}

fn show(printer: Printer, info: &ProviderInfo) -> Result<(), Failure> {
    let mut table = Table::new(["CAPABILITY", info.name, "INSTEAD"]);
    for capability in Capability::ALL {
        let has = info.capabilities.supports(*capability);
        table.row([
            capability.as_str(),
            if has { "yes" } else { "no" },
            if has { "" } else { capability.alternative() },
        ]);
    }
    printer.table(&table)?;
    printer.line("")?;
    let languages: Vec<_> =
        info.capabilities.details.languages.iter().map(|language| language.as_str()).collect();
    let options: Vec<_> = info.options.iter().map(option).collect();
    printer.pairs([
        ("languages", list(&languages)),
        ("options", list(&options)),
        (
            "users",
            if info.capabilities.details.users {
                "commands can run as another user"
            } else {
                "all commands run as the same user"
            }
            .to_owned(),
        ),
    ])
}

/// The option, with the value where a provider honours only some.
fn option(option: &grainchain::ConfigOption) -> &'static str {
    use grainchain::ConfigOption::{NetworkAllow, NetworkOff, NetworkOpen};
    match option {
        NetworkOff => "network=off",
        NetworkOpen => "network=open",
        NetworkAllow => "network=allow",
        other => other.as_str(),
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
