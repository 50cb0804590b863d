//! The short way to a helper of this machine: for a moment into its network, where its socket is.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{door, privileges};

/// Held while a thread of this program is another user: what the kernel makes of that concerns all of them.
static ELSEWHERE: Mutex<()> = Mutex::new(());

/// Connects to the helper that is the process `process` here, as the user that it lets in. Nothing of it is waited for: a socket where
/// nobody accepts refuses.
///
/// Who answers is not known before a link has greeted: a number may be given away anew at any moment.
///
/// # Errors
///
/// `PermissionDenied` for whoever may not enter other networks, which is everybody but root; `ConnectionRefused` where nobody listens;
/// `Unsupported` where users have other numbers than here, so that the helper would not know its own.
pub fn reach(process: u32) -> io::Result<UnixStream> {
    let users = |process: &str| fs::read_link(format!("/proc/{process}/ns/user"));
    if users(&process.to_string())? != users("self")? {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the sandbox numbers its users by itself"));
    }
    let network = File::open(format!("/proc/{process}/ns/net"))?;
    let _alone = ELSEWHERE.lock().unwrap_or_else(PoisonError::into_inner);
    // A program of which a thread becomes another user may be looked into by that user, or leaves no dumps any more.
    let before = dumpable_behavior()?;
    // Networks and users are a thread's own. This one ends with the connection.
    let reaching = thread::Builder::new().name("grainchain-reach".into()).spawn(move || {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
        privileges::become_helper()?;
        dial()
    })?;
    let reached =
        reaching.join().unwrap_or_else(|_| Err(io::Error::other("the thread that connects has panicked")));
    // Only now that nobody of the program is that user. The third setting is the kernel's own alone.
    if before != dumpable_behavior()? && before != DumpableBehavior::DumpableReadableOnlyByRoot {
        set_dumpable_behavior(before)?;
    }
    reached
}

fn dial() -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new_abstract_name(door::NAME)?)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    use super::*;
    use crate::helper::HELPER_USER;

    /// As root it is reached as the helper's user, and this program is what it was before; as anybody else it is not reached.
    #[test]
    fn only_root_reaches_a_helper_and_is_itself_again_afterwards() {
        let process = std::process::id();
        // Root in a container may enter no network.
        let is_root = rustix::thread::move_into_link_name_space(
            File::open("/proc/self/ns/net").unwrap().as_fd(),
            Some(LinkNameSpaceType::Network),
        )
        .is_ok();
        let before = dumpable_behavior().unwrap();
        let refused = reach(process).unwrap_err().kind();
        let expected =
            if is_root { io::ErrorKind::ConnectionRefused } else { io::ErrorKind::PermissionDenied };
        assert_eq!(refused, expected);
        if !is_root {
            return;
        }
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(door::NAME).unwrap()).unwrap();
        let _ours = reach(process).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        let peer = rustix::net::sockopt::socket_peercred(&theirs).unwrap();
        assert_eq!(peer.uid.as_raw(), HELPER_USER);
        assert_eq!(dumpable_behavior().unwrap(), before);
    }

    #[test]
    fn a_process_that_is_not_there_is_no_helper() {
        assert_eq!(reach(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
