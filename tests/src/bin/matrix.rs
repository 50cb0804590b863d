//! Prints `docs/capabilities.md` from what the providers declare; the conformance suite proves both directions of it.

#![expect(clippy::print_stdout, reason = "its output is the page")]

use grainchain::{Capability, ConfigOption, ProviderInfo, Result, Settings};

/// Every option of `create`, in the order of `SandboxConfig`.
const OPTIONS: &[(ConfigOption, &str)] = &[
    (ConfigOption::Image, "`image`"),
    (ConfigOption::Template, "`template`"),
    (ConfigOption::Lifetime, "`lifetime`"),
    (ConfigOption::MemoryLimit, "`memory_limit`"),
    (ConfigOption::CpuLimit, "`cpu_limit`"),
    (ConfigOption::EnvironmentVars, "`environment_vars`"),
    (ConfigOption::WorkingDirectory, "`working_directory`"),
    (ConfigOption::KeepAlive, "`keep_alive`"),
    (ConfigOption::Metadata, "`metadata`"),
    (ConfigOption::NetworkOff, "`network = off`"),
    (ConfigOption::NetworkOpen, "`network = open`"),
    (ConfigOption::NetworkAllow, "`network = allow`"),
    (ConfigOption::ProviderConfig, "`provider_config`"),
];

fn main() -> Result<()> {
    let registry = grainchain::registry();
    let settings = Settings::default();
    let infos = registry
        .entries()
        .iter()
        .map(|entry| Ok(registry.client_of(entry.name, &settings)?.provider_info().clone()))
        .collect::<Result<Vec<ProviderInfo>>>()?;

    println!("# Capabilities\n");
    println!(
        "What each provider declares. Written by `cargo xtask matrix` and compared in CI; the conformance suite checks that what is"
    );
    println!("declared works and that what is not answers `Unsupported` with the alternative.\n");
    table(
        "capability",
        &infos,
        Capability::ALL.iter().map(|capability| {
            (
                capability.as_str().to_owned(),
                Box::new(|info: &ProviderInfo| info.capabilities.supports(*capability)) as Test,
            )
        }),
        |name| {
            let capability = Capability::ALL.iter().find(|capability| capability.as_str() == name);
            capability.map_or("", |capability| capability.alternative()).to_owned()
        },
    );
    println!("\n## Options of `create`\n");
    println!("An option that a provider does not honour is refused by name, before anything is sent.\n");
    table(
        "option",
        &infos,
        OPTIONS.iter().map(|(option, name)| {
            ((*name).to_owned(), Box::new(|info: &ProviderInfo| info.options.contains(option)) as Test)
        }),
        |_| String::new(),
    );
    println!("\n## Languages of `run_code`\n");
    for info in &infos {
        let languages: Vec<_> =
            info.capabilities.details.languages.iter().map(|language| language.as_str()).collect();
        println!("- `{}`: {}", info.name, languages.join(", "));
    }
    Ok(())
}

type Test<'a> = Box<dyn Fn(&ProviderInfo) -> bool + 'a>;

/// One row per subject, one column per provider, and where it is absent what to use instead.
fn table<'a>(
    subject: &str,
    infos: &[ProviderInfo],
    rows: impl Iterator<Item = (String, Test<'a>)>,
    alternative: impl Fn(&str) -> String,
) {
    let names: Vec<_> = infos.iter().map(|info| format!("`{}`", info.name)).collect();
    println!("| {subject} | {} | where it is absent |", names.join(" | "));
    println!("|---|{}---|", "---|".repeat(infos.len()));
    for (name, supports) in rows {
        let cells: Vec<_> = infos.iter().map(|info| if supports(info) { "yes" } else { "no" }).collect();
        println!("| {name} | {} | {} |", cells.join(" | "), alternative(&name));
    }
}
