//! Volumes and published ports, as Docker's users write them.

use std::path::Path;

use grainchain_core::{Error, Result};

use super::{ContainerOptions, absolute};

/// Something from outside at a place in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// An absolute path of the engine's machine, or a volume's name.
    pub(crate) source: String,
    /// Where it is in the container.
    pub(crate) target: String,
    /// Whether it cannot be changed from inside.
    pub(crate) read_only: bool,
}

impl Mount {
    /// Whether it is a folder of the engine's machine.
    pub(crate) fn is_bind(&self) -> bool {
        self.source.starts_with('/')
    }
}

impl Mount {
    /// As the engine wants to be told. A volume that is made on the way is marked as ours.
    pub(super) fn spec(&self) -> serde_json::Value {
        let mut spec = serde_json::json!({
            "Type": if self.is_bind() { "bind" } else { "volume" },
            "Source": self.source,
            "Target": self.target,
            "ReadOnly": self.read_only,
        });
        if !self.is_bind() {
            spec["VolumeOptions"] = serde_json::json!({ "Labels": { (crate::volumes::VOLUME): "" } });
        }
        spec
    }
}

/// A port of the container that is reached on the engine's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    /// The address of the engine's machine that it is reached on.
    pub(crate) address: String,
    /// The port of the engine's machine.
    pub(crate) outside: u16,
    /// The port of the container, as in `80/tcp`.
    pub(crate) inside: String,
}

pub(super) fn mounts(options: &ContainerOptions) -> Result<Vec<Mount>> {
    options.volumes.iter().flatten().map(|text| mount(text)).collect()
}

fn mount(text: &str) -> Result<Mount> {
    let wrong = |reason: &str| {
        Error::bad_request(format!("the volume `{}`: {reason}", text.escape_debug()))
            .hint("write SOURCE:/TARGET or SOURCE:/TARGET:ro")
            .option("volumes")
    };
    let (rest, read_only) = match text.strip_suffix(":ro") {
        Some(rest) => (rest, true),
        None => (text.strip_suffix(":rw").unwrap_or(text), false),
    };
    let (source, target) = rest.split_once(':').ok_or_else(|| wrong("it says not where it shall be"))?;
    if target.contains(':') {
        return Err(wrong("it has one colon too many; the only flags are ro and rw"));
    }
    if !target.starts_with('/') {
        return Err(wrong("the target is not absolute"));
    }
    let target = absolute("/", target).ok_or_else(|| wrong("the target leaves the root"))?;
    let is_volume = source.len() > 1
        && source.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && source.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if !source.starts_with('/') && !is_volume {
        return Err(wrong(
            "the source is neither an absolute path of the engine's machine nor a volume's name",
        ));
    }
    Ok(Mount { source: source.to_owned(), target, read_only })
}

/// Refuses a working directory below a folder in memory: where no helper makes it, it is put into the image before the start, and that
/// folder hides it.
pub(super) fn check_start(place: &str, options: &ContainerOptions, mounts: &[Mount]) -> Result<()> {
    if options.read_only.unwrap_or(false) {
        // It is in memory itself.
        return Ok(());
    }
    let (place, folders) = (Path::new(place), options.tmpfs.iter().flatten().map(|(folder, _)| folder));
    // One at the root is refused by its own name.
    let hides = folders
        .filter(|folder| folder.as_str() != "/" && place.starts_with(folder) && place != Path::new(folder));
    let Some(folder) = hides.max_by_key(|folder| Path::new(folder).components().count()) else {
        return Ok(());
    };
    let is_between =
        |mount: &Mount| place.starts_with(&mount.target) && Path::new(&mount.target).starts_with(folder);
    if options.tmpfs.iter().flatten().any(|(folder, _)| place == Path::new(folder))
        || mounts.iter().any(is_between)
    {
        return Ok(());
    }
    Err(Error::bad_request(format!(
        "the working directory `{}` lies in the folder in memory `{}`, which is empty at the start",
        place.display().to_string().escape_debug(),
        folder.escape_debug()
    ))
    .hint("choose that folder itself or one outside of it, or set guest = \"helper\" in [providers.docker]")
    .option("working_directory"))
}

pub(super) fn ports(options: &ContainerOptions) -> Result<Vec<Port>> {
    options.ports.iter().flatten().map(|text| port(text)).collect()
}

fn port(text: &str) -> Result<Port> {
    let wrong = |reason: &str| {
        Error::bad_request(format!("the port `{}`: {reason}", text.escape_debug()))
            .hint("write OUTSIDE:INSIDE, as in 8080:80, with an address in front where it is not 127.0.0.1")
            .option("ports")
    };
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if !["tcp", "udp"].contains(&protocol) {
        return Err(wrong("the protocol is neither tcp nor udp"));
    }
    let (rest, inside) = numbers.rsplit_once(':').ok_or_else(|| wrong("it says not where it is reached"))?;
    let (address, outside) = match rest.rsplit_once(':') {
        Some((address, outside)) => (address.trim_start_matches('[').trim_end_matches(']'), outside),
        None => ("127.0.0.1", rest),
    };
    if address.parse::<std::net::IpAddr>().is_err() {
        return Err(wrong("the address is none"));
    }
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let (Some(outside), Some(inside)) = (number(outside), number(inside)) else {
        return Err(wrong("ports are numbers from 1 to 65535"));
    };
    Ok(Port { address: address.to_owned(), outside, inside: format!("{inside}/{protocol}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read_as_docker_users_write_them() {
        let bind = mount("/srv/data:/data:ro").unwrap();
        assert_eq!(bind, Mount { source: "/srv/data".into(), target: "/data".into(), read_only: true });
        assert!(bind.is_bind());
        let volume = mount("cache:/var//cache/").unwrap();
        assert_eq!(volume, Mount { source: "cache".into(), target: "/var/cache".into(), read_only: false });
        assert!(!volume.is_bind());
    }

    #[test]
    fn volumes_that_cannot_be_are_refused_by_name() {
        for text in ["", "data", "/srv", "./here:/data", "x:relative", "a:/b:z", "a:/../..", "~/x:/y", ":/x"]
        {
            let error = mount(text).unwrap_err();
            assert_eq!(error.failed_option(), Some("volumes"), "{text}");
        }
    }

    #[test]
    fn without_a_helper_nothing_starts_below_a_folder_in_memory() {
        let check = |place: &str, options: serde_json::Value| {
            let options: ContainerOptions = serde_json::from_value(options).unwrap();
            check_start(place, &options, &mounts(&options).unwrap())
        };
        let scratch = serde_json::json!({ "tmpfs": { "/scratch/": "1MiB", "/scratch/in/ner": "1MiB" } });
        for place in ["/scratch/a", "/scratch/a/b", "/scratch/in"] {
            let error = check(place, scratch.clone()).unwrap_err();
            assert_eq!(error.failed_option(), Some("working_directory"), "{error}");
            assert!(error.to_string().contains(place) && error.remedy().is_some(), "{error}");
        }
        for place in ["/scratch", "/scratchy", "/", "/scratch/in/ner"] {
            check(place, scratch.clone()).unwrap();
        }
        check("/a", serde_json::json!({ "tmpfs": { "/": "1MiB" } })).unwrap();
        let mut with = scratch;
        with["volumes"] = serde_json::json!(["data:/scratch/data"]);
        check("/scratch/data/a", with.clone()).unwrap();
        check("/scratch/a", with.clone()).unwrap_err();
        with["read_only"] = serde_json::json!(true);
        check("/scratch/a", with).unwrap();
    }

    #[test]
    fn ports_stay_on_this_machine_unless_an_address_is_given() {
        let text =
            |text: &str| port(text).map(|port| format!("{} {} {}", port.address, port.outside, port.inside));
        assert_eq!(text("8080:80").unwrap(), "127.0.0.1 8080 80/tcp");
        assert_eq!(text("0.0.0.0:53:53/udp").unwrap(), "0.0.0.0 53 53/udp");
        assert_eq!(text("[::1]:1:2").unwrap(), "::1 1 2/tcp");
        for wrong in ["", "80", "0:80", "80:0", "70000:1", "1:2/sctp", "host:1:2"] {
            assert_eq!(port(wrong).unwrap_err().failed_option(), Some("ports"), "{wrong}");
        }
    }
}
