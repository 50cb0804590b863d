//! What a server hears from clients: the greeting, or frames after an honest one.

#![no_main]

mod other;

use std::time::Duration;

use grainchain_guest::link::{Channel, Listener, ListenerConfig};
use libfuzzer_sys::fuzz_target;
use other::Input;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

const NEW: [u8; 16] = [0; 16];

/// Greets as an honest client with this wish (which session, how much received), and returns the session. None when the server refuses.
async fn greet(pipe: &mut DuplexStream, wish: &[u8]) -> Option<[u8; 16]> {
    let hello = [&other::hello()[..], wish].concat();
    pipe.write_all(&hello).await.ok()?;
    let mut theirs = [0; 76];
    pipe.read_exact(&mut theirs).await.ok()?;
    assert_eq!(theirs[44..], other::prove(&[b"server", &hello, &theirs[..44]]));
    pipe.write_all(&other::prove(&[b"client", &hello, &theirs])).await.ok()?;
    let mut answer = [0; 33];
    pipe.read_exact(&mut answer).await.ok()?;
    let length = u32::from_le_bytes(answer[29..].try_into().expect("four bytes"));
    pipe.read_exact(&mut vec![0; length as usize]).await.ok()?;
    (answer[0] == 1).then(|| answer[1..17].try_into().expect("sixteen bytes"))
}

/// Says back what it hears, marks included, until either way ends.
async fn echo(channel: Channel) {
    let Channel { mut sender, mut receiver } = channel;
    while let Ok(Some((mark, bytes))) = receiver.next().await {
        if sender.send(mark, bytes).await.is_err() {
            return;
        }
    }
    sender.finish();
}

async fn run(input: Input<'_>) {
    let (listener, mut requests) = Listener::new(ListenerConfig::new(other::token()).channels(8).sessions(4));
    let connected = listener.connected();
    let serving = tokio::spawn(async move {
        let mut conversations = JoinSet::new();
        while let Some(request) = requests.recv().await {
            conversations.spawn(echo(request.channel));
        }
        while conversations.join_next().await.is_some() {}
    });
    let (first, second) =
        if input.resumes { input.bytes.split_at(input.bytes.len() / 2) } else { (input.bytes, &[][..]) };
    let mut session = NEW;
    for (number, bytes) in [first, second].into_iter().enumerate() {
        if number == 1 && !input.resumes {
            break;
        }
        let (mut ours, theirs) = duplex(1 << 16);
        let driving = listener.clone();
        let driven = tokio::spawn(async move { driving.drive(Box::new(theirs)).await });
        let mut bytes = bytes;
        if input.greeted {
            let received = bytes.split_off_first().copied().unwrap_or(0);
            let honest = [&session[..], &u64::from(received).to_le_bytes()].concat();
            let dictated = if input.dictates { bytes.split_off(..24) } else { None };
            let Some(granted) = greet(&mut ours, dictated.unwrap_or(&honest)).await else { break };
            session = granted;
        }
        other::talk(ours, bytes, input.piece).await;
        driven.await.expect("no panic").err();
    }
    assert_eq!(*connected.borrow(), 0);
    // Nobody comes back: when the grace is over, so is every conversation.
    drop(listener);
    serving.await.expect("no panic");
}

fuzz_target!(|input: &[u8]| {
    let Some(input) = Input::new(input) else { return };
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(3600), run(input)).await.expect("an end");
    });
});
