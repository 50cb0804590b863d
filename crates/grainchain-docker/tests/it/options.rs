//! Options of containers, as those inside and the engine see them.

use grainchain_core::{NetworkPolicy, Sandbox, SandboxConfig};
use grainchain_docker::GuestKind;
use libtest_mimic::Failed;
use serde_json::json;

use crate::world::{Outcome, Test, World, docker, sh, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test("options::each_reaches_the_container", each_reaches_the_container),
        test(
            "options::sandboxes_in_one_network_reach_each_other_and_nobody_else_does",
            sandboxes_in_one_network_reach_each_other_and_nobody_else_does,
        ),
    ]
}

/// A client of the same owner whose sandboxes are served by `guest`.
fn served_by(world: &World, guest: GuestKind) -> Result<World, Failed> {
    let mut other = World::new(|config| config.guest(guest))?;
    other.owner.clone_from(&world.owner);
    other.client = other.client.owner(world.owner.clone());
    Ok(other)
}

/// What the engine says of the sandbox's container.
fn told(sandbox: &Sandbox, what: &str) -> Result<String, Failed> {
    docker(&["inspect", "--format", what, &format!("grainchain-{}", sandbox.id())])
}

async fn each_reaches_the_container(world: World) -> Outcome {
    for guest in [GuestKind::Engine, GuestKind::Helper] {
        let config = SandboxConfig::default()
            .network(NetworkPolicy::Open)
            .provider_option("dns", json!(["192.0.2.53", "192.0.2.54"]))
            .provider_option("extra_hosts", json!({ "far.test": "192.0.2.7", "farther.test": "192.0.2.8" }))
            .provider_option("labels", json!({ "team": world.owner, "empty": "" }))
            .provider_option("runtime", "runc")
            .provider_option("ulimits", json!({ "nofile": { "soft": 99, "hard": 111 } }));
        let sandbox = served_by(&world, guest)?.create(config).await?;
        let servers = sh(&sandbox, "cat /etc/resolv.conf").await?;
        let servers: Vec<_> =
            servers.lines().filter_map(|line| line.trim().strip_prefix("nameserver ")).collect();
        assert_eq!(servers, ["192.0.2.53", "192.0.2.54"], "{guest:?}");
        let hosts = sh(&sandbox, "cat /etc/hosts").await?;
        for entry in ["192.0.2.7 far.test", "192.0.2.8 farther.test"] {
            let is_there = hosts.lines().any(|line| line.split_whitespace().eq(entry.split_whitespace()));
            assert!(is_there, "{guest:?}: no {entry} in {hosts}");
        }
        assert_eq!(sh(&sandbox, "ulimit -Hn").await?, "111\n", "{guest:?}");
        let labels =
            told(&sandbox, r#"{{index .Config.Labels "team"}} {{len (index .Config.Labels "empty")}}"#)?;
        assert_eq!(labels, format!("{} 0", world.owner));
        assert_eq!(told(&sandbox, "{{.HostConfig.Runtime}}")?, "runc");
        let filter = format!("label=team={}", world.owner);
        assert_eq!(docker(&["ps", "--quiet", "--filter", &filter])?.lines().count(), 1);
        sandbox.close().await?;
    }
    Ok(())
}

/// A network that goes with its test.
struct Network(String);

impl Network {
    fn new(world: &World) -> Result<Self, Failed> {
        let name = format!("grainchain-{}", world.owner);
        docker(&["network", "create", "--internal", &name])?;
        Ok(Self(name))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What a test that failed has left in it would keep it.
        let inside =
            docker(&["network", "inspect", "--format", "{{range .Containers}}{{.Name}} {{end}}", &self.0]);
        for container in inside.unwrap_or_default().split_whitespace() {
            docker(&["network", "disconnect", "--force", &self.0, container]).ok();
        }
        docker(&["network", "rm", &self.0]).ok();
    }
}

async fn sandboxes_in_one_network_reach_each_other_and_nobody_else_does(world: World) -> Outcome {
    let network = Network::new(&world)?;
    let within = || SandboxConfig::default().provider_option("network", network.0.as_str());
    let with_helper = served_by(&world, GuestKind::Helper)?;
    let one = world.create(within()).await?;
    let other = with_helper.create(within()).await?;
    let stranger = world.create(SandboxConfig::default().network(NetworkPolicy::Open)).await?;
    let address =
        told(&one, &format!("{{{{(index .NetworkSettings.Networks \"{}\").IPAddress}}}}", network.0))?;
    assert!(!address.is_empty());
    let server = tokio::spawn(one.execute("nc -ll -p 8080 -e echo from the one").into_future());
    sh(&one, "timeout 60 sh -c \"until grep -q ':1F90 .* 0A ' /proc/net/tcp*; do :; done\"").await?;
    // By its address and by the name that the engine gives it.
    for place in [address.as_str(), &format!("grainchain-{}", one.id())] {
        assert_eq!(sh(&other, &format!("nc -w 20 {place} 8080 < /dev/null")).await?, "from the one\n");
    }
    let tried = stranger.execute(format!("nc -w 3 {address} 8080 < /dev/null").as_str()).await?;
    assert!(tried.failed(), "the stranger got through: {}", tried.stdout());
    server.abort();
    Ok(())
}
