//! What the engine says, as errors of ours: the table of its words, kinds, options and remedies.

use bollard::errors::Error as BollardError;
use grainchain_core::{Effect, Error, ErrorKind};

/// One line of the table: when the engine's words contain one of `words`.
struct Rule {
    words: &'static [&'static str],
    kind: ErrorKind,
    option: Option<&'static str>,
    hint: &'static str,
}

const fn rule(words: &'static [&'static str], kind: ErrorKind, hint: &'static str) -> Rule {
    Rule { words, kind, option: None, hint }
}

const fn option(
    words: &'static [&'static str],
    kind: ErrorKind,
    option: &'static str,
    hint: &'static str,
) -> Rule {
    Rule { words, kind, option: Some(option), hint }
}

/// Read from the top; the first that fits decides. All words are lower case.
const RULES: &[Rule] = &[
    option(&["minimum memory limit"], ErrorKind::BadRequest, "memory_limit", "ask for 6MiB or more"),
    option(
        &["range of cpus is"],
        ErrorKind::BadRequest,
        "cpu_limit",
        "ask for no more processors than the engine has",
    ),
    option(
        &["unknown runtime specified", "unknown or invalid runtime", "runtime name", "invalid runtime"],
        ErrorKind::BadRequest,
        "runtime",
        "`grainchain doctor` and `docker info` list the engine's runtimes",
    ),
    option(
        &["seccomp"],
        ErrorKind::BadRequest,
        "seccomp",
        "write default, unconfined, or a profile that this engine understands",
    ),
    option(
        &["port is already allocated", "address already in use", "ports are not available"],
        ErrorKind::Conflict,
        "ports",
        "choose another port of this machine, or close what listens on it",
    ),
    option(
        &[
            "bind source path does not exist",
            "bind mount source",
            "invalid volume specification",
            "invalid mount",
        ],
        ErrorKind::BadRequest,
        "volumes",
        "name a folder that exists on the engine's machine, or a volume",
    ),
    option(
        &["storage-opt", "storage option"],
        ErrorKind::Unsupported,
        "disk",
        "leave it out, or use an engine whose storage has quotas (overlay2 on xfs with pquota, btrfs, zfs)",
    ),
    option(
        &["could not select device driver", "nvidia-container"],
        ErrorKind::Unsupported,
        "gpus",
        "install the vendor's container toolkit on the engine's machine",
    ),
    option(
        &["does not match the specified platform", "no matching manifest"],
        ErrorKind::NotFound,
        "platform",
        "choose an image that is made for this platform",
    ),
    option(
        &["unable to find user", "no matching entries in passwd"],
        ErrorKind::NotFound,
        "user",
        "name a user of the image, or a number",
    ),
    option(
        &[
            "cannot be connected to multiple networks",
            "already exists in network",
            "is not connected to network",
        ],
        ErrorKind::Conflict,
        "network",
        "somebody else changes it at the same time: look at it and try again",
    ),
    rule(&["is not paused"], ErrorKind::Conflict, "it runs already"),
    rule(&["is paused, unpause", "is paused", "paused container"], ErrorKind::Conflict, "resume it first"),
    rule(&["is already in progress"], ErrorKind::Conflict, "wait for it"),
    rule(
        &["is already in use", "is using its referenced image", "is being used", "conflict: unable to"],
        ErrorKind::Conflict,
        "remove what uses it first",
    ),
    rule(
        &["toomanyrequests", "rate limit"],
        ErrorKind::RateLimited,
        "wait, or log in to the registry with `docker login`",
    ),
    rule(
        &[
            "unauthorized",
            "authentication required",
            "denied: ",
            "access denied",
            "access to the resource is denied",
            "may require 'docker login'",
        ],
        ErrorKind::Auth,
        "check the image's name, and log in to its registry with `docker login`",
    ),
    rule(
        &["manifest unknown", "no such image", "repository does not exist", "not found: manifest"],
        ErrorKind::NotFound,
        "check the image's name and tag",
    ),
    rule(
        &["no space left"],
        ErrorKind::Exhausted,
        "free space on the engine's disk, for example with `docker system prune`",
    ),
    rule(
        &["cannot allocate memory", "out of memory"],
        ErrorKind::Exhausted,
        "free memory on the engine's machine",
    ),
    rule(
        &["address pools have been fully subnetted"],
        ErrorKind::Exhausted,
        "remove networks that nobody uses",
    ),
    rule(
        &[
            "dial tcp",
            "no such host",
            "i/o timeout",
            "tls handshake",
            "connection refused",
            "network is unreachable",
        ],
        ErrorKind::Connection,
        "the engine cannot reach the registry: check its network, or load the image beforehand",
    ),
    option(
        &["http request to an https server", "http request was sent to https port"],
        ErrorKind::Config,
        "host",
        "the engine speaks TLS: name its certificates with `cert_path` in [providers.docker], or set DOCKER_TLS_VERIFY and DOCKER_CERT_PATH",
    ),
    rule(&["client version"], ErrorKind::Unsupported, "use an engine from 20.10 on"),
];

/// The error for an answer of `status` whose body is `body`.
pub(crate) fn answer(what: &str, status: u16, body: &str) -> Error {
    let said = serde_json::from_str::<serde_json::Value>(body)
        .ok()
        .and_then(|value| Some(value.get("message")?.as_str()?.to_owned()))
        .unwrap_or_else(|| body.to_owned());
    told(what, Some(status), &said)
}

/// The error for what the engine `said`, in an answer of `status` or within a stream.
pub(crate) fn told(what: &str, status: Option<u16>, said: &str) -> Error {
    let lower = said.to_lowercase();
    let found = RULES.iter().find(|rule| rule.words.iter().any(|word| lower.contains(word)));
    let kind = match (found, status) {
        (Some(rule), _) => rule.kind,
        (None, Some(400 | 406 | 416)) => ErrorKind::BadRequest,
        (None, Some(401 | 403)) => ErrorKind::Auth,
        (None, Some(404)) => ErrorKind::NotFound,
        (None, Some(409)) => ErrorKind::Conflict,
        (None, Some(429)) => ErrorKind::RateLimited,
        (None, Some(501)) => ErrorKind::Unsupported,
        _ => ErrorKind::Server,
    };
    let mut error = Error::new(kind, format!("{what}: {}", one_line(said)));
    if let Some(rule) = found {
        error = error.hint(rule.hint);
        if let Some(option) = rule.option {
            error = error.option(option);
        }
    }
    if let Some(status) = status {
        error = error.status(status);
        if (400..500).contains(&status) {
            error = error.effect(Effect::None);
        }
    }
    error
}

/// What the engine says, short enough for one line: the last cause decides when it is long.
fn one_line(said: &str) -> String {
    const LONGEST: usize = 400;
    let line: String =
        said.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let mut line = if line.is_empty() { "the engine does not say why".to_owned() } else { line };
    if line.chars().count() > LONGEST {
        let tail: String = line.chars().rev().take(LONGEST).collect();
        line = format!("… {}", tail.chars().rev().collect::<String>());
    }
    let mut letters = line.chars();
    match (letters.next(), letters.clone().next()) {
        // An acronym keeps its capitals.
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => line,
    }
}

/// An error of bollard's, met while doing `what`.
pub(crate) fn of(what: &str, cause: BollardError) -> Error {
    match cause {
        BollardError::DockerResponseServerError { status_code, message } => {
            told(what, Some(status_code), &message)
        }
        BollardError::DockerStreamError { error } => told(what, None, &error),
        BollardError::DockerContainerWaitError { error, .. } => told(what, None, &error),
        BollardError::IOError { err } => match err.downcast::<Error>() {
            // It came from our own transport.
            Ok(own) => own,
            Err(err) => Error::io(what, err),
        },
        BollardError::HyperResponseError { err } => {
            Error::new(ErrorKind::Connection, format!("{what}: the connection to the engine broke"))
                .caused_by(err)
        }
        BollardError::RequestTimeoutError => {
            Error::new(ErrorKind::Timeout, format!("{what}: the engine gave no answer"))
        }
        BollardError::URLParseError { err } => {
            Error::bad_request(format!("{what}: a name holds what no address can")).caused_by(err)
        }
        other => Error::new(ErrorKind::Server, format!("{what}: the engine's answer is not as agreed"))
            .caused_by(other),
    }
}

/// Takes an error of ours through bollard; [`of`] takes it out again.
pub(crate) fn into_bollard(error: Error) -> BollardError {
    BollardError::IOError { err: std::io::Error::other(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_names_kind_option_and_remedy() {
        for (status, said, kind, option) in [
            (400, "Minimum memory limit allowed is 6MB", ErrorKind::BadRequest, Some("memory_limit")),
            (
                400,
                "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
                ErrorKind::BadRequest,
                Some("cpu_limit"),
            ),
            (400, "Unknown runtime specified runsc", ErrorKind::BadRequest, Some("runtime")),
            (
                400,
                "invalid mount config for type \"bind\": bind source path does not exist: /nope",
                ErrorKind::BadRequest,
                Some("volumes"),
            ),
            (
                500,
                "driver failed programming external connectivity on endpoint x: Bind for 127.0.0.1:80 failed: port is already allocated",
                ErrorKind::Conflict,
                Some("ports"),
            ),
            (
                500,
                "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
                ErrorKind::Unsupported,
                Some("disk"),
            ),
            (404, "No such image: nope:latest", ErrorKind::NotFound, None),
            (409, "Container abc is paused, unpause the container before exec", ErrorKind::Conflict, None),
            (400, "Client sent an HTTP request to an HTTPS server.", ErrorKind::Config, Some("host")),
            (500, "manifest unknown", ErrorKind::NotFound, None),
            (500, "unauthorized: authentication required", ErrorKind::Auth, None),
            (
                500,
                "Get \"http://h/v2/\": dial tcp 127.0.0.1:5000: connect: connection refused",
                ErrorKind::Connection,
                None,
            ),
            (500, "toomanyrequests: You have reached your pull rate limit", ErrorKind::RateLimited, None),
            (500, "write /x: no space left on device", ErrorKind::Exhausted, None),
        ] {
            let error = answer("do it", status, &serde_json::json!({ "message": said }).to_string());
            assert_eq!((error.kind(), error.failed_option()), (kind, option), "{said}");
            assert!(error.remedy().is_some(), "{said}");
        }
    }

    #[test]
    fn words_that_nobody_knows_are_judged_by_their_status() {
        for (status, kind) in [
            (400, ErrorKind::BadRequest),
            (401, ErrorKind::Auth),
            (404, ErrorKind::NotFound),
            (409, ErrorKind::Conflict),
            (500, ErrorKind::Server),
            (501, ErrorKind::Unsupported),
            (503, ErrorKind::Server),
        ] {
            assert_eq!(answer("do it", status, "{\"message\": \"words\"}").kind(), kind);
        }
    }

    #[test]
    fn a_refused_request_had_no_effect_and_a_failed_one_may_have_had() {
        assert_eq!(answer("do it", 404, "").what_happened(), Effect::None);
        assert_eq!(answer("do it", 500, "").what_happened(), Effect::Possible);
    }

    #[test]
    fn an_answer_that_is_no_json_or_has_many_lines_is_one_line() {
        let error = answer("do it", 500, "Bad\nthings\thappened");
        assert_eq!(error.message(), "do it: bad things happened");
        assert!(answer("do it", 500, &"x".repeat(10_000)).message().len() < 500);
    }

    #[test]
    fn an_error_of_ours_comes_through_bollard_as_it_was() {
        let own = Error::config("wrong").option("host");
        let back = of("do it", into_bollard(own));
        assert_eq!(
            (back.kind(), back.failed_option(), back.message()),
            (ErrorKind::Config, Some("host"), "wrong")
        );
    }
}
