//! The other run of the program: a bridge from its standard streams to the helper's socket.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

use grainchain_core::{Error, ErrorKind, Result};

use super::{door, privileges};

/// How much is carried at once.
const BUFFER: usize = 64 * 1024;

/// Carries bytes both ways until the helper has said its last.
pub(super) fn dial() -> Result<()> {
    privileges::become_helper().map_err(|error| Error::io("become the helper's user", error))?;
    let socket = UnixStream::connect_addr(&door::address()?).map_err(|error| {
        Error::new(ErrorKind::Connection, "no helper answers in this sandbox")
            .hint("its first process must be the helper")
            .caused_by(error)
    })?;
    let fail = |error| Error::io("bridge to the helper", error);
    // The streams themselves: the library's own gather until a line ends.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(fail)?);
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(fail)?);
    let (mut there, mut back) = (socket.try_clone().map_err(fail)?, socket);
    let upwards = thread::Builder::new().name("grainchain-dial".into()).spawn(move || {
        carry(&mut input, &mut there)?;
        // The helper hears that nothing more comes; its last words still go out.
        there.shutdown(Shutdown::Write)
    });
    upwards.map_err(fail)?;
    carry(&mut back, &mut output).map_err(fail)
}

/// Hands on what there is as soon as it is there. The library's copy lets the kernel move pages instead, which waits for more of them.
fn carry(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
