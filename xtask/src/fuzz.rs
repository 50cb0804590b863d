//! Fuzzes both ends of a link. Builds the targets as cargo-fuzz does, but without it and without a nightly toolchain: libFuzzer alone
//! needs flags that every toolchain takes. The address sanitizer, which would need more, finds nothing in code without `unsafe`.

use std::ffi::OsString;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Result, cargo};

/// The package, which is no member of the workspace: nothing else shall wait for the fuzzer's runtime.
const PACKAGE: &str = "crates/grainchain-guest/fuzz";

/// What is built and found, in the repository's `target`.
const OUTPUT: &str = "target/fuzz";

/// Each plays the other side of the end that it is named after.
const TARGETS: &[&str] = &["server", "client"];

/// How long each target runs unless told otherwise.
const SECONDS: u64 = 20;

/// Lets libFuzzer see which code an input reaches, and with what it was compared.
const FLAGS: &[&str] = &[
    "--cfg",
    "fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
];

/// What is a finding besides a panic: more memory than this, or an input that takes longer on the most crowded machine.
const LIMITS: &[&str] = &["-rss_limit_mb=1024", "-timeout=60"];

/// An input up to here is printed, for whoever cannot get at the machine that found it.
const PRINTED: usize = 8 * 1024;

/// What `cargo xtask fuzz` is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wish<'a> {
    /// Every target, each for so many seconds.
    Search(u64),
    /// One input again.
    Again { target: &'a str, input: &'a Path },
}

/// Fuzzes every target, or runs one input again.
pub(crate) fn run(arguments: &[&str]) -> Result {
    let wish = wish(arguments)?;
    let host = host()?;
    runtime(&host)?;
    build(&host)?;
    match wish {
        Wish::Search(seconds) => TARGETS.iter().try_for_each(|target| search(&host, target, seconds)),
        Wish::Again { target, input } => again(&host, target, input),
    }
}

/// A short search, as a test. Where the fuzzer cannot be built it says so, and fails on a machine that was made for running tests.
pub(crate) fn shortly(is_ci: bool) -> Result {
    let host = host()?;
    if let Err(reason) = runtime(&host) {
        return excuse(is_ci, reason);
    }
    build(&host)?;
    TARGETS.iter().try_for_each(|target| search(&host, target, SECONDS))
}

fn excuse(is_ci: bool, reason: String) -> Result {
    if is_ci {
        return Err(reason);
    }
    crate::not_run("THE FUZZING OF THE LINK", &reason);
    Ok(())
}

fn wish<'a>(arguments: &[&'a str]) -> Result<Wish<'a>> {
    match *arguments {
        [] => Ok(Wish::Search(SECONDS)),
        [seconds] => match seconds.parse() {
            Ok(0) | Err(_) => Err(format!("fuzz takes a number of seconds from 1, and not `{seconds}`")),
            Ok(seconds) => Ok(Wish::Search(seconds)),
        },
        [target, input] if TARGETS.contains(&target) => Ok(Wish::Again { target, input: Path::new(input) }),
        [target, _] => Err(format!("there is no target `{target}`, but {}", TARGETS.join(" and "))),
        [_, _, unexpected, ..] => {
            Err(format!("fuzz takes SECONDS, or TARGET FILE; `{unexpected}` is too much"))
        }
    }
}

/// The fuzzer's runtime, C++ from the registry: what a machine may be unable to build, and no fault of ours.
fn runtime(host: &str) -> Result {
    lock()?;
    cargo::run_with(&mut compile(host, &["--package", "libfuzzer-sys"])).map_err(|error| {
        format!("the fuzzer's runtime cannot be built, which takes a C++ compiler and the registry: {error}")
    })
}

fn build(host: &str) -> Result {
    cargo::run_with(&mut compile(host, &["--bins"]))
}

fn compile(host: &str, what: &[&str]) -> Command {
    let manifest = format!("{PACKAGE}/Cargo.toml");
    // A target that is named keeps the flags from what runs at build time.
    let mut command =
        cargo::cargo(&["build", "--manifest-path", &manifest, "--target-dir", OUTPUT, "--target", host]);
    // Above all other ways to give flags, so that nobody's own are in the way.
    command.args(what).env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    command
}

/// Begins with the workspace's versions: what is fuzzed is what is shipped. Cargo adds the fuzzer's own.
fn lock() -> Result {
    let (theirs, ours) = (cargo::root().join("Cargo.lock"), cargo::root().join(PACKAGE).join("Cargo.lock"));
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if modified(&ours) >= modified(&theirs) {
        return Ok(());
    }
    fs::copy(&theirs, &ours).map_err(|error| format!("copy Cargo.lock to {}: {error}", ours.display()))?;
    Ok(())
}

/// This machine, as compilers call it.
fn host() -> Result<String> {
    let version = cargo::output(&["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "`cargo -vV` names no host".to_owned())
}

fn fuzzer(host: &str, target: &str) -> Command {
    let mut command = Command::new(cargo::root().join(OUTPUT).join(host).join("debug").join(target));
    command.args(LIMITS).env("RUST_BACKTRACE", "1").stdin(Stdio::null());
    command
}

/// Runs one target over the kept inputs and what it makes of them.
fn search(host: &str, target: &str, seconds: u64) -> Result {
    let place = cargo::root().join(OUTPUT);
    let (corpus, findings) = (place.join("corpus").join(target), place.join("findings").join(target));
    for folder in [&corpus, &findings] {
        fs::create_dir_all(folder).map_err(|error| format!("make {}: {error}", folder.display()))?;
    }
    let log = place.join(format!("{target}.log"));
    let (out, errors) = fs::File::create(&log)
        .and_then(|file| Ok((file.try_clone()?, file)))
        .map_err(|error| format!("write {}: {error}", log.display()))?;
    // Another one each time, and known: zero would let libFuzzer choose in silence.
    let seed = RandomState::new().hash_one(target) as u32 | 1;
    println!("\n── fuzz {target}: {seconds} s, seed {seed}");
    let mut artifacts = OsString::from("-artifact_prefix=");
    artifacts.push(findings.join(""));
    let status = fuzzer(host, target)
        .args([format!("-max_total_time={seconds}"), format!("-seed={seed}")])
        .arg("-print_final_stats=1")
        .arg(artifacts)
        .args([corpus, cargo::root().join(PACKAGE).join("seeds").join(target)])
        .stdout(out)
        .stderr(errors)
        .status()
        .map_err(|error| format!("cannot run the target {target}: {error}"))?;
    let said = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    if status.success() {
        println!("── {}", summary(&said)?);
        return Ok(());
    }
    // Without its progress, a line for each input that reached something new.
    for line in said.lines().filter(|line| !line.starts_with('#')) {
        println!("{line}");
    }
    Err(report(target, &status.to_string(), &said))
}

/// What the log of a search without findings comes to. Fails when it was none.
fn summary(log: &str) -> Result<String> {
    let number = |name: &str| {
        let line = log.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name))?;
        line.trim_start_matches(':').trim().parse::<u64>().ok()
    };
    let covered = log.lines().filter_map(|line| line.split_once(" cov: ")?.1.split(' ').next()).next_back();
    match (number("number_of_executed_units"), covered, number("peak_rss_mb")) {
        (Some(inputs), Some(covered), Some(memory)) if inputs > 0 && covered != "0" => {
            Ok(format!("{inputs} inputs, {covered} places reached, {memory} MiB at most, nothing found"))
        }
        _ => Err("the fuzzer ended well and does not say that it has run anything".to_owned()),
    }
}

/// What the log of a failed search comes to, with how to go on.
fn report(target: &str, status: &str, log: &str) -> String {
    let mut report = format!("fuzzing the {target} failed ({status})");
    let written = log.lines().filter_map(|line| line.split_once("Test unit written to "));
    for file in written.map(|(_, file)| Path::new(file)) {
        let name = file.strip_prefix(cargo::root()).unwrap_or(file).display();
        report += &format!("\nrun it again: cargo xtask fuzz {target} {name}");
        if let Ok(input) = fs::read(file)
            && input.len() <= PRINTED
        {
            report += &format!("\nanywhere else, first: echo {} | xxd -r -p > FILE", hexadecimal(&input));
        }
    }
    report
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn again(host: &str, target: &str, input: &Path) -> Result {
    if !input.is_file() {
        return Err(format!("there is no file {}", input.display()));
    }
    println!("\n── fuzz {target}: {}", input.display());
    let mut command = fuzzer(host, target);
    // A second copy of the finding would be of no use.
    command.arg("-exact_artifact_path=/dev/null").arg(input);
    let status = command.status().map_err(|error| format!("cannot run the target {target}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{} is a finding ({status})", input.display())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_takes_a_number_of_seconds_or_none() {
        assert_eq!(wish(&[]), Ok(Wish::Search(SECONDS)));
        assert_eq!(wish(&["300"]), Ok(Wish::Search(300)));
        for wrong in ["0", "-1", "server", "5m"] {
            assert!(wish(&[wrong]).unwrap_err().contains(wrong));
        }
    }

    #[test]
    fn one_input_runs_again_in_a_target_that_there_is() {
        let again = Wish::Again { target: "client", input: Path::new("crash") };
        assert_eq!(wish(&["client", "crash"]), Ok(again));
        assert!(wish(&["nobody", "crash"]).unwrap_err().contains("server and client"));
        assert!(wish(&["client", "crash", "more"]).unwrap_err().contains("more"));
    }

    const LOG: &str = "#2\tINITED cov: 10 ft: 11 corp: 1/1b\n#9\tDONE   cov: 42 ft: 50 corp: 3/9b\n\
        stat::number_of_executed_units: 9\nstat::peak_rss_mb:              61\n";

    #[test]
    fn a_search_that_ran_is_summed_up() {
        let summary = summary(LOG).unwrap();
        assert_eq!(summary, "9 inputs, 42 places reached, 61 MiB at most, nothing found");
    }

    #[test]
    fn a_search_that_ran_nothing_does_not_pass() {
        assert!(summary("").is_err());
        assert!(summary(&LOG.replace("units: 9", "units: 0")).is_err());
        assert!(summary(&LOG.replace("cov: 42", "cov: 0")).is_err());
    }

    #[test]
    fn a_finding_says_how_to_run_it_again() {
        let file = cargo::root().join("no/such/crash");
        let log = format!("artifact_prefix='x'; Test unit written to {}\n", file.display());
        let report = report("server", "exit status: 77", &log);
        assert!(report.contains("cargo xtask fuzz server no/such/crash"), "{report}");
        assert_eq!(hexadecimal(&[0, 0x3d, 0xff]), "003dff");
    }

    #[test]
    fn a_fuzzer_that_cannot_be_built_fails_only_where_tests_are_the_purpose() {
        assert_eq!(excuse(true, "no compiler".to_owned()), Err("no compiler".to_owned()));
        assert_eq!(excuse(false, "no compiler".to_owned()), Ok(()));
    }

    #[test]
    fn every_target_has_seeds() {
        for target in TARGETS {
            let seeds = cargo::root().join(PACKAGE).join("seeds").join(target);
            assert!(fs::read_dir(seeds).unwrap().count() > 0, "{target}");
        }
    }
}
