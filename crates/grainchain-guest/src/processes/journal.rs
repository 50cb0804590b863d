//! What a process wrote and nobody has read yet: bounded, in order, for any number of readers.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::task::{Context, Waker};

use bytes::{Bytes, BytesMut};
use grainchain_core::{ExitStatus, OutputStream, ProcessEvent};

/// How much is kept, both streams together.
pub(super) const CAPACITY: usize = 1 << 20;
/// What an entry costs beside its bytes, so that a million single bytes are not kept for the price of one mebibyte.
const ENTRY: usize = 128;
/// From here on a buffer is handed on as it is; what is smaller is copied and joined.
const WHOLE: usize = 32 * 1024;
/// How many buffers wait for their last reader to let them go.
const SPENT: usize = 8;
/// The size of a buffer.
const BUFFER: usize = 64 * 1024;

/// The unread events of one process.
///
/// Every reader sees everything from the oldest entry that was there when it came. An entry goes when all readers have
/// seen it; while there is none, the oldest goes when a new one needs its room, and is counted.
#[derive(Debug)]
pub(super) struct Journal {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    cost: usize,
    /// How many bytes each stream had so far: the offset of the next entry.
    written: [u64; 2],
    /// How many bytes of each stream nobody has seen or will see.
    lost: [u64; 2],
    readers: HashMap<u64, Reader>,
    next_reader: u64,
    spent: VecDeque<Bytes>,
    /// The writer waits for room.
    waiting: bool,
    /// A reader has seen the end, and so nobody new may come.
    pub(super) fetched: bool,
    end: Option<End>,
}

#[derive(Debug)]
enum Entry {
    Output(Output),
    Exited(ExitStatus),
}

#[derive(Debug)]
struct Output {
    stream: OutputStream,
    /// Where in its stream it begins.
    #[expect(
        dead_code,
        reason = "for readers that come back to where they were, over a connection that broke"
    )]
    offset: u64,
    bytes: Chunk,
    cost: usize,
}

#[derive(Debug)]
enum Chunk {
    /// Still grows.
    Open(BytesMut),
    Closed(Bytes),
}

#[derive(Debug)]
struct Reader {
    next: u64,
    waker: Option<Waker>,
}

/// Why nothing more comes.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// All writers have closed.
    Closed,
    /// Something went wrong; said again to every reader.
    Failed(super::record::Failure),
}

/// What a reader gets next.
#[derive(Debug)]
pub(super) enum Next {
    Event(ProcessEvent),
    End(End),
    /// The waker was kept.
    Nothing,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            cost: 0,
            written: [0; 2],
            lost: [0; 2],
            readers: HashMap::new(),
            next_reader: 0,
            spent: VecDeque::new(),
            waiting: false,
            fetched: false,
            end: None,
        }
    }

    /// Lets a reader in, and says what was lost before it came.
    pub(super) fn attach(&mut self) -> (u64, [u64; 2]) {
        let key = self.next_reader;
        self.next_reader += 1;
        self.readers.insert(key, Reader { next: self.first, waker: None });
        (key, self.lost)
    }

    /// Lets a reader go.
    pub(super) fn detach(&mut self, key: u64) {
        self.readers.remove(&key);
        self.release();
        self.forget_oldest();
    }

    /// A reader has been told of the losses.
    pub(super) fn admit_losses(&mut self, stream: OutputStream) {
        self.lost[index(stream)] = 0;
    }

    /// Whether there is room for more, always while nobody is attached. If not, the writer is noted as waiting.
    pub(super) fn has_room_or_wait(&mut self) -> bool {
        self.waiting = !(self.readers.is_empty() || self.cost < CAPACITY);
        !self.waiting
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.cost
    }

    /// A buffer to read into, if possible one that was used before.
    pub(super) fn buffer(&mut self) -> BytesMut {
        while let Some(bytes) = self.spent.pop_back() {
            if let Ok(mut buffer) = bytes.try_into_mut() {
                buffer.clear();
                if buffer.try_reclaim(BUFFER) {
                    return buffer;
                }
            }
        }
        BytesMut::with_capacity(BUFFER)
    }

    /// Takes what `buffer` holds and leaves an empty one.
    pub(super) fn push(&mut self, stream: OutputStream, buffer: &mut BytesMut) {
        let length = buffer.len();
        if length == 0 {
            return;
        }
        let offset = self.written[index(stream)];
        self.written[index(stream)] += length as u64;
        if self.fetched && self.readers.is_empty() {
            buffer.clear();
            return;
        }
        if length >= WHOLE {
            let cost = buffer.capacity() + ENTRY;
            let empty = self.buffer();
            let bytes = Chunk::Closed(mem::replace(buffer, empty).freeze());
            self.add(Output { stream, offset, bytes, cost });
        } else {
            if !self.join(stream, buffer) {
                let bytes = Chunk::Open(BytesMut::from(&buffer[..]));
                self.add(Output { stream, offset, bytes, cost: length + ENTRY });
            }
            buffer.clear();
        }
        self.forget_oldest();
        self.wake_readers();
    }

    /// Appends to the newest entry if it still grows.
    fn join(&mut self, stream: OutputStream, more: &[u8]) -> bool {
        match self.entries.back_mut() {
            Some(Entry::Output(Output { stream: same, bytes: Chunk::Open(bytes), cost, .. }))
                if *same == stream && bytes.len() + more.len() <= WHOLE =>
            {
                let before = bytes.capacity();
                bytes.extend_from_slice(more);
                let grown = bytes.capacity() - before;
                *cost += grown;
                self.cost += grown;
                true
            }
            _ => false,
        }
    }

    fn add(&mut self, output: Output) {
        self.cost += output.cost;
        self.entries.push_back(Entry::Output(output));
    }

    pub(super) fn push_exit(&mut self, status: ExitStatus) {
        self.entries.push_back(Entry::Exited(status));
        self.wake_readers();
    }

    /// Nothing more comes. Only the first reason counts.
    pub(super) fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.wake_readers();
    }

    /// Makes room while nobody is there to miss it. The exit status is never forgotten.
    fn forget_oldest(&mut self) {
        if !self.readers.is_empty() {
            return;
        }
        while self.cost > CAPACITY {
            match self.entries.pop_front() {
                Some(Entry::Output(output)) => {
                    self.first += 1;
                    self.cost -= output.cost;
                    self.lost[index(output.stream)] += output.bytes.len() as u64;
                }
                Some(exited @ Entry::Exited(_)) => {
                    // It changes places with the output that was written after it.
                    let Some(Entry::Output(output)) = self.entries.pop_front() else { return };
                    self.first += 1;
                    self.cost -= output.cost;
                    self.lost[index(output.stream)] += output.bytes.len() as u64;
                    self.entries.push_front(exited);
                }
                None => return,
            }
        }
    }

    /// The next event for a reader; it sees each once.
    pub(super) fn next(&mut self, key: u64, context: &Context<'_>) -> Next {
        let Some(reader) = self.readers.get_mut(&key) else { return Next::End(End::Closed) };
        let at = usize::try_from(reader.next - self.first).unwrap_or(usize::MAX);
        let Some(entry) = self.entries.get_mut(at) else {
            if let Some(end) = &self.end {
                self.fetched = true;
                return Next::End(end.clone());
            }
            if !reader.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                reader.waker = Some(context.waker().clone());
            }
            return Next::Nothing;
        };
        reader.next += 1;
        let event = match entry {
            Entry::Output(Output { stream, bytes, .. }) => match stream {
                OutputStream::Stdout => ProcessEvent::Stdout(bytes.close()),
                OutputStream::Stderr => ProcessEvent::Stderr(bytes.close()),
            },
            Entry::Exited(status) => {
                self.fetched = true;
                ProcessEvent::Exited(*status)
            }
        };
        self.release();
        Next::Event(event)
    }

    /// Lets go of what all readers have seen.
    fn release(&mut self) {
        let Some(seen) = self.readers.values().map(|reader| reader.next).min() else { return };
        while self.first < seen {
            let Some(entry) = self.entries.pop_front() else { return };
            self.first += 1;
            if let Entry::Output(output) = entry {
                self.cost -= output.cost;
                if let Chunk::Closed(bytes) = output.bytes
                    && output.cost >= BUFFER
                    && self.spent.len() < SPENT
                {
                    self.spent.push_back(bytes);
                }
            }
        }
    }

    /// True once after the writer has begun to wait and there is room.
    pub(super) fn may_wake_writer(&mut self) -> bool {
        // Not for every chunk: the writer does more at once when it sleeps a little longer.
        let wake = self.waiting && (self.readers.is_empty() || self.cost <= CAPACITY / 2);
        self.waiting &= !wake;
        wake
    }

    fn wake_readers(&mut self) {
        for reader in self.readers.values_mut() {
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Self::Open(bytes) => bytes.len(),
            Self::Closed(bytes) => bytes.len(),
        }
    }

    fn close(&mut self) -> Bytes {
        let bytes = match self {
            Self::Open(bytes) => mem::take(bytes).freeze(),
            Self::Closed(bytes) => return bytes.clone(),
        };
        *self = Self::Closed(bytes.clone());
        bytes
    }
}

fn index(stream: OutputStream) -> usize {
    match stream {
        OutputStream::Stdout => 0,
        OutputStream::Stderr => 1,
    }
}
