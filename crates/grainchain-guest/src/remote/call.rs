//! One request's channel, from the client's side.

use bytes::Bytes;
use futures_util::StreamExt;
use grainchain_core::{Content, Effect, Error, Result};
use serde::de::DeserializeOwned;

use crate::link::{Channel, Link, Receiver, Sender};
use crate::message::{Documents, Gathered, Mark, Request, WireError, encode, malformed, parse};

/// The largest output of an error that is taken.
const PARTIAL: usize = 128 << 20;

/// One request under way. Dropping it cancels the request.
#[derive(Debug)]
pub(super) struct Call {
    sender: Option<Sender>,
    receiver: Receiver,
    documents: Documents,
    /// Data that came before the answer.
    gathered: Gathered,
}

/// What the helper says.
#[derive(Debug)]
pub(super) enum Reply {
    Event(Bytes),
    Data(Bytes),
    Stdout(Bytes),
    Stderr(Bytes),
    /// The result; nothing follows.
    Answer(Bytes),
}

impl Call {
    pub(super) async fn begin(link: &Link, request: &Request) -> Result<Self> {
        let mut document = Bytes::from(encode(request)?);
        let short = document.len() <= Sender::MAX;
        let Channel { mut sender, receiver } =
            link.open(if short { document.clone() } else { Bytes::new() })?;
        if !short {
            while document.len() > Sender::MAX {
                sender.send(Mark::Part as u8, document.split_to(Sender::MAX)).await?;
            }
            sender.send(Mark::Request as u8, document).await?;
        }
        Ok(Self {
            sender: Some(sender),
            receiver,
            documents: Documents::default(),
            gathered: Gathered::default(),
        })
    }

    /// Nothing more will be said.
    pub(super) fn finish(mut self) -> Self {
        if let Some(sender) = self.sender.take() {
            sender.finish();
        }
        self
    }

    /// Takes the sending half.
    pub(super) fn take_sender(&mut self) -> Result<Sender> {
        self.sender.take().ok_or_else(|| Error::unexpected("a request that has been said is spoken to again"))
    }

    /// The halves, for whoever carries bytes both ways.
    pub(super) fn into_halves(mut self) -> Result<(Sender, Receiver)> {
        Ok((self.take_sender()?, self.receiver))
    }

    /// What the helper says next.
    ///
    /// # Errors
    ///
    /// What it refuses with, and `Connection` when the link is lost.
    pub(super) async fn next(&mut self) -> Result<Reply> {
        loop {
            let frame = self.receiver.next().await?.ok_or_else(|| malformed("no answer"))?;
            let Some((mark, bytes)) = self.documents.take(frame)? else { continue };
            return match mark {
                Mark::Event => Ok(Reply::Event(bytes)),
                Mark::Data => Ok(Reply::Data(bytes)),
                Mark::Stdout => Ok(Reply::Stdout(bytes)),
                Mark::Stderr => Ok(Reply::Stderr(bytes)),
                Mark::Answer => Ok(Reply::Answer(bytes)),
                Mark::Refusal => {
                    let error: WireError = parse(&bytes)?;
                    Err(error.into_error(std::mem::take(&mut self.gathered).finish()))
                }
                Mark::Part | Mark::Request | Mark::End => Err(malformed("what only a client says")),
            };
        }
    }

    /// The next event, where an event has to come.
    pub(super) async fn event<T: DeserializeOwned>(&mut self) -> Result<T> {
        match self.next().await? {
            Reply::Event(document) => parse(&document),
            _ => Err(malformed("something else than an event")),
        }
    }

    /// The answer, where nothing else may come.
    pub(super) async fn answer<T: DeserializeOwned>(mut self) -> Result<T> {
        match self.next().await? {
            Reply::Answer(document) => parse(&document),
            _ => Err(malformed("something else than an answer")),
        }
    }

    /// The answer and the data before it, at most `limit` bytes.
    pub(super) async fn answer_with_data<T: DeserializeOwned>(&mut self, limit: usize) -> Result<(T, Bytes)> {
        loop {
            match self.next().await? {
                Reply::Data(bytes) => self.gathered.push(bytes, limit.min(PARTIAL.max(limit)))?,
                Reply::Answer(document) => {
                    return Ok((parse(&document)?, std::mem::take(&mut self.gathered).finish()));
                }
                _ => return Err(malformed("something else than an output")),
            }
        }
    }

    /// Says `content` while the answer is awaited, then the answer.
    pub(super) async fn answer_to<T: DeserializeOwned>(mut self, content: Content) -> Result<T> {
        let sender = self.take_sender()?;
        feeding(feed(sender, content), self.answer()).await
    }
}

/// Waits for `answer` while `feed` goes on. An input that fails is the error; one that is not wanted any more is none.
pub(super) async fn feeding<T>(
    feed: impl Future<Output = Result<()>>,
    answer: impl Future<Output = Result<T>>,
) -> Result<T> {
    let (mut feed, mut answer) = (std::pin::pin!(feed), std::pin::pin!(answer));
    tokio::select! {
        biased;
        fed = &mut feed => {
            fed?;
            answer.await
        }
        answer = &mut answer => answer,
    }
}

/// Sends all of `content`, then the end.
///
/// # Errors
///
/// Those of the content. That nobody wants it any more is for the answer to explain.
pub(super) async fn feed(mut sender: Sender, content: Content) -> Result<()> {
    let mut chunks = content.into_stream();
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => {
                if sender.send_all(Mark::Data as u8, chunk).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) => {
                sender.reset(error.message());
                return Err(error.effect(Effect::Possible));
            }
        }
    }
    sender.finish();
    Ok(())
}
