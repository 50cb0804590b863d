//! BuildKit's own account of a build: which steps begin, end and fail, and what they write.
//!
//! The engine sends protobuf (`moby.buildkit.v1.StatusResponse`, read 2026-01); the few fields that count are read here.

use std::collections::HashSet;

/// What a message tells, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A step began: its name.
    Began(String),
    /// A step was there already: its name.
    Cached(String),
    /// A step failed: its name and why.
    Failed(String, String),
    /// A step wrote this.
    Wrote(String),
}

/// Reads messages, and tells of each step once.
#[derive(Debug, Default)]
pub(super) struct Trace {
    told: HashSet<Vec<u8>>,
}

impl Trace {
    /// What `message` tells that was not told before. What cannot be read is passed over: the build itself does not depend on it.
    pub(super) fn read(&mut self, message: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for (field, value) in Fields(message) {
            match (field, value) {
                (1, Value::Bytes(vertex)) => self.vertex(vertex, &mut events),
                (3, Value::Bytes(log)) => {
                    let text = Fields(log).find_map(|field| match field {
                        (4, Value::Bytes(text)) => Some(String::from_utf8_lossy(text).trim_end().to_owned()),
                        _ => None,
                    });
                    events.extend(text.filter(|text| !text.is_empty()).map(Event::Wrote));
                }
                _ => {}
            }
        }
        events
    }

    fn vertex(&mut self, vertex: &[u8], events: &mut Vec<Event>) {
        let (mut digest, mut name, mut error) = (&[][..], String::new(), String::new());
        let (mut cached, mut began) = (false, false);
        for field in Fields(vertex) {
            match field {
                (1, Value::Bytes(bytes)) => digest = bytes,
                (3, Value::Bytes(text)) => name = String::from_utf8_lossy(text).into_owned(),
                (4, Value::Number(number)) => cached = number != 0,
                (5, Value::Bytes(_)) => began = true,
                (7, Value::Bytes(text)) => error = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
        let mut first = |what: u8| self.told.insert([&[what], digest].concat());
        if !error.is_empty() {
            if first(2) {
                events.push(Event::Failed(name, error));
            }
        } else if cached {
            if first(1) {
                events.push(Event::Cached(name));
            }
        } else if began && first(0) {
            events.push(Event::Began(name));
        }
    }
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of one message, up to the first that cannot be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self, count: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => Value::Bytes(self.bytes(8)?),
            2 => {
                let length = self.number()?;
                Value::Bytes(self.bytes(length)?)
            }
            5 => Value::Bytes(self.bytes(4)?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        field.extend(bytes);
        field
    }

    fn vertex(digest: &str, name: &str, more: &[u8]) -> Vec<u8> {
        field(1, &[field(1, digest.as_bytes()), field(3, name.as_bytes()), more.to_vec()].concat())
    }

    #[test]
    fn steps_are_told_once_and_in_their_order() {
        let mut trace = Trace::default();
        let began = vertex("d1", "[1/2] FROM x", &field(5, b"t"));
        let cached = vertex("d2", "[2/2] RUN y", &[4 << 3, 1]);
        let log = field(3, &field(4, b"hello\n"));
        let told = trace.read(&[began.clone(), cached, log].concat());
        assert_eq!(
            told,
            [
                Event::Began("[1/2] FROM x".into()),
                Event::Cached("[2/2] RUN y".into()),
                Event::Wrote("hello".into())
            ]
        );
        assert_eq!(trace.read(&began), []);
        let failed = vertex("d1", "[1/2] FROM x", &[field(5, b"t"), field(7, b"no such image")].concat());
        assert_eq!(trace.read(&failed), [Event::Failed("[1/2] FROM x".into(), "no such image".into())]);
    }

    #[test]
    fn what_cannot_be_read_does_no_harm() {
        let whole = [vertex("d", "n", &field(5, b"t")), field(3, &field(4, b"x"))].concat();
        for length in 0..whole.len() {
            Trace::default().read(&whole[..length]);
        }
        let mut seed = 1_u32;
        for _ in 0..500 {
            let noise: Vec<u8> = (0..64)
                .map(|_| {
                    seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12345);
                    (seed >> 16) as u8
                })
                .collect();
            Trace::default().read(&noise);
        }
    }
}
