//! What the helper may do, and what nothing below it may.

use std::io;

use grainchain_core::{Error, Result};

use super::HELPER_USER;
use crate::users::Account;

const CHOWN: u32 = 0;
const DAC_OVERRIDE: u32 = 1;
const FOWNER: u32 = 3;
const FSETID: u32 = 4;
const SETGID: u32 = 6;
const SETUID: u32 = 7;
const KILL: u32 = 5;

/// The helper's own: to become other users, and to end what they have started.
const OWN: u64 = 1 << SETGID | 1 << SETUID | 1 << KILL;

/// What one thread alone has, to keep folders whole: to read what its owner hides, and to give back to everybody what was theirs.
const KEEPING: u64 = 1 << CHOWN | 1 << DAC_OVERRIDE | 1 << FOWNER | 1 << FSETID;

/// The kernel knows fewer, and refuses to be asked for the first that it does not know.
const MOST: u32 = 63;

/// Capabilities by number, as `capability.h` has them.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Takes everything away that is not needed: from this process, and from whatever it starts, for good.
///
/// Until [`seal`] this thread may still start one that [keeps folders](become_keeper), if it was given what that takes: then true is
/// the answer.
///
/// Files are opened with the rights of `account`, processes ended with those of the helper. Only for a process with one thread.
pub(super) fn settle(account: &Account, capabilities: &[String]) -> Result<bool> {
    let kept = bits(capabilities)?;
    let all = || -> io::Result<bool> {
        let has_all = permitted()? & KEEPING == KEEPING;
        bound(kept)?;
        call(libc::SYS_prctl, [libc::PR_SET_KEEPCAPS as u64, 1, 0, 0])?;
        let groups = &account.groups;
        call(libc::SYS_setgroups, [groups.len() as u64, groups.as_ptr() as u64, 0, 0])?;
        let own = u64::from(HELPER_USER);
        call(libc::SYS_setresgid, [own, own, own, 0])?;
        call(libc::SYS_setresuid, [own, own, own, 0])?;
        let mine = if has_all { OWN | KEEPING } else { OWN };
        // Without a right to gain privileges a command that is root has what its starter has, within the bounds.
        grant(mine, mine | kept)?;
        // These answer with the number before, also when they refuse.
        call(libc::SYS_setfsgid, [account.gid.into(), 0, 0, 0])?;
        call(libc::SYS_setfsuid, [account.uid.into(), 0, 0, 0])?;
        let now = call(libc::SYS_setfsuid, [u64::from(u32::MAX), 0, 0, 0])?;
        // Otherwise our files in /proc were root's, which commands may be.
        call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u64, 1, 0, 0])?;
        if now == i64::from(account.uid) { Ok(has_all) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    };
    all().map_err(|error| {
        Error::io("give up what the helper does not need", error)
            .hint("the container's first process must be root with SETUID, SETGID, SETPCAP, KILL and CHOWN")
    })
}

/// Keeps from this thread, and from all that it starts from now on, what only keeping folders takes.
pub(super) fn seal(capabilities: &[String]) -> Result<()> {
    grant(OWN, OWN | bits(capabilities)?)
        .map_err(|error| Error::io("give up what only keeping folders takes", error))
}

/// Lets this thread keep folders, and nothing else.
pub(super) fn become_keeper() -> io::Result<()> {
    grant(KEEPING, KEEPING)
}

/// Becomes the helper's user, with nothing else.
pub(super) fn become_helper() -> io::Result<()> {
    let own = u64::from(HELPER_USER);
    call(libc::SYS_setgroups, [0; 4])?;
    call(libc::SYS_setresgid, [own, own, own, 0])?;
    call(libc::SYS_setresuid, [own, own, own, 0])?;
    grant(0, 0)
}

/// Nothing that is started from here on can have more than `kept`, whoever it is.
fn bound(kept: u64) -> io::Result<()> {
    for capability in 0..=MOST {
        match call(libc::SYS_prctl, [libc::PR_CAPBSET_READ as u64, capability.into(), 0, 0]) {
            Ok(1) if kept >> capability & 1 == 0 => {
                call(libc::SYS_prctl, [libc::PR_CAPBSET_DROP as u64, capability.into(), 0, 0])?;
            }
            Ok(_) => {}
            Err(_beyond_the_last) => break,
        }
    }
    Ok(())
}

/// Uses these capabilities and has those, and no others from now on.
fn grant(used: u64, had: u64) -> io::Result<()> {
    // linux/capability.h: version 3, then two times 32 bits of effective, permitted and inheritable.
    let header = [0x2008_0522_u32, 0];
    let (high, had_high) = ((used >> 32) as u32, (had >> 32) as u32);
    let data = [used as u32, had as u32, 0, high, had_high, 0];
    call(libc::SYS_capset, [header.as_ptr() as u64, data.as_ptr() as u64, 0, 0]).map(drop)
}

/// Whether there is a capability of this name, without `CAP_` in front.
pub(super) fn is_capability(name: &str) -> bool {
    NAMES.contains(&name)
}

/// What this thread can have.
fn permitted() -> io::Result<u64> {
    let header = [0x2008_0522_u32, 0];
    let mut data = [0_u32; 6];
    call(libc::SYS_capget, [header.as_ptr() as u64, data.as_mut_ptr() as u64, 0, 0])?;
    Ok(u64::from(data[4]) << 32 | u64::from(data[1]))
}

fn bits(names: &[String]) -> Result<u64> {
    names.iter().try_fold(0, |bits, name| {
        let number = NAMES.iter().position(|known| known == name).ok_or_else(|| {
            Error::config(format!("there is no capability `{}`", name.escape_debug()))
                .hint("as in NET_BIND_SERVICE, without CAP_ in front")
                .option("cap_add")
        })?;
        Ok(bits | 1 << number)
    })
}

/// The kernel itself: what libc makes of some of these signals every thread, and there is one.
#[expect(unsafe_code, reason = "these calls have no safe form")]
fn call(number: libc::c_long, [a, b, c, d]: [u64; 4]) -> io::Result<i64> {
    // SAFETY: every pointer passed by the callers above is to data that lives across the call.
    let answer = unsafe { libc::syscall(number, a, b, c, d, 0) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_known_by_their_names() {
        let bits = |names: &[&str]| bits(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(bits(&["CHOWN", "KILL", "CHECKPOINT_RESTORE"]).unwrap(), 1 | 1 << 5 | 1 << 40);
        assert_eq!(bits(&[]).unwrap(), 0);
        assert_eq!(bits(&["cap_chown"]).unwrap_err().failed_option(), Some("cap_add"));
        assert_eq!(
            (NAMES[SETUID as usize], NAMES[SETGID as usize], NAMES[KILL as usize]),
            ("SETUID", "SETGID", "KILL")
        );
    }
}
