//! Bytes between us and a child, without a thread that waits for them.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    task::{Context, Poll, ready},
};

use bytes::{BufMut, BytesMut};
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
};
use tokio::io::{Interest, unix::AsyncFd};

/// What the kernel grants to everybody by default, and enough for a command's output between two wake-ups.
const LARGE_BYTES: usize = 1 << 20;
/// The least room a read gets.
const READ_BYTES: usize = 64 * 1024;

/// How much a pipe holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capacity {
    /// The kernel's default, 64 KiB.
    Default,
    /// 1 MiB, or the default where a user's share of pipe memory is used up: only speed depends on it.
    Large,
}

/// A pipe that we read: ours, and the blocking end for the child.
///
/// # Errors
///
/// When descriptors have run out.
pub(crate) fn for_reading(capacity: Capacity) -> io::Result<(Reader, OwnedFd)> {
    let (ours, theirs) = pair(capacity)?;
    Ok((Reader::new(ours)?, theirs))
}

/// A pipe that we write: ours, and the blocking end for the child.
///
/// # Errors
///
/// When descriptors have run out.
pub(crate) fn for_writing(capacity: Capacity) -> io::Result<(Writer, OwnedFd)> {
    let (theirs, ours) = pair(capacity)?;
    Ok((Writer::new(ours)?, theirs))
}

fn pair(capacity: Capacity) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    if capacity == Capacity::Large {
        match fcntl_setpipe_size(&read, LARGE_BYTES) {
            Ok(_) | Err(Errno::PERM | Errno::BUSY | Errno::NOMEM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((read, write))
}

/// Makes our end non-blocking. The other end of a pipe has flags of its own, so the child notices nothing.
pub(super) fn set_nonblocking(fd: &impl AsFd) -> io::Result<()> {
    Ok(fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?)
}

/// A descriptor that enters a runtime's set when a task first has to wait for it, and can leave it again.
#[derive(Debug)]
struct Watched {
    /// Before the descriptor, which must not be closed while a runtime watches it.
    readiness: Option<AsyncFd<Number>>,
    fd: OwnedFd,
    interest: Interest,
}

/// A descriptor that somebody else owns.
#[derive(Debug)]
struct Number(RawFd);

impl AsRawFd for Number {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Watched {
    /// Makes the descriptor non-blocking.
    fn new(fd: OwnedFd, interest: Interest) -> io::Result<Self> {
        set_nonblocking(&fd)?;
        Ok(Self { readiness: None, fd, interest })
    }

    /// The descriptor, and what says when it is ready.
    fn parts(&mut self) -> io::Result<(&OwnedFd, &AsyncFd<Number>)> {
        let readiness = match &mut self.readiness {
            Some(readiness) => readiness,
            empty => {
                let number = Number(self.fd.as_raw_fd());
                #[expect(unsafe_code, reason = "the runtime has to trust that the descriptor stays open")]
                // SAFETY: the descriptor is open and the same for as long as we live, and the registration goes first.
                let readiness = unsafe { AsyncFd::register_with_interest(number, self.interest) }?;
                empty.insert(readiness)
            }
        };
        Ok((&self.fd, readiness))
    }

    fn into_fd(self) -> OwnedFd {
        drop(self.readiness);
        self.fd
    }
}

/// What [`Reader::drain_now`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drained {
    pub(crate) bytes: usize,
    /// No writer is left.
    pub(crate) ended: bool,
}

/// The reading end of a pipe, or a terminal's master.
#[derive(Debug)]
pub(crate) struct Reader {
    watched: Watched,
}

impl Reader {
    /// Takes over a descriptor and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { watched: Watched::new(fd, Interest::READABLE)? })
    }

    /// How many bytes can be read at once without waiting.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn available(&self) -> io::Result<u64> {
        Ok(rustix::io::ioctl_fionread(&self.watched.fd)?)
    }

    /// Forgets the runtime that it was waited for in. The next wait may be in another one.
    pub(crate) fn leave_runtime(&mut self) {
        self.watched.readiness = None;
    }

    /// Takes it out of the runtime, for somebody who has none. It stays non-blocking.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.watched.into_fd()
    }

    /// Waits for bytes and appends what one read gives; 0 at the end.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub(crate) async fn read(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_read(cx, into)).await
    }

    /// As [`Self::read`], for a task that waits for other things as well. Only the last task that asked is woken.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        let (fd, readiness) = self.watched.parts()?;
        loop {
            let mut ready = ready!(readiness.poll_read_ready(cx))?;
            match ready.try_io(|_| read_once(fd, into, READ_BYTES)) {
                Ok(result) => {
                    // Readiness is reported again when more comes, so asking the kernel whether there is more can be
                    // saved. At the end there is no other report.
                    if matches!(result, Ok(1..READ_BYTES)) {
                        ready.clear_ready();
                    }
                    return Poll::Ready(result);
                }
                Err(_would_block) => {}
            }
        }
    }

    /// As one read of [`Self::read`], without waiting.
    ///
    /// # Errors
    ///
    /// What the kernel says, and `WouldBlock`.
    pub(crate) fn read_now(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        read_once(&self.watched.fd, into, READ_BYTES)
    }

    /// Appends what is there already, up to `most` bytes, without waiting: a command has ended, but something
    /// that it left behind keeps the pipe open and may never close it.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn drain_now(&mut self, into: &mut BytesMut, most: usize) -> io::Result<Drained> {
        let mut bytes = 0;
        while bytes < most {
            match read_once(&self.watched.fd, into, READ_BYTES.min(most - bytes)) {
                Ok(0) => return Ok(Drained { bytes, ended: true }),
                Ok(length) => bytes += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Drained { bytes, ended: false })
    }
}

fn read_once(fd: &OwnedFd, into: &mut BytesMut, most: usize) -> io::Result<usize> {
    into.reserve(most);
    loop {
        let room = into.spare_capacity_mut();
        let room = room.len().min(most);
        match rustix::io::read(fd, &mut into.spare_capacity_mut()[..room]) {
            Ok((filled, _)) => {
                let length = filled.len();
                #[expect(unsafe_code, reason = "BytesMut cannot know what the kernel wrote")]
                // SAFETY: the kernel has initialised the first `length` bytes of the spare capacity.
                unsafe {
                    into.advance_mut(length);
                }
                return Ok(length);
            }
            Err(Errno::INTR) => {}
            // A terminal's master says so when nobody has the other side open any more.
            Err(Errno::IO) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
    }
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.fd.as_fd()
    }
}

fn write_once(fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes))?)
}

/// The writing end of a pipe, or a terminal's master.
///
/// The standard library ignores `SIGPIPE` at start; a program that does not must do so before it writes here.
#[derive(Debug)]
pub(crate) struct Writer {
    watched: Watched,
}

impl Writer {
    /// Takes over a descriptor and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { watched: Watched::new(fd, Interest::WRITABLE)? })
    }

    /// Writes some of it, as soon as there is room.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when nobody will read it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future means that nothing was written.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (fd, readiness) = self.watched.parts()?;
        loop {
            let mut ready = readiness.writable().await?;
            match ready.try_io(|_| write_once(fd, bytes)) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// Writes what there is room for at this moment, without waiting for more room.
    ///
    /// # Errors
    ///
    /// As [`Self::write`], and `WouldBlock`.
    pub(crate) fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_once(&self.watched.fd, bytes)
    }

    /// As [`Self::write`], for a task that waits for other things as well. Only the last task that asked is woken.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (fd, readiness) = self.watched.parts()?;
        loop {
            let mut ready = ready!(readiness.poll_write_ready(cx))?;
            match ready.try_io(|_| write_once(fd, bytes)) {
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    /// Forgets the runtime that it was waited for in. The next wait may be in another one.
    pub(crate) fn leave_runtime(&mut self) {
        self.watched.readiness = None;
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    ///
    /// # Cancel safety
    ///
    /// After dropping the future it is unknown how much was written; use [`Self::write`] to know.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.write(bytes).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }
}
