//! `config`, and files that are wrong.

use std::os::unix::fs::symlink;

use crate::world::{World, write};

#[test]
fn a_wrong_file_is_refused_everywhere_with_file_and_line() {
    let world = World::new();
    for (text, line, word) in [
        ("default_provider = \"local\"\n\n[sandbox_defaults]\ntimout = 3\n", 4, "timout"),
        ("[providers.local]\nroot = 3\n", 2, "root"),
        ("[providers.local]\n\nrooot = \"x\"\n", 3, "rooot"),
        ("a = [\n", 1, ""),
        ("default_provider = \"${SURELY_NOT_SET}\"\n", 1, "SURELY_NOT_SET"),
    ] {
        write(world.here().join("grainchain.toml"), text);
        let ran = world.run(["config", "check"]).ended(1);
        let place = format!("grainchain.toml:{line}");
        assert!(ran.stderr().contains(&place) && ran.stderr().contains(word), "{text}: {}", ran.stderr());
        world.run(["list"]).ended(1);
        world.run(["run", "--", "true"]).ended(125);
        let ran = world.run(["config", "check", "--json"]).ended(1);
        assert_eq!(ran.error()["kind"], "config");
    }
}

#[test]
fn what_is_in_effect_is_shown_with_its_origin_and_without_secrets() {
    let world = World::new();
    let text = "[providers.local]\npath = \"/bin:/usr/bin\"\n[sandbox_defaults]\ntimeout = 90\n\
                environment_vars = { API_TOKEN = \"${TOKEN}\" }\n";
    write(world.here().join("grainchain.toml"), text);
    for more in [&[][..], &["--json"]] {
        let output =
            world.command().env("TOKEN", "hunter2").args(["config", "check"]).args(more).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{stdout}");
        assert!(
            stdout.contains("90s") && stdout.contains("grainchain.toml") && stdout.contains("/bin:/usr/bin")
        );
        assert!(stdout.contains("API_TOKEN") && !stdout.contains("hunter2"), "{stdout}");
    }
}

#[test]
fn the_file_that_is_read_is_the_nearest_or_the_one_that_is_named() {
    let world = World::new();
    let ran = world.run(["config", "path"]).ended(1);
    assert!(ran.stderr().contains("grainchain.toml"), "{}", ran.stderr());
    write(world.here().join("other.toml"), "default_provider = \"nowhere\"\n");
    world.run(["--config", "other.toml", "list"]).ended(1);
    let path = world.run(["config", "path", "--config", "other.toml"]).succeeded().stdout();
    assert_eq!(path.trim(), world.here().join("other.toml").to_str().unwrap());
    world.run(["--config", "missing.toml", "list"]).ended(1);
}

#[test]
fn the_environment_and_the_command_line_override_the_file() {
    let world = World::new();
    write(world.here().join("grainchain.toml"), "default_provider = \"nowhere\"\n");
    world.run(["list"]).ended(1);
    world.run(["list", "--provider", "local"]).succeeded();
    let output = world.command().env("GRAINCHAIN_DEFAULT_PROVIDER", "local").arg("list").output().unwrap();
    assert!(output.status.success());
}

#[test]
fn a_configuration_that_cannot_be_read_takes_no_work_to_local() {
    let world = World::new();
    symlink("gone.toml", world.here().join("grainchain.toml")).unwrap();
    let ran = world.run(["run", "--", "echo", "here"]).ended(125);
    assert_eq!(ran.stdout(), "");
    assert!(ran.stderr().contains("link to nothing") && ran.stderr().contains("help:"), "{}", ran.stderr());
}

#[test]
fn defaults_that_the_provider_refuses_are_found_by_the_check() {
    let world = World::new();
    write(world.here().join("grainchain.toml"), "[sandbox_defaults]\nmemory_limit = \"2GB\"\n");
    let ran = world.run(["config", "check"]).ended(1);
    assert!(ran.stderr().contains("memory_limit"), "{}", ran.stderr());
}
