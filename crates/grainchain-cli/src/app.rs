//! What every command needs: the settings, a client, and sandboxes by the beginning of their ids.

use grainchain::layer::Trace;
use grainchain::{Client, Error, ErrorKind, ListFilter, Result, Sandbox, SandboxId, SandboxInfo, Settings};

use crate::cli::Global;
use crate::output::Printer;

/// The program's surroundings.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) global: Global,
    pub(crate) printer: Printer,
}

/// How many candidates an ambiguous id names.
const CANDIDATES: usize = 5;

impl App {
    pub(crate) fn new(global: Global, printer: Printer) -> Self {
        Self { global, printer }
    }

    /// The settings: those of `--config`, else those that are found.
    pub(crate) fn settings(&self) -> Result<Settings> {
        match &self.global.config {
            Some(file) => Settings::from_file(file),
            None => Settings::load(),
        }
    }

    /// The name or URI of the provider in use.
    pub(crate) fn provider<'a>(&'a self, settings: &'a Settings) -> &'a str {
        self.global.provider.as_deref().unwrap_or(&settings.default_provider)
    }

    /// A client of the provider in use.
    pub(crate) fn client(&self) -> Result<Client> {
        let settings = self.settings()?;
        self.client_of(&settings)
    }

    /// A client of the provider in use under `settings`, whose operations `-v` shows.
    pub(crate) fn client_of(&self, settings: &Settings) -> Result<Client> {
        let client = crate::providers::registry().client_of(self.provider(settings), settings)?;
        Ok(client.layer(Trace))
    }

    /// A client for something new, saying so when nobody chose where it will run.
    pub(crate) fn client_for_new(&self) -> Result<Client> {
        let settings = self.settings()?;
        if self.global.provider.is_none() && settings.default_provider == "local" && nobody_chose(&settings) {
            self.printer.note(format_args!(
                "provider: local ({}); commands run on this machine without isolation",
                settings.chosen_by
            ));
        }
        self.client_of(&settings)
    }

    /// The sandbox whose id is `id` or begins so.
    pub(crate) async fn sandbox(&self, id: &str) -> Result<Sandbox> {
        let client = self.client()?;
        match client.connect(id).await {
            Err(error) if may_be_abbreviated(&error) => match lookup(&client, id).await? {
                Some(found) => client.connect(found).await,
                None => Err(missing(id, &client)),
            },
            other => other,
        }
    }

    /// The id that is `id` or begins so.
    pub(crate) async fn id(&self, client: &Client, id: &str) -> Result<SandboxId> {
        lookup(client, id).await?.ok_or_else(|| missing(id, client))
    }

    /// What the list says about the sandbox whose id is `id` or begins so.
    pub(crate) async fn listed(&self, client: &Client, id: &str) -> Result<SandboxInfo> {
        let all = client.list(ListFilter::default()).await?;
        let found = choose(id, all.iter().map(|info| info.id.clone()))?;
        let listed = found.and_then(|found| all.into_iter().find(|info| info.id == found));
        listed.ok_or_else(|| missing(id, client))
    }
}

/// Whether the provider is `local` only because nothing says otherwise.
fn nobody_chose(settings: &Settings) -> bool {
    settings.chosen_by == Settings::default().chosen_by
        || settings.chosen_by.ends_with("names no default_provider")
}

fn may_be_abbreviated(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::BadRequest)
}

fn missing(id: &str, client: &Client) -> Error {
    let message = if id.is_empty() {
        "the id of the sandbox is empty".to_owned()
    } else {
        format!("there is no sandbox `{id}`")
    };
    Error::not_found(message)
        .provider(client.provider_info().name)
        .hint("`grainchain list` shows those that there are")
}

async fn lookup(client: &Client, id: &str) -> Result<Option<SandboxId>> {
    let all = client.list(ListFilter::default()).await?;
    choose(id, all.into_iter().map(|info| info.id))
}

/// The id that is `wanted`, else the only one that begins so.
fn choose(wanted: &str, ids: impl Iterator<Item = SandboxId>) -> Result<Option<SandboxId>> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let mut found: Vec<_> = ids.filter(|id| id.as_str().starts_with(wanted)).collect();
    if let Some(exact) = found.iter().position(|id| id.as_str() == wanted) {
        return Ok(Some(found.swap_remove(exact)));
    }
    if found.len() > 1 {
        found.sort();
        let names: Vec<_> = found.iter().take(CANDIDATES).map(SandboxId::as_str).collect();
        let more = if found.len() > CANDIDATES { ", …" } else { "" };
        return Err(Error::bad_request(format!(
            "`{wanted}` begins {} sandboxes: {}{more}",
            found.len(),
            names.join(", ")
        ))
        .hint("write more of the id"));
    }
    Ok(found.pop())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(wanted: &str, ids: &[&str]) -> Result<Option<SandboxId>> {
        choose(wanted, ids.iter().map(|id| SandboxId::from(*id)))
    }

    #[test]
    fn a_unique_beginning_is_enough_and_an_exact_id_always_wins() {
        assert_eq!(among("sb_a", &["sb_abc", "sb_bcd"]).unwrap().unwrap().as_str(), "sb_abc");
        assert_eq!(among("sb", &["sb", "sb_2"]).unwrap().unwrap().as_str(), "sb");
        assert!(among("x", &["sb"]).unwrap().is_none());
    }

    #[test]
    fn an_ambiguous_beginning_names_the_candidates() {
        let error = among("sb_", &["sb_2", "sb_1"]).unwrap_err();
        assert!(error.to_string().contains("sb_1, sb_2"), "{error}");
    }

    #[test]
    fn an_empty_id_never_means_the_only_sandbox() {
        assert!(among("", &["sb_1"]).unwrap().is_none());
    }
}
