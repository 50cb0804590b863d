//! What a container's first process is told: in its environment, which nobody inside can read.

use std::time::Duration;

use grainchain_core::types::id::random_id;
use grainchain_core::{Error, Result};
use grainchain_guest::helper::{BOOT, Boot};
use serde_json::{Value, json};

use crate::labels::Identity;
use crate::options::capability;

/// What the helper of one sandbox is told.
#[derive(Clone, Debug)]
pub(crate) struct Orders(Boot);

/// A token that nobody can guess.
pub(crate) fn new_token() -> String {
    // Each has 80 random bits or more.
    format!("{}{}", random_id("t"), random_id("t"))
}

impl Orders {
    /// The orders of the sandbox `identity`, whose commands run as `user` and, where they are root, with `capabilities`.
    pub(crate) fn new(identity: &Identity, token: &str, user: String, capabilities: &[String]) -> Self {
        let capabilities = capabilities.iter().map(|name| capability(name)).collect();
        Self(Boot {
            sandbox: identity.id.to_string(),
            token: token.to_owned(),
            user,
            working_directory: identity.config.working_directory.clone(),
            lifetime: left_of(identity),
            lease: identity.config.lease.filter(|_| !identity.config.keep_alive),
            capabilities,
        })
    }

    /// As a variable of the container's.
    pub(crate) fn variable(&self) -> Result<String> {
        Ok(format!("{BOOT}={}", self.0.to_json()?))
    }

    /// Puts the orders of `identity` in the place of another sandbox's in `environment`, a list of variables.
    pub(crate) fn replace(environment: &mut Value, identity: &Identity, token: &str) -> Result<()> {
        let strange = || Error::unexpected("the container's first process was told nothing that we know");
        let variables = environment.as_array_mut().ok_or_else(strange)?;
        let place = variables.iter_mut().find_map(|variable| {
            let orders = variable.as_str()?.strip_prefix(BOOT)?.strip_prefix('=')?.to_owned();
            Some((variable, orders))
        });
        let (variable, orders) = place.ok_or_else(strange)?;
        let mut boot: Boot = serde_json::from_str(&orders).map_err(|error| strange().caused_by(error))?;
        boot.sandbox = identity.id.to_string();
        boot.token = token.to_owned();
        boot.lifetime = left_of(identity);
        *variable = json!(Self(boot).variable()?);
        Ok(())
    }
}

/// What is left of the lifetime.
fn left_of(identity: &Identity) -> Option<Duration> {
    let end = identity.expires_at?;
    Some(end.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use super::*;
    use crate::labels::Shown;

    fn identity(id: &str, left: Option<Duration>) -> Identity {
        Identity {
            id: id.into(),
            owner: String::new(),
            key: String::new(),
            created_at: SystemTime::UNIX_EPOCH,
            expires_at: left.map(|left| SystemTime::now() + left),
            metadata: BTreeMap::new(),
            config: Shown { lease: Some(Duration::from_secs(60)), ..Shown::default() },
            token: None,
        }
    }

    #[test]
    fn another_container_is_told_its_own_name_token_and_time_and_the_rest_as_before() {
        let orders = Orders::new(&identity("sb_1", None), "first token", "7:8".into(), &["CAP_KILL".into()]);
        let mut environment = json!(["A=b", orders.variable().unwrap(), "C=d"]);
        let next = identity("sb_2", Some(Duration::from_secs(50)));
        Orders::replace(&mut environment, &next, "second token").unwrap();
        assert_eq!((&environment[0], &environment[2]), (&json!("A=b"), &json!("C=d")));
        let told = environment[1].as_str().unwrap().strip_prefix("GRAINCHAIN_BOOT=").unwrap();
        let told: Boot = serde_json::from_str(told).unwrap();
        assert_eq!(
            (told.sandbox.as_str(), told.token.as_str(), told.user.as_str()),
            ("sb_2", "second token", "7:8")
        );
        assert_eq!((told.capabilities, told.lease), (vec!["KILL".to_owned()], Some(Duration::from_secs(60))));
        let left = told.lifetime.unwrap();
        assert!(left > Duration::from_secs(40) && left <= Duration::from_secs(50), "{left:?}");
    }

    #[test]
    fn one_that_is_kept_alive_has_no_lease_and_a_container_without_orders_is_refused() {
        let mut kept = identity("sb_1", None);
        kept.config.keep_alive = true;
        assert_eq!(Orders::new(&kept, "a token", String::new(), &[]).0.lease, None);
        assert!(Orders::replace(&mut json!(["A=b"]), &kept, "a token").is_err());
        assert!(Orders::replace(&mut Value::Null, &kept, "a token").is_err());
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, other) = (new_token(), new_token());
        assert_ne!(one, other);
        assert!(one.len() >= 32, "{one}");
    }
}
