//! `grainchain providers`: where sandboxes can be made.

use grainchain::{Capability, Client, Error, Health, Settings};
use serde::Serialize;

use crate::app::App;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Printer, Table, visible};

#[derive(Serialize)]
struct Row {
    name: &'static str,
    about: &'static str,
    default: bool,
    usable: bool,
    version: Option<String>,
    place: Option<String>,
    notes: Vec<String>,
    reason: Option<String>,
    remedy: Option<String>,
    lacks: Vec<Capability>,
}

pub(crate) async fn execute(app: App) -> Outcome {
    let settings = app.settings()?;
    let default = app.provider(&settings).split("://").next().unwrap_or_default();
    let registry = grainchain::registry();
    let looks = registry.entries().iter().map(|entry| look(entry, &settings, default == entry.name));
    let rows = futures_util::future::join_all(looks).await;
    app.printer.result(&rows, |printer| show(printer, &rows))?;
    Ok(Code::OK)
}

async fn look(entry: &grainchain::Entry, settings: &Settings, default: bool) -> Row {
    let client = grainchain::registry().client_of(entry.name, settings);
    let (client, health) = match client {
        Ok(client) => {
            let health = client.check().await;
            (Some(client), health)
        }
        Err(error) => (None, Err(error)),
    };
    row(entry, default, client.as_ref(), health)
}

fn row(
    entry: &grainchain::Entry,
    default: bool,
    client: Option<&Client>,
    health: Result<Health, Error>,
) -> Row {
    let lacks = client.map(|client| {
        let lacking =
            Capability::ALL.iter().filter(|capability| !client.capabilities().supports(**capability));
        lacking.copied().collect()
    });
    let (health, error) = match health {
        Ok(health) => (health, None),
        Err(error) => (Health::default(), Some(error)),
    };
    Row {
        name: entry.name,
        about: entry.about,
        default,
        usable: error.is_none(),
        version: health.version,
        place: health.place,
        notes: health.notes,
        reason: error.as_ref().map(|error| error.message().to_owned()),
        remedy: error.as_ref().and_then(Error::remedy).map(str::to_owned),
        lacks: lacks.unwrap_or_default(),
    }
}

fn show(printer: Printer, rows: &[Row]) -> Result<(), Failure> {
    let mut table = Table::new(["", "PROVIDER", "USABLE", "VERSION", "LACKS"]);
    for row in rows {
        let lacks: Vec<_> = row.lacks.iter().map(|capability| capability.as_str()).collect();
        table.row([
            if row.default { "*" } else { "" },
            row.name,
            if row.usable { "yes" } else { "no" },
            row.version.as_deref().unwrap_or("-"),
            if lacks.is_empty() && row.usable { "nothing".to_owned() } else { lacks.join(", ") }.as_str(),
        ]);
    }
    printer.table(&table)?;
    for row in rows {
        printer.line(format_args!("\n{}: {}", row.name, row.about))?;
        for text in row.place.iter().chain(&row.reason).chain(&row.notes).chain(&row.remedy) {
            printer.line(format_args!("  {}", visible(text)))?;
        }
    }
    Ok(())
}
