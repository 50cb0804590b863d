//! Where the engine is, as the docker command would find it.

use std::fmt;
use std::path::{Path, PathBuf};

use grainchain_core::{Error, Result};

use super::tls::{Material, Tls};

/// The port of an engine reached over plain TCP when none is named.
const PLAIN_PORT: u16 = 2375;

/// The port of an engine reached by TLS when none is named.
const TLS_PORT: u16 = 2376;

/// One way to an engine.
#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
    /// A socket of this machine.
    Unix(PathBuf),
    /// TCP.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
        /// What is spoken on top, where it is not plain.
        tls: Option<Tls>,
    },
    /// The pipe of `docker system dial-stdio` on another machine.
    Ssh {
        /// `user@host` or `host`.
        target: String,
        /// The port of the SSH server, when it is not the usual one.
        port: Option<u16>,
    },
}

impl Endpoint {
    /// Reads an endpoint as `DOCKER_HOST` spells it. Over TCP it is reached by TLS where there is `material` for that.
    ///
    /// # Errors
    ///
    /// `Config` for what is no address and for material that cannot be used, `Unsupported` for a transport that we do not speak.
    pub(crate) fn parse(text: &str, material: Option<Material>) -> Result<Self> {
        let wrong = |reason: &str| {
            Error::config(format!("`{text}` is no address of an engine: {reason}"))
                .hint("write unix:///path/to/docker.sock, tcp://host:2375 or ssh://user@host")
                .option("host")
        };
        if text.contains(|letter: char| letter.is_control() || letter == ' ') {
            return Err(wrong("it holds a blank or a control character"));
        }
        let Some((scheme, rest)) = text.split_once("://") else { return Err(wrong("it has no scheme")) };
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            "unix" => Err(wrong("the path is not absolute")),
            "tcp" | "http" => {
                let (host, port) = host_and_port(rest.trim_end_matches('/'))
                    .ok_or_else(|| wrong("host or port is missing"))?;
                let tls = material.map(|material| Tls::new(&host, material)).transpose()?;
                let usual = if tls.is_some() { TLS_PORT } else { PLAIN_PORT };
                Ok(Self::Tcp { host, port: port.unwrap_or(usual), tls })
            }
            "ssh" => {
                let rest = rest.trim_end_matches('/');
                if rest.contains('/') {
                    return Err(wrong("a path behind the host is not supported"));
                }
                let (target, port) = host_and_port(rest).ok_or_else(|| wrong("host or port is missing"))?;
                // ssh would take it for an option.
                if target.starts_with('-') {
                    return Err(wrong("a host does not begin with a dash"));
                }
                Ok(Self::Ssh { target, port })
            }
            "https" => Err(wrong("the scheme does not say which certificates to use")
                .hint("write tcp://host:2376, and name their folder with `cert_path` or DOCKER_CERT_PATH")),
            "npipe" | "fd" => Err(Error::unsupported(
                format_args!("the transport {scheme}://"),
                "reach the engine by unix://, tcp:// or ssh://",
            )
            .option("host")),
            _ => Err(wrong("the scheme is unknown")),
        }
    }
}

/// Splits `[::1]:2375`, `host:2375`, `user@host` and `host`.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() || host.contains('/') {
        return None;
    }
    Some((host.to_owned(), port.map(str::parse).transpose().ok()?))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "tcp://{host}:{port}"),
            Self::Ssh { target, port: Some(port) } => write!(f, "ssh://{target}:{port}"),
            Self::Ssh { target, port: None } => write!(f, "ssh://{target}"),
        }
    }
}

/// What an endpoint is looked for with: the surroundings of a program, apart so that tests can make their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// `host` of `[providers.docker]`.
    pub(crate) configured: Option<String>,
    /// `DOCKER_HOST`
    pub(crate) docker_host: Option<String>,
    /// `DOCKER_CONTEXT`
    pub(crate) docker_context: Option<String>,
    /// `cert_path` of `[providers.docker]`.
    pub(crate) cert_path: Option<PathBuf>,
    /// Whether `DOCKER_TLS_VERIFY` asks for TLS.
    pub(crate) tls_verify: bool,
    /// Whether `DOCKER_TLS` asks for TLS that verifies nothing.
    pub(crate) tls: bool,
    /// `DOCKER_CERT_PATH`
    pub(crate) docker_cert_path: Option<PathBuf>,
    /// The folder of the docker command's own configuration: `DOCKER_CONFIG` or `~/.docker`.
    pub(crate) config_folder: Option<PathBuf>,
    /// The user's folder.
    pub(crate) home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`
    pub(crate) runtime_folder: Option<PathBuf>,
}

impl Surroundings {
    /// The endpoint and who chose it, in words: the setting, `DOCKER_HOST`, `DOCKER_CONTEXT`, the docker command's current context,
    /// the first socket that exists, else the usual one.
    ///
    /// # Errors
    ///
    /// `Config` when what was chosen cannot be used: nothing else is tried then.
    pub(crate) fn endpoint(&self) -> Result<(Endpoint, String)> {
        let explicit =
            [(&self.configured, "`host` in [providers.docker]"), (&self.docker_host, "DOCKER_HOST")];
        for (text, chosen_by) in explicit {
            if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
                let endpoint = Endpoint::parse(text, self.material()?)?;
                return self.as_asked(endpoint, chosen_by.to_owned());
            }
        }
        if let Some(name) = self.docker_context.as_deref().filter(|name| !name.is_empty()) {
            if name != "default" {
                return self.of_context(name, format!("the context `{name}` of DOCKER_CONTEXT"));
            }
        } else if let Some(name) = self.current_context()?.filter(|name| name != "default") {
            let chosen_by = format!("the current context `{name}` of the docker command");
            return self.of_context(&name, chosen_by);
        }
        let sockets = self.usual_sockets();
        let found = sockets.iter().find(|path| path.exists()).or(sockets.first());
        let path = found.cloned().unwrap_or_else(|| PathBuf::from("/var/run/docker.sock"));
        self.as_asked(Endpoint::Unix(path), "nothing names another one".to_owned())
    }

    /// The certificates that the settings and the environment ask for.
    fn material(&self) -> Result<Option<Material>> {
        if let Some(folder) = &self.cert_path {
            return Ok(Some(Material { folder: folder.clone(), verified: true }));
        }
        if !self.tls_verify {
            return Ok(None);
        }
        let folder = self.docker_cert_path.as_ref().or(self.config_folder.as_ref()).ok_or_else(|| {
            Error::config("DOCKER_TLS_VERIFY is set, and nothing says where the certificates are")
                .hint("name their folder with DOCKER_CERT_PATH or `cert_path` in [providers.docker]")
                .option("cert_path")
        })?;
        Ok(Some(Material { folder: folder.clone(), verified: true }))
    }

    /// Refuses an endpoint that is less safe than somebody asked for.
    fn as_asked(&self, endpoint: Endpoint, chosen_by: String) -> Result<(Endpoint, String)> {
        match &endpoint {
            Endpoint::Tcp { tls: Some(tls), .. } => {
                let chosen_by = format!("{}; {chosen_by}", tls.describe());
                Ok((endpoint, chosen_by))
            }
            Endpoint::Tcp { .. } if self.tls => Err(Error::config(
                "DOCKER_TLS asks for TLS that does not verify the engine",
            )
            .hint("set DOCKER_TLS_VERIFY=1 with the certificates in DOCKER_CERT_PATH, or unset DOCKER_TLS")
            .option("host")),
            Endpoint::Unix(_) | Endpoint::Ssh { .. } if self.cert_path.is_some() => {
                Err(Error::config(format!(
                    "`cert_path` is set, and the engine at {endpoint} ({chosen_by}) is not reached by TLS"
                ))
                .hint("name the engine as tcp://host:2376, or leave `cert_path` out")
                .option("cert_path"))
            }
            _ => Ok((endpoint, chosen_by)),
        }
    }

    fn of_context(&self, name: &str, chosen_by: String) -> Result<(Endpoint, String)> {
        let unusable = |reason: String| {
            Error::config(format!("{chosen_by} cannot be used: {reason}"))
                .hint("`docker context ls` shows the contexts; or set `host` in [providers.docker]")
        };
        let folder = self.config_folder.as_ref().ok_or_else(|| unusable("HOME is not set".to_owned()))?;
        let path = folder.join("contexts/meta").join(crate::hash::hex(name.as_bytes())).join("meta.json");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| unusable(format!("{}: {error}", path.display())))?;
        let meta: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| unusable(format!("{}: {error}", path.display())))?;
        let docker = &meta["Endpoints"]["docker"];
        let host = docker["Host"].as_str().ok_or_else(|| unusable("it has no docker endpoint".to_owned()))?;
        let skips = docker["SkipTLSVerify"].as_bool().unwrap_or(false);
        let tls = folder.join("contexts/tls").join(crate::hash::hex(name.as_bytes())).join("docker");
        let own = (skips || tls.exists())
            .then(|| Material { folder: self.cert_path.clone().unwrap_or(tls), verified: !skips });
        let material = match own {
            Some(own) => Some(own),
            None => self.material()?,
        };
        self.as_asked(Endpoint::parse(host, material)?, chosen_by)
    }

    /// `currentContext` of the docker command's `config.json`.
    fn current_context(&self) -> Result<Option<String>> {
        let Some(folder) = &self.config_folder else { return Ok(None) };
        let config = read_config(folder)?;
        Ok(config["currentContext"].as_str().filter(|name| !name.is_empty()).map(str::to_owned))
    }

    fn usual_sockets(&self) -> Vec<PathBuf> {
        let below = |folder: &Option<PathBuf>, path: &str| folder.as_ref().map(|folder| folder.join(path));
        [
            Some(PathBuf::from("/var/run/docker.sock")),
            below(&self.runtime_folder, "docker.sock"),
            below(&self.home, ".docker/run/docker.sock"),
            below(&self.home, ".docker/desktop/docker.sock"),
            below(&self.home, ".colima/default/docker.sock"),
            below(&self.runtime_folder, "podman/podman.sock"),
            Some(PathBuf::from("/run/podman/podman.sock")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The docker command's `config.json`; null when there is none.
///
/// # Errors
///
/// `Config` when it is there and cannot be read.
pub(crate) fn read_config(folder: &Path) -> Result<serde_json::Value> {
    let path = folder.join("config.json");
    let unusable = |reason: &dyn fmt::Display| {
        Error::config(format!(
            "the docker command's configuration {} cannot be used: {reason}",
            path.display()
        ))
        .hint("mend or remove it, or name another folder with DOCKER_CONFIG")
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| unusable(&error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(serde_json::Value::Null),
        Err(error) => Err(unusable(&error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use grainchain_core::ErrorKind;

    use super::*;

    fn chosen(surroundings: &Surroundings) -> String {
        surroundings.endpoint().unwrap().0.to_string()
    }

    /// A configuration folder with the context `far` as the current one.
    fn with_contexts() -> (tempfile::TempDir, Surroundings) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), r#"{"currentContext": "far"}"#).unwrap();
        for (name, host) in [("far", "ssh://me@far"), ("near", "unix:///near.sock")] {
            let place = folder.path().join("contexts/meta").join(crate::hash::hex(name.as_bytes()));
            fs::create_dir_all(&place).unwrap();
            let meta = format!(r#"{{"Name":"{name}","Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#);
            fs::write(place.join("meta.json"), meta).unwrap();
        }
        let surroundings =
            Surroundings { config_folder: Some(folder.path().to_owned()), ..Surroundings::default() };
        (folder, surroundings)
    }

    #[test]
    fn every_way_to_spell_an_endpoint_is_read_and_printed_again() {
        for (text, printed) in [
            ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
            ("tcp://engine", "tcp://engine:2375"),
            ("tcp://127.0.0.1:99/", "tcp://127.0.0.1:99"),
            ("tcp://[::1]:99", "tcp://[::1]:99"),
            ("ssh://me@far", "ssh://me@far"),
            ("ssh://far:2222", "ssh://far:2222"),
        ] {
            assert_eq!(Endpoint::parse(text, None).unwrap().to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_by_name() {
        for text in [
            "",
            "docker.sock",
            "unix://relative",
            "tcp://",
            "tcp://h:x",
            "ssh://-oProxyCommand=x",
            "ssh://h/p",
            "nope://x",
            "https://h",
            "tcp://a b",
        ] {
            let error = Endpoint::parse(text, None).unwrap_err();
            assert_eq!((error.kind(), error.failed_option()), (ErrorKind::Config, Some("host")), "{text}");
        }
        let error = Endpoint::parse("npipe:////./pipe/docker", None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn the_setting_wins_over_the_host_over_the_context_over_the_current_context() {
        let (_folder, mut surroundings) = with_contexts();
        assert_eq!(chosen(&surroundings), "ssh://me@far");
        surroundings.docker_context = Some("near".to_owned());
        assert_eq!(chosen(&surroundings), "unix:///near.sock");
        surroundings.docker_host = Some("tcp://host:1".to_owned());
        assert_eq!(chosen(&surroundings), "tcp://host:1");
        surroundings.configured = Some("tcp://set:2".to_owned());
        assert_eq!(chosen(&surroundings), "tcp://set:2");
    }

    #[test]
    fn the_default_context_means_the_usual_socket() {
        let (_folder, mut surroundings) = with_contexts();
        surroundings.docker_context = Some("default".to_owned());
        assert!(chosen(&surroundings).starts_with("unix:///"));
    }

    #[test]
    fn a_context_that_is_not_there_is_an_error_and_not_passed_over() {
        let (_folder, mut surroundings) = with_contexts();
        surroundings.docker_context = Some("missing".to_owned());
        let error = surroundings.endpoint().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`missing`"), "{error}");
    }
}
