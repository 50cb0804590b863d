//! What a sandbox may do without anybody asking for more.

use grainchain_core::{ByteSize, CreateVolume, ErrorKind, NetworkPolicy, SandboxConfig};
use serde_json::json;

use crate::world::{Outcome, Test, World, sh, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test(
            "isolation::nobody_is_root_and_nobody_has_capabilities",
            nobody_is_root_and_nobody_has_capabilities,
        ),
        test(
            "isolation::root_without_capabilities_is_nobody_special",
            root_without_capabilities_is_nobody_special,
        ),
        test("isolation::there_is_no_network_but_the_loopback", there_is_no_network_but_the_loopback),
        test("isolation::a_network_is_there_when_it_is_asked_for", a_network_is_there_when_it_is_asked_for),
        test("isolation::memory_and_processes_are_limited", memory_and_processes_are_limited),
        test("isolation::a_fork_bomb_ends_at_the_limit", a_fork_bomb_ends_at_the_limit),
        test("isolation::a_read_only_image_cannot_be_changed", a_read_only_image_cannot_be_changed),
        test(
            "isolation::a_volume_carries_data_from_one_sandbox_to_the_next",
            a_volume_carries_data_from_one_sandbox_to_the_next,
        ),
        test("isolation::a_user_of_the_image_owns_the_workspace", a_user_of_the_image_owns_the_workspace),
    ]
}

async fn nobody_is_root_and_nobody_has_capabilities(world: World) -> Outcome {
    let sandbox = world.sandbox().await?;
    let text = sh(&sandbox, "id -u; id -g; grep -E 'Cap(Eff|Bnd|Prm)|NoNewPrivs|Seccomp:' /proc/self/status")
        .await?;
    let words: Vec<_> = text.split_whitespace().collect();
    assert_eq!(&words[..2], ["1000", "1000"], "{text}");
    assert!(text.matches("0000000000000000").count() == 3, "{text}");
    assert!(text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"), "{text}");
    Ok(())
}

async fn root_without_capabilities_is_nobody_special(world: World) -> Outcome {
    let sandbox = world.create(SandboxConfig::default().provider_option("user", "root")).await?;
    assert_eq!(sh(&sandbox, "id -u").await?, "0\n");
    for line in
        ["chown 5 /tmp", "mount -t tmpfs x /tmp", "mknod /tmp/null c 1 3", "chroot / true", "hostname x"]
    {
        assert!(sandbox.execute(line).await?.failed(), "`{line}` succeeded");
    }
    Ok(())
}

async fn there_is_no_network_but_the_loopback(world: World) -> Outcome {
    let sandbox = world.sandbox().await?;
    assert_eq!(sh(&sandbox, "ls /sys/class/net").await?, "lo\n");
    assert!(sandbox.execute("ping -c 1 -w 1 127.0.0.1").await?.failed(), "raw sockets work");
    Ok(())
}

async fn a_network_is_there_when_it_is_asked_for(world: World) -> Outcome {
    let sandbox = world.create(SandboxConfig::default().network(NetworkPolicy::Open)).await?;
    assert_eq!(sh(&sandbox, "ls /sys/class/net").await?, "eth0\nlo\n");
    Ok(())
}

async fn memory_and_processes_are_limited(world: World) -> Outcome {
    let config = SandboxConfig::default().memory_limit(ByteSize::mib(64)).provider_option("pids", 32);
    let sandbox = world.create(config).await?;
    let line = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes; cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max";
    assert_eq!(sh(&sandbox, line).await?, format!("{}\n32\n", 64 << 20));
    // What takes more is killed, and the sandbox goes on.
    let greedy = sandbox.execute("head -c 200000000 /dev/zero | tail -c 199999999 | wc -c").await?;
    assert_ne!(greedy.stdout().trim(), "199999999", "the limit does not hold");
    assert_eq!(sh(&sandbox, "echo alive").await?, "alive\n");
    Ok(())
}

async fn a_fork_bomb_ends_at_the_limit(world: World) -> Outcome {
    let sandbox = world.create(SandboxConfig::default().provider_option("pids", 32)).await?;
    let output = sandbox.execute("for i in $(seq 100); do sleep 30 & done; wait").await?;
    assert!(
        output.failed() && output.stderr().to_lowercase().contains("fork"),
        "{output:?}: {}",
        output.stderr()
    );
    Ok(sandbox.close().await?)
}

async fn a_read_only_image_cannot_be_changed(world: World) -> Outcome {
    let sandbox = world.create(SandboxConfig::default().provider_option("read_only", true)).await?;
    for place in ["/bin/x", "/etc/x", "/x"] {
        assert!(sandbox.execute(format!("echo > {place}")).await?.failed(), "{place} was written");
    }
    assert_eq!(sh(&sandbox, "echo x > f; echo y > /tmp/f; cat f /tmp/f; pwd").await?, "x\ny\n/workspace\n");
    // What lies in memory would not be in it.
    let error = sandbox.create_snapshot("partial").await.expect_err("it would be empty");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    Ok(())
}

async fn a_volume_carries_data_from_one_sandbox_to_the_next(world: World) -> Outcome {
    let volumes = world.client.volumes()?;
    let made = volumes.create(CreateVolume::new(format!("grainchain-{}", world.owner))).await?;
    let volume = &made.name;
    let config = SandboxConfig::default()
        .provider_option("user", "root")
        .provider_option("volumes", json!([format!("{volume}:/data")]));
    let first = world.create(config.clone()).await?;
    sh(&first, "echo kept > /data/f").await?;
    first.close().await?;
    let second = world.create(config).await?;
    assert_eq!(sh(&second, "cat /data/f").await?, "kept\n");
    let in_use = volumes.delete(&made.id).await.expect_err("a sandbox uses it");
    assert_eq!(in_use.kind(), ErrorKind::Conflict);
    second.close().await?;
    volumes.delete(&made.id).await?;
    assert!(!volumes.list().await?.iter().any(|info| info.id == made.id));
    Ok(())
}

async fn a_user_of_the_image_owns_the_workspace(world: World) -> Outcome {
    let sandbox = world
        .create(SandboxConfig::default().provider_option("user", "worker").working_directory("deep/er"))
        .await?;
    assert_eq!(sh(&sandbox, "id -u; pwd; echo x > f; cat f").await?, "1234\n/workspace/deep/er\nx\n");
    Ok(())
}
