//! Sandboxes that cannot be made: each refusal names its option and leaves nothing behind.

use serde_json::json;

use grainchain_core::{ByteSize, Error, ErrorKind, NetworkPolicy, SandboxConfig};
use grainchain_testkit::{Context, Outcome, fails};

use super::support::{docker, engine, equal, nothing_left, require, sh};

/// `config` with a volume of this case's own, which is not there yet.
fn with_volume(cx: &Context, config: SandboxConfig) -> SandboxConfig {
    config.provider_option("volumes", json!([format!("{}-data:/data", cx.mark())]))
}

/// Holds a sandbox of `config` to be refused because of `option`, and to leave nothing.
async fn leaves_nothing(
    cx: &Context,
    config: SandboxConfig,
    kinds: &[ErrorKind],
    option: &str,
) -> Outcome<Error> {
    let made = cx.create(config).await;
    if let Ok(unwanted) = &made {
        // A case that fails leaves nothing either.
        unwanted.close().await?;
        docker(&["volume", "rm", &format!("{}-data", cx.mark())]).await?;
    }
    let error = fails(made, kinds)?;
    equal("the option", error.failed_option(), Some(option))?;
    require(error.remedy().is_some(), format!("does not say what to do: {error}"))?;
    nothing_left(cx).await?;
    Ok(error)
}

cases! { docker_leftovers:
    fn an_image_that_is_missing_and_must_not_be_pulled_is_named(cx) {
        let mut config = with_volume(&cx, cx.config()).provider_option("pull", "never");
        config.image = Some("grainchain-test/not-there:1".to_owned());
        let error = fails(cx.create(config).await, &[ErrorKind::NotFound])?;
        require(error.to_string().contains("grainchain-test/not-there:1"), format!("does not name the image: {error}"))?;
        nothing_left(&cx).await?;
    }

    fn a_folder_that_does_not_exist_is_not_made_on_the_machine(cx) {
        let place = std::env::temp_dir().join(format!("{}-not-there", cx.mark()));
        let volumes = json!([format!("{}-data:/data", cx.mark()), format!("{}:/place", place.display())]);
        leaves_nothing(&cx, cx.config().provider_option("volumes", volumes), &[ErrorKind::BadRequest], "volumes").await?;
        require(!place.exists(), "the folder was made")?;
    }

    fn a_volume_that_hides_the_image_is_refused(cx) {
        let volumes = json!([format!("{}-data:/", cx.mark())]);
        leaves_nothing(&cx, cx.config().provider_option("volumes", volumes), &[ErrorKind::BadRequest], "volumes").await?;
    }

    fn a_port_that_is_taken_is_a_conflict(cx) {
        let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
        let ports = json!([format!("{}:80", taken.local_addr()?.port())]);
        let config = with_volume(&cx, cx.config()).network(NetworkPolicy::Open).provider_option("ports", ports);
        leaves_nothing(&cx, config, &[ErrorKind::Conflict], "ports").await?;
    }

    fn a_port_without_a_network_is_refused(cx) {
        let config = with_volume(&cx, cx.config()).provider_option("ports", json!(["0:80"]));
        let error = fails(cx.create(config).await, &[ErrorKind::BadRequest])?;
        equal("the option", error.failed_option(), Some("ports"))?;
        nothing_left(&cx).await?;
    }

    fn a_runtime_that_nobody_knows_is_refused(cx) {
        let config = with_volume(&cx, cx.config()).provider_option("runtime", "not-there");
        leaves_nothing(&cx, config, &[ErrorKind::BadRequest], "runtime").await?;
    }

    fn a_network_that_nobody_knows_is_not_found(cx) {
        let config = with_volume(&cx, cx.config()).provider_option("network", "not-there");
        leaves_nothing(&cx, config, &[ErrorKind::NotFound], "network").await?;
    }

    fn a_user_that_the_image_does_not_know_is_not_found(cx) {
        // In memory a folder needs an owner by number: only an image that can be changed gets as far as the name.
        let config = with_volume(&cx, cx.config()).provider_option("read_only", false).provider_option("user", "nobody-here");
        leaves_nothing(&cx, config, &[ErrorKind::NotFound, ErrorKind::BadRequest], "user").await?;
    }

    fn a_capability_that_nobody_knows_is_refused(cx) {
        let config = with_volume(&cx, cx.config()).provider_option("cap_add", json!(["NOT_THERE"]));
        leaves_nothing(&cx, config, &[ErrorKind::BadRequest], "cap_add").await?;
    }

    fn a_limit_that_contradicts_itself_is_refused(cx) {
        let limits = json!({ "nofile": { "soft": 200, "hard": 100 } });
        leaves_nothing(&cx, with_volume(&cx, cx.config()).provider_option("ulimits", limits), &[ErrorKind::BadRequest], "ulimits").await?;
    }

    fn more_processors_than_there_are_is_refused(cx) {
        leaves_nothing(&cx, with_volume(&cx, cx.config()).cpu_limit(10_000.0), &[ErrorKind::BadRequest], "cpu_limit").await?;
    }

    fn a_profile_that_the_engine_does_not_understand_is_refused(cx) {
        let config = with_volume(&cx, cx.config()).provider_option("seccomp", "{\"defaultAction\":\"NOT_THERE\"}");
        leaves_nothing(&cx, config, &[ErrorKind::BadRequest], "seccomp").await?;
    }

    fn a_size_on_disk_is_kept_or_refused_but_never_ignored(cx) {
        let config = with_volume(&cx, cx.config()).provider_option("disk", "1GiB");
        match cx.create(config).await {
            // The storage has quotas.
            Ok(sandbox) => {
                let told = sh(&sandbox, "df -k / | tail -n 1").await?;
                let size = told.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
                require(size.is_some_and(|size| size <= 1 << 20), format!("the disk is {told}"))?;
                sandbox.close().await?;
                docker(&["volume", "rm", &format!("{}-data", cx.mark())]).await?;
            }
            refused => {
                let error = fails(refused, &[ErrorKind::Unsupported])?;
                equal("the option", error.failed_option(), Some("disk"))?;
            }
        }
        nothing_left(&cx).await?;
    }

    fn a_gpu_that_is_not_there_is_refused(cx) {
        let config = with_volume(&cx, cx.config()).provider_option("gpus", "1");
        if std::path::Path::new("/proc/driver/nvidia").exists() {
            // Whether there is one for the sandbox depends on more than this machine.
            return Ok(());
        }
        let error = leaves_nothing(&cx, config, &[ErrorKind::Unsupported], "gpus").await?;
        require(error.to_string().to_lowercase().contains("gpu"), format!("does not say what is missing: {error}"))?;
    }

    fn a_working_directory_below_a_folder_in_memory_is_refused_where_nobody_makes_it(cx) lacks [Processes] {
        let config = with_volume(&cx, cx.config())
            .provider_option("read_only", false)
            .provider_option("tmpfs", json!({ "/scratch": "1MiB" }))
            .working_directory("/scratch/a");
        let error = leaves_nothing(&cx, config, &[ErrorKind::BadRequest], "working_directory").await?;
        require(error.to_string().contains("`/scratch`"), format!("does not name the folder: {error}"))?;
    }

    fn a_working_directory_that_cannot_be_made_is_refused(cx) {
        for place in ["/proc/not-there", "/sys/not-there"] {
            let config = with_volume(&cx, cx.config()).working_directory(place);
            leaves_nothing(&cx, config, &[ErrorKind::BadRequest, ErrorKind::Denied, ErrorKind::NotFound], "working_directory").await?;
        }
    }

    fn a_file_as_working_directory_is_refused(cx) {
        let config = with_volume(&cx, cx.config()).provider_option("read_only", false).working_directory("/etc/passwd");
        leaves_nothing(&cx, config, &[ErrorKind::BadRequest, ErrorKind::Conflict], "working_directory").await?;
    }

    fn what_is_wrong_is_said_before_a_volume_is_made(cx) {
        for (option, value) in [("pids", json!(-1)), ("privileged", json!(true)), ("shm_size", json!("much")), ("gpus", json!("some"))] {
            fails(cx.create(with_volume(&cx, cx.config()).provider_option(option, value)).await, &[ErrorKind::BadRequest])?;
        }
        fails(cx.create(with_volume(&cx, cx.config()).cpu_limit(0.000_1)).await, &[ErrorKind::BadRequest])?;
        fails(cx.create(with_volume(&cx, cx.config()).memory_limit(ByteSize::mib(2))).await, &[ErrorKind::BadRequest])?;
        nothing_left(&cx).await?;
    }

    fn a_volume_that_was_there_survives_a_sandbox_that_could_not_be_made(cx) {
        let name = format!("{}-data", cx.mark());
        engine(&["volume", "create", &name]).await?;
        let config = with_volume(&cx, cx.config()).provider_option("network", "not-there");
        let refused = fails(cx.create(config).await, &[ErrorKind::NotFound]);
        // Fails where it is not there any more.
        let removed = engine(&["volume", "rm", &name]).await;
        refused?;
        removed?;
    }
}
