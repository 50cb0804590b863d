//! What becomes of code that nobody waits for any more.

use std::time::Instant;

use super::context::Live;
use super::interpreter::Interpreter;
use super::run::{GRACE, REPEAT};
use super::wire::{Event, Nonce};
use crate::ending;

/// Stops the run `nonce` and leaves its interpreter to the next one, or kills it. On a thread of its own, because a runtime
/// may end before the code does; it takes as long as the grace at most.
pub(super) fn cancel(mut live: Live, nonce: Nonce) {
    live.interpreter.interrupt();
    // Without a thread the closure is dropped here, and the interpreter, which is busy, is killed by that.
    ending::spawn(move || {
        if stopped(&mut live.interpreter, nonce) {
            live.interpreter.output.drain();
            live.give_back();
        }
    });
}

/// Whether the code came to its end in time. What it writes is forgotten.
fn stopped(interpreter: &mut Interpreter, nonce: Nonce) -> bool {
    let begun = Instant::now();
    let (end, mut next) = (begun + GRACE, begun + REPEAT);
    loop {
        // The code may run on because nobody reads what it writes.
        interpreter.output.drain();
        match interpreter.responses_now() {
            Ok(0) if !interpreter.is_alive() => return false,
            Ok(_) => {}
            Err(_) => return false,
        }
        loop {
            match interpreter.decoder.next() {
                Ok(None) => break,
                Ok(Some(frame)) if frame.nonce == nonce && matches!(frame.event, Event::Done { .. }) => {
                    return true;
                }
                Ok(Some(_)) => {}
                Err(_) => return false,
            }
        }
        let now = Instant::now();
        if now >= end {
            return false;
        }
        if now >= next {
            interpreter.interrupt();
            next = now + REPEAT;
        }
        interpreter.wait_blocking(next.min(end).saturating_duration_since(now));
    }
}
