//! The other side of a link, written a second time from the description of its greeting.

use grainchain_guest::link::{Token, VERSION};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// What both sides know.
pub const TOKEN: &[u8] = b"sixteen bytes ok";

pub fn token() -> Token {
    Token::new(TOKEN).expect("long enough")
}

pub fn prove(parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(TOKEN).expect("a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// Magic, version and a nonce.
pub fn hello() -> Vec<u8> {
    [&b"grnchain"[..], &VERSION.to_le_bytes(), &[5; 32]].concat()
}

/// An input taken apart.
pub struct Input<'a> {
    pub greeted: bool,
    pub resumes: bool,
    pub piece: usize,
    /// The proofs are honest, and what is asked for or granted behind them comes from the input.
    pub dictates: bool,
    pub bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(input: &'a [u8]) -> Option<Self> {
        let (first, bytes) = input.split_first()?;
        let piece = 1 << ((first >> 2) & 15);
        let set = |bit| first & bit == bit;
        Some(Self { greeted: set(1), resumes: set(2), piece, dictates: set(64), bytes })
    }
}

/// Writes `bytes` in pieces, reading what comes back meanwhile, and hangs up.
pub async fn talk(pipe: DuplexStream, bytes: &[u8], piece: usize) {
    let (mut reading, mut writing) = tokio::io::split(pipe);
    let listen = async { while reading.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {} };
    let speak = async {
        for piece in bytes.chunks(piece) {
            if writing.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        writing.shutdown().await.ok();
    };
    tokio::join!(listen, speak);
}
