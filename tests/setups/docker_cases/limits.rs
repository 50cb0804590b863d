//! What a sandbox may use, and what happens to a command that wants more.

use serde_json::json;

use grainchain_core::{ByteSize, ErrorKind, Output, SandboxStatus, Signal};
use grainchain_testkit::{Outcome, fails, until};

use super::support::{
    EVERYBODY, container, engine, equal, goes_on, nothing_left, refused, require, secs, sh, sh_as,
};

/// Takes 300 MiB and more, all in the shell itself.
pub(super) const HOG: &str = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo survived ${#x}";

/// Holds `output` to be that of a command that the kernel killed.
pub(super) fn killed(output: &Output) -> Outcome {
    require(
        output.exit_code() == Some(137) || output.signal() == Some(Signal::KILL),
        format!("ended with {:?}: {} {}", output.status, output.stdout(), output.stderr()),
    )
}

/// The first of `files` of the control group that is there.
fn group(files: &[&str]) -> String {
    let files: Vec<_> = files.iter().map(|file| format!("cat /sys/fs/cgroup/{file} 2>/dev/null")).collect();
    files.join(" || ")
}

cases! { docker_limits:
    fn a_command_that_takes_too_much_memory_is_killed_and_the_sandbox_goes_on(cx) tags [Heavy] {
        let sandbox = cx.create(cx.config().memory_limit(ByteSize::mib(64))).await?;
        let born = engine(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &container(&sandbox)]).await?;
        for _ in 0..3 {
            killed(&sandbox.execute(HOG).timeout(secs(90)).await?)?;
            goes_on(&sandbox).await?;
        }
        equal("the container", engine(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &container(&sandbox)]).await?, born)?;
        equal("the status", sandbox.status().await?, SandboxStatus::Running)?;
    }

    fn a_command_that_memory_ran_out_under_says_so_and_an_innocent_one_does_not(cx) needs [Processes] tags [Heavy] {
        let sandbox = cx.create(cx.config().memory_limit(ByteSize::mib(64))).await?;
        for round in 0..2 {
            let hog = sandbox.execute(HOG).timeout(secs(90)).await?;
            killed(&hog)?;
            require(hog.out_of_memory, format!("round {round}: nothing is said of memory"))?;
            for innocent in ["echo there", "exit 3"] {
                require(!sandbox.execute(innocent).await?.out_of_memory, format!("round {round}: `{innocent}` is said to have run out of memory"))?;
            }
            // The same end, for another reason.
            let shot = sandbox.execute("kill -9 $$").await?;
            killed(&shot)?;
            require(!shot.out_of_memory, format!("round {round}: a kill is taken for a lack of memory"))?;
        }
    }

    fn a_command_whose_child_alone_was_killed_for_memory_says_so(cx) needs [Processes] tags [Heavy] {
        let sandbox = cx.create(cx.config().memory_limit(ByteSize::mib(64))).await?;
        let output = sandbox.execute(["sh", "-c", "sh -c \"$0\"; echo goes on", HOG]).timeout(secs(90)).await?;
        equal("what the command says", (output.stdout().trim(), output.exit_code()), ("goes on", Some(0)))?;
        require(output.out_of_memory, "nothing is said of memory")?;
    }

    fn a_command_that_stays_within_its_memory_is_left_alone(cx) {
        let sandbox = cx.create(cx.config().memory_limit(ByteSize::mib(64))).await?;
        equal("its output", sh(&sandbox, "x=$(head -c 1000000 /dev/zero | tr '\\0' x); echo ${#x}").await?.as_str(), "1000000\n")?;
    }

    fn memory_that_one_command_takes_kills_no_other_command(cx) needs [Processes] tags [Heavy] {
        let sandbox = cx.create(cx.config().memory_limit(ByteSize::mib(64))).await?;
        let mut other = sandbox.spawn("read line; echo got $line").piped_stdin().await?;
        killed(&sandbox.execute(HOG).timeout(secs(90)).await?)?;
        other.write("through\n").await?;
        other.close_stdin().await?;
        equal("the other's end", other.wait().await?.code(), Some(0))?;
    }

    fn files_are_served_while_memory_runs_out(cx) needs [Processes, Files] tags [Heavy] {
        let sandbox = cx.create(cx.config().memory_limit(ByteSize::mib(64))).await?;
        sandbox.upload_file("note", "the old one").await?;
        let hog = sandbox.clone();
        let hogs = tokio::spawn(async move {
            for _ in 0..4 { killed(&hog.execute(HOG).timeout(secs(60)).await?)?; }
            Outcome::Ok(())
        });
        while !hogs.is_finished() {
            equal("the file", &sandbox.download_file("note").await?[..], &b"the old one"[..])?;
            equal("its size", sandbox.stat("note").await?.size, 11)?;
        }
        hogs.await.map_err(|_| "the hogs were lost")??;
        goes_on(&sandbox).await?;
    }

    fn commands_are_the_first_to_go_when_memory_runs_out(cx) needs [Processes] {
        let sandbox = cx.sandbox().await?;
        for user in EVERYBODY {
            equal(&format!("the score of {user}'s commands"), sh_as(&sandbox, user, "cat /proc/self/oom_score_adj").await?.trim(), "1000")?;
        }
        let mine = sh(&sandbox, "cat /proc/1/oom_score_adj").await?;
        require(mine.trim().parse::<i32>().is_ok_and(|score| score <= 0), format!("the first process has {mine}"))?;
        refused(&sandbox, &["/bin/echo -1 > /proc/self/oom_score_adj", "/bin/echo -1000 > /proc/self/oom_score_adj"]).await?;
    }

    fn a_folder_in_memory_that_is_filled_does_not_end_the_sandbox(cx) needs [Processes, Files] tags [Heavy] {
        let sandbox = cx.create(cx.config().memory_limit(ByteSize::mib(64)).provider_option("read_only", true)).await?;
        // Killed, or told that there is no room: what it wrote stays either way.
        let output = sandbox.execute("head -c 300000000 /dev/zero > /tmp/big").timeout(secs(90)).await?;
        require(!output.success(), "300 MB fit into a sandbox of 64 MiB")?;
        sandbox.remove("/tmp/big").await?;
        goes_on(&sandbox).await?;
    }

    fn memory_below_the_engines_minimum_is_refused(cx) {
        let error = fails(cx.create(cx.config().memory_limit(ByteSize::mib(1))).await, &[ErrorKind::BadRequest])?;
        equal("the option", error.failed_option(), Some("memory_limit"))?;
        nothing_left(&cx).await?;
    }

    fn the_limits_stand_in_the_control_group(cx) {
        let config = cx.config().memory_limit(ByteSize::mib(96)).cpu_limit(0.5).provider_option("pids", 77);
        let sandbox = cx.create(config).await?;
        let limit = sh(&sandbox, &group(&["memory.max", "memory/memory.limit_in_bytes"])).await?;
        equal("memory", limit.trim(), (96 << 20).to_string())?;
        let cpus = sh(&sandbox, &format!("{} || echo $(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us) $(cat /sys/fs/cgroup/cpu/cpu.cfs_period_us)", group(&["cpu.max"]))).await?;
        let numbers: Vec<f64> = cpus.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        require(matches!(numbers[..], [quota, period] if (quota / period - 0.5).abs() < 0.001), format!("the processors are {cpus:?}"))?;
        equal("processes", sh(&sandbox, &group(&["pids.max", "pids/pids.max"])).await?.trim(), "77")?;
        let info = sandbox.info().await?;
        equal("what `info` tells", (info.memory_limit, info.cpu_limit), (Some(ByteSize::mib(96)), Some(0.5)))?;
    }

    fn a_quota_of_processors_is_seen_in_metrics_and_holds_up_what_wants_more(cx) needs [Metrics, Processes] {
        let sandbox = cx.create(cx.config().cpu_limit(0.25)).await?;
        equal("the limit", sandbox.metrics().await?.cpu_limit, Some(0.25))?;
        let busy = sandbox.spawn("while :; do :; done").await?;
        until("it is held up", async || Ok(sandbox.metrics().await?.cpu_throttled.unwrap_or_default() > secs(1))).await?;
        busy.kill().await?;
        let free = cx.sandbox().await?;
        equal("the limit of one without", free.metrics().await?.cpu_limit, None)?;
    }

    fn without_wishes_memory_and_processes_are_limited_all_the_same(cx) {
        let sandbox = cx.sandbox().await?;
        let memory = sh(&sandbox, &group(&["memory.max", "memory/memory.limit_in_bytes"])).await?;
        equal("memory", memory.trim(), (2_u64 << 30).to_string())?;
        equal("processes", sh(&sandbox, &group(&["pids.max", "pids/pids.max"])).await?.trim(), "512")?;
    }

    fn there_is_no_swap_on_top_of_the_memory(cx) {
        let sandbox = cx.create(cx.config().memory_limit(ByteSize::mib(96))).await?;
        let swap = sh(&sandbox, &format!("{} || echo none", group(&["memory.swap.max", "memory/memory.memsw.limit_in_bytes"]))).await?;
        require(["0", "none", "100663296"].contains(&swap.trim()), format!("swap is {swap}"))?;
        let told = engine(&["inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}", &container(&sandbox)]).await?;
        equal("what the engine was told", told.as_str(), "100663296 100663296")?;
    }

    fn a_limit_of_each_process_holds_and_cannot_be_raised(cx) {
        let limits = json!({ "nofile": { "soft": 64, "hard": 128 }, "cpu": { "soft": 30, "hard": 60 }, "core": { "soft": 0, "hard": 0 } });
        let sandbox = cx.create(cx.config().provider_option("ulimits", limits)).await?;
        // Not the softer one of open files: runc 1.1 now and then raises it on its way to a command.
        equal("what holds", sh(&sandbox, "ulimit -Hn; ulimit -St; ulimit -Ht; ulimit -Sc").await?.as_str(), "128\n30\n60\n0\n")?;
        equal("what it may be raised to", sh(&sandbox, "ulimit -St 60; ulimit -St").await?.trim(), "60")?;
        for user in EVERYBODY {
            for line in ["ulimit -n 129 && echo raised", "ulimit -t 61 && echo raised"] {
                equal(&format!("what {user} said"), sandbox.execute(line).user(user).await?.stdout().trim(), "")?;
            }
        }
    }

    fn few_files_for_each_process_leave_the_sandbox_working(cx) needs [Files] {
        let limits = json!({ "nofile": { "soft": 64, "hard": 64 } });
        let sandbox = cx.create(cx.config().provider_option("ulimits", limits)).await?;
        for number in 0..100 { sandbox.upload_file(format!("f{number}"), "x").await?; }
        equal("files", sandbox.list_files(".").await?.len(), 100)?;
        for _ in 0..50 { goes_on(&sandbox).await?; }
    }

    fn the_shared_memory_is_as_large_as_was_asked_for(cx) {
        let sandbox = cx.create(cx.config().provider_option("shm_size", "2MiB")).await?;
        let told = sh(&sandbox, "df -k /dev/shm | tail -n 1").await?;
        equal("its size", told.split_whitespace().nth(1), Some("2048"))?;
        let output = sandbox.execute("dd if=/dev/zero of=/dev/shm/x bs=1000000 count=3").await?;
        require(!output.success() && output.stderr().to_lowercase().contains("no space"), format!("3 MB fit into 2 MiB: {}", output.stderr()))?;
        goes_on(&sandbox).await?;
    }

    fn a_folder_in_memory_takes_no_more_than_was_asked_for(cx) {
        let sandbox = cx.create(cx.config().provider_option("tmpfs", json!({ "/scratch": "1MiB" }))).await?;
        sh(&sandbox, "head -c 500000 /dev/zero > /scratch/half").await?;
        let output = sandbox.execute("dd if=/dev/zero of=/scratch/more bs=1000000 count=2").await?;
        require(!output.success() && output.stderr().to_lowercase().contains("no space"), format!("2 MB fit into 1 MiB: {}", output.stderr()))?;
        equal("what was there", sh(&sandbox, "wc -c < /scratch/half").await?.trim(), "500000")?;
    }

    fn a_working_directory_below_a_folder_in_memory_is_made(cx) needs [Processes, Files] {
        for read_only in [false, true] {
            let config = cx.config().provider_option("read_only", read_only).provider_option("tmpfs", json!({ "/scratch": "1MiB" }));
            let sandbox = cx.create(config.working_directory("/scratch/a/b")).await?;
            equal("where commands start", sh(&sandbox, "pwd; echo x > note; cat note").await?.as_str(), "/scratch/a/b\nx\n")?;
            sandbox.upload_file("other", "y").await?;
            equal("its files", sandbox.list_files("/scratch/a/b").await?.len(), 2)?;
        }
    }

    fn an_image_that_is_read_only_leaves_memory_to_run_in_when_all_folders_are_full(cx) needs [Files] {
        let sandbox = cx.create(cx.config().memory_limit(ByteSize::mib(64)).provider_option("read_only", true)).await?;
        for folder in [".", "/tmp"] {
            let output = sandbox.execute(format!("cat /dev/zero > {folder}/full")).await?;
            require(!output.success() && output.stderr().to_lowercase().contains("no space"), format!("{folder}: {}", output.stderr()))?;
        }
        for _ in 0..10 { goes_on(&sandbox).await?; }
        sh(&sandbox, "rm ./full /tmp/full").await?;
        sandbox.upload_file("note", "x").await?;
    }

    fn a_full_folder_in_memory_is_told_as_exhausted_and_the_old_file_stays(cx) needs [Files] {
        let sandbox = cx.create(cx.config().provider_option("tmpfs", json!({ "/scratch": "1MiB" }))).await?;
        sandbox.upload_file("/scratch/note", "the old one").await?;
        let error = fails(sandbox.upload_file("/scratch/note", vec![b'x'; 2 << 20]).await, &[ErrorKind::Exhausted])?;
        require(error.remedy().is_some(), format!("does not say what to do: {error}"))?;
        equal("the file", &sandbox.download_file("/scratch/note").await?[..], &b"the old one"[..])?;
        equal("files", sandbox.list_files("/scratch").await?.len(), 1)?;
    }
}
