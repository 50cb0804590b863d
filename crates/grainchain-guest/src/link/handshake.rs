//! How both sides make sure of each other before the first frame.
//!
//! ```text
//! client                                                  server
//!   hello    magic, version, nonce, session, received  →
//!          ←  magic, version, nonce, proof                hello
//!   proof                                              →
//!          ←  session, received, channels, words          welcome, or a refusal
//! ```
//!
//! A proof is an HMAC-SHA256 over everything said so far, under a token that both know and that never travels. So neither side can be
//! impersonated by whoever merely holds the pipe, and nothing recorded can be used again.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use grainchain_core::{Effect, Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::frame::legible;
use super::pipe::Pipe;

/// What the protocol is called on the wire.
const MAGIC: [u8; 8] = *b"grnchain";
/// The version spoken here. There is no negotiation: both halves come from one build.
pub const VERSION: u32 = 1;
/// The longest words of a welcome or a refusal.
const MAX_WORDS: usize = 64 * 1024;

const CLIENT_HELLO: usize = 8 + 4 + 32 + 16 + 8;
const SERVER_HELLO: usize = 8 + 4 + 32 + 32;
const ANSWER: usize = 1 + 16 + 8 + 4 + 4;

/// What both sides must know to talk to each other: at least sixteen bytes that nobody can guess.
#[derive(Clone)]
pub struct Token(Bytes);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token([redacted])")
    }
}

impl Token {
    /// The token in `bytes`.
    ///
    /// # Errors
    ///
    /// `Config` when they are fewer than sixteen.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self> {
        let bytes = bytes.into();
        if bytes.len() < 16 {
            return Err(Error::config("a token of a link has at least 16 bytes"));
        }
        Ok(Self(bytes))
    }

    /// HMAC-SHA256 (RFC 2104) of `parts` under this token.
    fn prove(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut key = [0; 64];
        if self.0.len() > key.len() {
            key[..32].copy_from_slice(&Sha256::digest(&self.0));
        } else {
            key[..self.0.len()].copy_from_slice(&self.0);
        }
        let mut inner = Sha256::new_with_prefix(key.map(|byte| byte ^ 0x36));
        for part in parts {
            inner.update(part);
        }
        let outer = Sha256::new_with_prefix(key.map(|byte| byte ^ 0x5c));
        outer.chain_update(inner.finalize()).finalize().into()
    }

    /// Whether `proof` is that of `parts`, in a time that does not depend on how much of it is right.
    fn confirms(&self, proof: &[u8], parts: &[&[u8]]) -> bool {
        let wanted = self.prove(parts);
        proof.len() == wanted.len() && proof.iter().zip(wanted).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
    }
}

/// A session's name, as random as a key: whoever knows it and the token may resume it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub(crate) [u8; 16]);

impl SessionId {
    /// Stands for a session that is to be made.
    pub(crate) const NEW: Self = Self([0; 16]);

    pub(crate) fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        random(&mut bytes)?;
        Ok(Self(bytes))
    }
}

/// What the client wants, once it is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) session: SessionId,
    /// How many counted frames of this session it has received.
    pub(crate) received: u64,
}

/// What the server grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) session: SessionId,
    /// How many counted frames of this session it has received.
    pub(crate) received: u64,
    /// How many channels the client may have open at a time.
    pub(crate) channels: usize,
    pub(crate) words: Bytes,
}

/// The client's half.
///
/// # Errors
///
/// `Auth` when the other side does not know the token or does not believe us, `Unsupported` when it speaks another version,
/// `NotFound` when it does not know the session, `Connection` when the pipe breaks.
pub(crate) async fn greet(pipe: &mut dyn Pipe, token: &Token, wish: Wish) -> Result<Grant> {
    let mut hello = BytesMut::with_capacity(CLIENT_HELLO);
    let mut nonce = [0; 32];
    random(&mut nonce)?;
    hello.put_slice(&MAGIC);
    hello.put_u32_le(VERSION);
    hello.put_slice(&nonce);
    hello.put_slice(&wish.session.0);
    hello.put_u64_le(wish.received);
    send(pipe, &hello).await?;

    let mut theirs = [0; SERVER_HELLO];
    receive(pipe, &mut theirs).await?;
    let (said, proof) = theirs.split_at(SERVER_HELLO - 32);
    check_version(said, "helper")?;
    if !token.confirms(proof, &[b"server", &hello, said]) {
        return Err(Error::new(ErrorKind::Auth, "the other side of the link does not know the token")
            .hint("something in the sandbox may pretend to be its helper; close the sandbox")
            .effect(Effect::None));
    }
    send(pipe, &token.prove(&[b"client", &hello, &theirs])).await?;

    let mut answer = [0; ANSWER];
    receive(pipe, &mut answer).await?;
    let mut answer = &answer[..];
    let granted = answer.get_u8() == 1;
    let mut session = [0; 16];
    answer.copy_to_slice(&mut session);
    let (received, channels) = (answer.get_u64_le(), answer.get_u32_le() as usize);
    let length = answer.get_u32_le() as usize;
    if length > MAX_WORDS {
        return Err(Error::new(ErrorKind::Connection, "the welcome of the link is too long"));
    }
    let mut words = vec![0; length];
    receive(pipe, &mut words).await?;
    if !granted {
        return Err(Error::not_found(legible(&words)).effect(Effect::Possible));
    }
    Ok(Grant { session: SessionId(session), received, channels, words: words.into() })
}

/// The server's half, up to the point where the client is believed. `settle` decides what it gets.
///
/// # Errors
///
/// As those of [`greet`].
pub(crate) async fn welcome(
    pipe: &mut dyn Pipe,
    token: &Token,
    settle: impl FnOnce(Wish) -> Result<Grant, String>,
) -> Result<Grant> {
    let mut theirs = [0; CLIENT_HELLO];
    receive(pipe, &mut theirs).await?;
    // Answered also to another version, so that its error can name both.
    let mut hello = BytesMut::with_capacity(SERVER_HELLO);
    let mut nonce = [0; 32];
    random(&mut nonce)?;
    hello.put_slice(&MAGIC);
    hello.put_u32_le(VERSION);
    hello.put_slice(&nonce);
    let proof = token.prove(&[b"server", &theirs, &hello]);
    hello.put_slice(&proof);
    send(pipe, &hello).await?;
    check_version(&theirs, "client")?;

    let mut proof = [0; 32];
    receive(pipe, &mut proof).await?;
    if !token.confirms(&proof, &[b"client", &theirs, &hello]) {
        return Err(Error::new(ErrorKind::Auth, "the client does not know the token").effect(Effect::None));
    }
    let mut wish = &theirs[44..];
    let mut session = [0; 16];
    wish.copy_to_slice(&mut session);
    let settled = settle(Wish { session: SessionId(session), received: wish.get_u64_le() });
    let mut answer = BytesMut::new();
    let (granted, session, received, channels, words) = match &settled {
        Ok(grant) => (1, grant.session.0, grant.received, grant.channels, &grant.words[..]),
        Err(reason) => (0, [0; 16], 0, 0, reason.as_bytes()),
    };
    answer.put_u8(granted);
    answer.put_slice(&session);
    answer.put_u64_le(received);
    answer.put_u32_le(u32::try_from(channels).unwrap_or(u32::MAX));
    answer.put_u32_le(u32::try_from(words.len()).unwrap_or(u32::MAX));
    answer.put_slice(words);
    send(pipe, &answer).await?;
    settled.map_err(|reason| Error::not_found(reason).effect(Effect::None))
}

fn check_version(hello: &[u8], who: &str) -> Result<()> {
    let (magic, mut rest) = hello.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(
            Error::new(ErrorKind::Connection, format!("this is no {who} of Grainchain")).effect(Effect::None)
        );
    }
    let version = rest.get_u32_le();
    if version != VERSION {
        let message =
            format!("the {who} speaks version {version} of the link, and this program version {VERSION}");
        return Err(Error::new(ErrorKind::Unsupported, message)
            .hint("use the same version of Grainchain for both, or make the sandbox anew")
            .effect(Effect::None));
    }
    Ok(())
}

async fn send(pipe: &mut dyn Pipe, bytes: &[u8]) -> Result<()> {
    let failed = |error| Error::io("greet the other side of the link", error).effect(Effect::None);
    pipe.write_all(bytes).await.map_err(failed)?;
    pipe.flush().await.map_err(failed)
}

async fn receive(pipe: &mut dyn Pipe, bytes: &mut [u8]) -> Result<()> {
    match pipe.read_exact(bytes).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let message = "the other side of the link went away during the greeting";
            Err(Error::new(ErrorKind::Connection, message).caused_by(error).effect(Effect::None))
        }
    }
}

fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes)
        .map_err(|error| Error::unexpected("the system gives no random bytes").caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_are_those_of_rfc_4231() {
        let token = Token(Bytes::from_static(&[0x0b; 20]));
        let proof = token.prove(&[b"Hi ", b"There"]);
        assert_eq!(proof[..8], [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53]);
        let token = Token(Bytes::from_static(&[0xaa; 131]));
        let proof = token.prove(&[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(proof[..8], [0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f]);
        assert!(token.confirms(&proof, &[b"Test Using Larger Than Block-Size Key - Hash Key First"]));
        assert!(!token.confirms(&proof[..31], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]));
        assert!(!token.confirms(&proof, &[b"else"]));
    }

    #[test]
    fn a_short_token_is_refused_and_none_is_printed() {
        assert_eq!(Token::new(vec![1; 15]).unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(format!("{:?}", Token::new(b"sixteen bytes ok".to_vec()).unwrap()), "Token([redacted])");
    }
}
