//! Making, finding and listing sandboxes.

use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;
use grainchain_core::{ByteSize, ConfigOption, ErrorKind, ListFilter, Removal, RemoveIf, SandboxStatus};

use super::support::{secs, sh};
use crate::case::cases;
use crate::check::fails;
use crate::context::Context;
use crate::check::Outcome;

/// Asks for an option that is not honoured: it must be refused by name before anything is made.
async fn refused(cx: &Context, config: grainchain_core::SandboxConfig, option: ConfigOption) -> Outcome {
    let error = fails(cx.create(config).await, &[ErrorKind::Unsupported])?;
    same!(error.failed_option(), Some(option.as_str()));
    check!(error.to_string().contains(option.as_str()), "does not print the option: {error}");
    same!(cx.listed().await?, Vec::new(), "the sandboxes made all the same");
    Ok(())
}

cases! { create:
    fn a_new_sandbox_runs(cx) {
        let sandbox = cx.sandbox().await?;
        let info = sandbox.info().await?;
        same!((&info.id, info.status), (sandbox.id(), SandboxStatus::Running));
        same!(info.provider, cx.client().provider_info().name);
        same!(sh(&sandbox, "ls -A").await?, "", "what lies in a new working directory");
    }

    fn a_new_sandbox_knows_when_it_was_made(cx) {
        let made = cx.sandbox().await?.info().await?.created_at;
        let age = made.and_then(|made| SystemTime::now().duration_since(made).ok());
        check!(made.is_none() || age.is_none_or(|age| age < Duration::from_secs(3600)), "made at {made:?}");
    }

    fn a_new_sandbox_is_listed(cx) {
        let sandbox = cx.sandbox().await?;
        check!(cx.listed().await?.contains(sandbox.id()), "{} is not listed", sandbox.id());
        let running = cx.client().list(ListFilter::default().status(SandboxStatus::Running)).await?;
        check!(running.iter().any(|info| info.id == *sandbox.id()), "not among the running");
        let paused = cx.client().list(ListFilter::default().status(SandboxStatus::Paused)).await?;
        check!(!paused.iter().any(|info| info.id == *sandbox.id()), "among the paused");
    }

    fn a_sandbox_is_found_by_its_id(cx) {
        let sandbox = cx.sandbox().await?;
        sh(&sandbox, "echo mine > f").await?;
        let again = cx.client().connect(sandbox.id().clone()).await?;
        same!(again.id(), sandbox.id());
        same!(sh(&again, "cat f").await?, "mine\n");
        same!(again.capabilities(), sandbox.capabilities());
    }

    fn an_unknown_sandbox_is_not_found_and_named(cx) {
        let error = fails(cx.client().connect("no-such-sandbox").await, &[ErrorKind::NotFound])?;
        check!(error.to_string().contains("no-such-sandbox"), "does not name it: {error}");
        fails(cx.client().remove(&"no-such-sandbox".into()).await, &[ErrorKind::NotFound])?;
    }

    fn a_cruel_id_is_not_found_and_harms_nothing(cx) {
        let sandbox = cx.sandbox().await?;
        for id in ["", ".", "..", "../x", "/etc", "a/b", "a\0b", "a\nb", "*", "%2e%2e", &"x".repeat(5000)] {
            fails(cx.client().connect(id).await, &[ErrorKind::NotFound, ErrorKind::BadRequest])?;
            fails(cx.client().remove(&id.into()).await, &[ErrorKind::NotFound, ErrorKind::BadRequest])?;
        }
        same!(sh(&sandbox, "echo alive").await?, "alive\n");
    }

    fn eight_sandboxes_are_made_at_once(cx) {
        let made = try_join_all((0..8).map(|_| cx.create(cx.config()))).await?;
        let ids: std::collections::BTreeSet<_> = made.iter().map(|sandbox| sandbox.id().clone()).collect();
        same!(ids.len(), 8);
        for (number, sandbox) in made.iter().enumerate() { sh(sandbox, &format!("echo {number} > own")).await?; }
        for (number, sandbox) in made.iter().enumerate() { same!(sh(sandbox, "cat own").await?, format!("{number}\n")); }
    }

    fn the_capabilities_are_those_of_the_provider(cx) {
        let sandbox = cx.sandbox().await?;
        let (declared, real) = (cx.client().capabilities(), sandbox.capabilities());
        let provider_wide = [grainchain_core::Capability::Templates, grainchain_core::Capability::SnapshotCatalog, grainchain_core::Capability::Volumes];
        let mut expected = declared.supported.clone();
        expected.retain(|capability| !provider_wide.contains(capability));
        let mut real = real.supported;
        real.retain(|capability| !provider_wide.contains(capability));
        same!(real, expected);
    }

    fn provider_wide_facets_are_there_as_declared(cx) {
        use grainchain_core::Capability;
        let client = cx.client();
        same!(client.templates().is_ok(), client.capabilities().supports(Capability::Templates), "templates");
        same!(client.volumes().is_ok(), client.capabilities().supports(Capability::Volumes), "volumes");
        same!(client.snapshot_catalog().is_ok(), client.capabilities().supports(Capability::SnapshotCatalog), "the snapshot catalog");
    }

    fn the_working_directory_is_made_and_used(cx) honours [WorkingDirectory] {
        let sandbox = cx.create(cx.config().working_directory("deep/er/place")).await?;
        check!(sh(&sandbox, "pwd").await?.trim_end().ends_with("deep/er/place"), "starts elsewhere");
        if sandbox.capabilities().supports(grainchain_core::Capability::Files) {
            sandbox.upload_file("beacon", "x").await?;
            same!(sh(&sandbox, "cat beacon").await?, "x");
        }
    }

    fn labels_are_kept_and_found(cx) honours [Metadata] {
        let label = cx.mark().to_owned();
        let sandbox = cx.create(cx.config().metadata("case", &label).metadata("ugly", "a='b' \"c\"\n日本")).await?;
        cx.create(cx.config().metadata("case", "another")).await?;
        let found = cx.client().list(ListFilter::default().metadata("case", &label)).await?;
        same!(found.iter().map(|info| &info.id).collect::<Vec<_>>(), [sandbox.id()]);
        same!(sandbox.info().await?.metadata.get("ugly").map(String::as_str), Some("a='b' \"c\"\n日本"));
    }

    fn a_lifetime_ends_the_sandbox(cx) honours [Lifetime] {
        let sandbox = cx.create(cx.config().lifetime(secs(3))).await?;
        check!(sandbox.info().await?.expires_at.is_some(), "does not say when it ends");
        crate::poll::until("the lifetime has ended it", async || Ok(!cx.listed().await?.contains(sandbox.id()))).await?;
    }

    fn a_sandbox_can_outlive_its_client(cx) honours [KeepAlive] {
        let sandbox = cx.create(cx.config().keep_alive()).await?;
        check!(sandbox.info().await?.keep_alive, "does not say so");
        let report = cx.client().gc(grainchain_core::GcOptions::default().dry_run()).await?;
        check!(!report.entries.iter().any(|entry| entry.sandbox.id == *sandbox.id()), "counts as left behind");
    }

    fn gc_leaves_what_is_held(cx) {
        let sandbox = cx.sandbox().await?;
        let report = cx.client().gc(grainchain_core::GcOptions::default().dry_run()).await?;
        check!(!report.entries.iter().any(|entry| entry.sandbox.id == *sandbox.id()), "a living sandbox counts as left behind");
    }

    fn what_is_in_use_is_not_removed_as_left_behind(cx) {
        // As gc does with a list that was true a moment ago, before somebody connected.
        let sandbox = cx.sandbox().await?;
        for condition in [RemoveIf::Abandoned, RemoveIf::Expired, RemoveIf::Broken] {
            let removal = cx.client().remove_if(sandbox.id(), condition).await?;
            check!(removal == Removal::Kept, "removed on the condition {condition:?}");
            same!(sh(&sandbox, "echo x").await?, "x\n");
        }
        let again = cx.client().connect(sandbox.id().clone()).await?;
        same!(sh(&again, "echo x").await?, "x\n");
    }

    fn a_memory_limit_is_shown(cx) honours [MemoryLimit] {
        let sandbox = cx.create(cx.config().memory_limit(ByteSize::mib(256))).await?;
        same!(sandbox.info().await?.memory_limit, Some(ByteSize::mib(256)));
    }

    fn image_is_refused_where_it_is_not_honoured(cx) refuses [Image] {
        let mut config = cx.config();
        config.image = Some("python:3.12-slim".to_owned());
        refused(&cx, config, ConfigOption::Image).await?;
    }

    fn template_is_refused_where_it_is_not_honoured(cx) refuses [Template] {
        let mut config = cx.config();
        config.template = Some("base".to_owned());
        refused(&cx, config, ConfigOption::Template).await?;
    }

    fn memory_limit_is_refused_where_it_is_not_honoured(cx) refuses [MemoryLimit] {
        refused(&cx, cx.config().memory_limit(ByteSize::gib(1)), ConfigOption::MemoryLimit).await?;
    }

    fn cpu_limit_is_refused_where_it_is_not_honoured(cx) refuses [CpuLimit] {
        refused(&cx, cx.config().cpu_limit(0.5), ConfigOption::CpuLimit).await?;
    }

    fn environment_is_refused_where_it_is_not_honoured(cx) refuses [EnvironmentVars] {
        refused(&cx, cx.config().env("A", "b"), ConfigOption::EnvironmentVars).await?;
    }

    fn working_directory_is_refused_where_it_is_not_honoured(cx) refuses [WorkingDirectory] {
        refused(&cx, cx.config().working_directory("w"), ConfigOption::WorkingDirectory).await?;
    }

    fn keep_alive_is_refused_where_it_is_not_honoured(cx) refuses [KeepAlive] {
        refused(&cx, cx.config().keep_alive(), ConfigOption::KeepAlive).await?;
    }

    fn labels_are_refused_where_they_are_not_honoured(cx) refuses [Metadata] {
        refused(&cx, cx.config().metadata("a", "b"), ConfigOption::Metadata).await?;
    }

    fn lifetime_is_refused_where_it_is_not_honoured(cx) refuses [Lifetime] {
        refused(&cx, cx.config().lifetime(secs(600)), ConfigOption::Lifetime).await?;
    }

    fn network_policies_are_refused_where_they_are_not_honoured(cx) refuses [NetworkOff, NetworkAllow] {
        use grainchain_core::NetworkPolicy;
        refused(&cx, cx.config().network(NetworkPolicy::Off), ConfigOption::NetworkOff).await?;
        refused(&cx, cx.config().network(NetworkPolicy::Allow(vec!["example.org".to_owned()])), ConfigOption::NetworkAllow).await?;
    }

    fn an_unknown_option_of_the_provider_is_refused_by_name(cx) {
        let result = cx.create(cx.config().provider_option("no_such_option", 1)).await;
        let error = fails(result, &[ErrorKind::BadRequest, ErrorKind::Unsupported, ErrorKind::Config])?;
        let named = error.failed_option().is_some_and(|option| option.contains("no_such_option") || option == "provider_config");
        check!(named, "does not name the option: {error}");
        same!(cx.listed().await?, Vec::new(), "the sandboxes made all the same");
    }

    fn impossible_options_are_refused_by_name(cx) {
        for (config, option) in [
            (cx.config().timeout(Duration::ZERO), "timeout"),
            (cx.config().lifetime(Duration::ZERO), "lifetime"),
            (cx.config().cpu_limit(0.0), "cpu_limit"),
            (cx.config().cpu_limit(f64::NAN), "cpu_limit"),
            (cx.config().memory_limit(ByteSize::bytes(0)), "memory_limit"),
            (cx.config().env("A=B", "c"), "environment_vars"),
            (cx.config().env("", "c"), "environment_vars"),
            (cx.config().env("A", "b\0"), "environment_vars"),
            (cx.config().working_directory(""), "working_directory"),
            (cx.config().working_directory("a\0b"), "working_directory"),
        ] {
            let error = fails(cx.create(config).await, &[ErrorKind::BadRequest])?;
            same!(error.failed_option(), Some(option));
        }
        same!(cx.listed().await?, Vec::new(), "the sandboxes made all the same");
    }

    fn the_provider_is_healthy(cx) {
        cx.client().check().await?;
    }
}
