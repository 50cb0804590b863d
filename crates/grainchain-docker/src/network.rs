//! The network of a sandbox that runs: closed, and opened again.

use grainchain_core::{Error, ErrorKind, NetworkPolicy, Result};
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::labels::NETWORK;

/// The engine's name for having none but the loopback.
const NONE: &str = "none";

/// The one that "open" means where nobody names another.
const BRIDGE: &str = "bridge";

/// Which networks a container was made for and is in.
#[derive(Debug)]
struct Attached {
    /// The one it was made with.
    made_with: String,
    /// The one that it had before it was replaced while closed.
    before: Option<String>,
    /// Those it is in now.
    now: Vec<String>,
}

impl Attached {
    fn of(inspected: &Value) -> Self {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let now = inspected["NetworkSettings"]["Networks"].as_object();
        Self {
            made_with: text(&inspected["HostConfig"]["NetworkMode"]).unwrap_or_else(|| NONE.to_owned()),
            before: text(&inspected["Config"]["Labels"][NETWORK]),
            now: now.map(|networks| networks.keys().cloned().collect()).unwrap_or_default(),
        }
    }

    /// Those it can be reached by.
    fn open(&self) -> impl Iterator<Item = &String> {
        self.now.iter().filter(|name| *name != NONE)
    }

    /// The one that opens it: its own, where it ever had one, else `usual`.
    fn to_open<'a>(&'a self, usual: Option<&'a str>) -> &'a str {
        let candidates = [Some(self.made_with.as_str()), self.before.as_deref(), usual];
        candidates.into_iter().flatten().find(|name| *name != NONE).unwrap_or(BRIDGE)
    }
}

/// Makes the network of the container `name` as `policy` says. `usual` is the one of sandboxes that name none.
///
/// # Errors
///
/// `NotFound` for networks that are not there, `Unsupported` for policies other than `Off` and `Open`.
pub(crate) async fn set(
    engine: &Engine,
    name: &str,
    policy: NetworkPolicy,
    usual: Option<&str>,
) -> Result<()> {
    let attached = Attached::of(&engine.inspect_raw(name).await?);
    match policy {
        NetworkPolicy::Off => {
            for network in attached.open() {
                engine.leave(network, name).await?;
            }
            // Without any network at all the engine would give it its first one back when it starts it again.
            if attached.now.iter().any(|network| network == NONE) {
                return Ok(());
            }
            engine.join(NONE, name).await
        }
        NetworkPolicy::Open if attached.open().next().is_some() => Ok(()),
        NetworkPolicy::Open => {
            let network = attached.to_open(usual);
            // Nothing else can be joined while it is in this one.
            engine.leave(NONE, name).await?;
            let Err(error) = engine.join(network, name).await else { return Ok(()) };
            engine.join(NONE, name).await?;
            Err(if error.kind() == ErrorKind::NotFound && error.message().contains(network) {
                Error::not_found(format!("the engine has no network `{network}`"))
                    .hint("make it first, or set network to bridge in [providers.docker]")
                    .option("network")
                    .caused_by(error)
            } else {
                error
            })
        }
        other => Err(Error::unsupported(
            format_args!("`network = {}` for a sandbox that runs", word(&other)),
            "set it to off or open",
        )
        .option("network")),
    }
}

fn word(policy: &NetworkPolicy) -> &'static str {
    match policy {
        NetworkPolicy::Default => "default",
        _ => "allow",
    }
}

/// Whether a container takes ports of the engine's machine that it was told by number.
pub(crate) fn holds_ports(inspected: &Value) -> bool {
    let bindings = inspected["HostConfig"]["PortBindings"].as_object().into_iter().flatten();
    let mut ports = bindings.flat_map(|(_, hosts)| hosts.as_array().into_iter().flatten());
    let is_open = Attached::of(inspected).open().next().is_some();
    is_open && ports.any(|host| host["HostPort"].as_str().is_some_and(|port| !port.is_empty() && port != "0"))
}

/// Gives `spec`, made from what `inspected` tells, the network that the container is in and not the one it was made with: a closed
/// one stays closed.
pub(crate) fn keep(spec: &mut Value, inspected: &Value) {
    let attached = Attached::of(inspected);
    let open = attached.open().next();
    if attached.made_with == NONE {
        if let Some(network) = open {
            spec["HostConfig"]["NetworkMode"] = json!(network);
        }
    } else if open.is_none() {
        spec["HostConfig"]["NetworkMode"] = json!(NONE);
        spec["Labels"][NETWORK] = json!(attached.made_with);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspected(made_with: &str, before: &str, now: &[&str]) -> Value {
        let networks: Value = now.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        json!({
            "Config": { "Labels": { NETWORK: before } },
            "HostConfig": { "NetworkMode": made_with },
            "NetworkSettings": { "Networks": networks },
        })
    }

    #[test]
    fn what_opens_a_sandbox_is_its_own_network_before_the_usual_one() {
        let to_open = |made_with, before, usual| {
            Attached::of(&inspected(made_with, before, &["none"])).to_open(usual).to_owned()
        };
        assert_eq!(to_open("mine", "", Some("usual")), "mine");
        assert_eq!(to_open("none", "mine", Some("usual")), "mine");
        assert_eq!(to_open("none", "", Some("usual")), "usual");
        assert_eq!(to_open("none", "", Some("none")), "bridge");
        assert_eq!(to_open("none", "", None), "bridge");
    }

    #[test]
    fn ports_are_held_where_they_have_numbers_and_the_network_is_open() {
        let holds = |port: &str, now: &[&str]| {
            let mut inspected = inspected("bridge", "", now);
            inspected["HostConfig"]["PortBindings"] =
                json!({ "80/tcp": [{ "HostIp": "", "HostPort": port }] });
            holds_ports(&inspected)
        };
        assert!(holds("8080", &["bridge"]));
        assert!(!holds("", &["bridge"]) && !holds("0", &["bridge"]) && !holds("8080", &["none"]));
        assert!(!holds_ports(&inspected("bridge", "", &["bridge"])));
    }

    #[test]
    fn a_container_in_the_place_of_a_closed_one_is_closed_and_knows_what_opens_it() {
        let kept = |inspected: Value| {
            let mut spec = inspected["Config"].clone();
            spec["HostConfig"] = inspected["HostConfig"].clone();
            keep(&mut spec, &inspected);
            (spec["HostConfig"]["NetworkMode"].clone(), spec["Labels"][NETWORK].clone())
        };
        assert_eq!(kept(inspected("mine", "", &["mine"])), (json!("mine"), json!("")));
        assert_eq!(kept(inspected("mine", "", &["none"])), (json!("none"), json!("mine")));
        assert_eq!(kept(inspected("mine", "", &[])), (json!("none"), json!("mine")));
        assert_eq!(kept(inspected("none", "mine", &["none"])), (json!("none"), json!("mine")));
        assert_eq!(kept(inspected("none", "", &["bridge"])), (json!("bridge"), json!("")));
    }
}
