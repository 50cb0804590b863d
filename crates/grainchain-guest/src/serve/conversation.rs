//! One request's channel, from the helper's side.

use std::future::Future;

use bytes::Bytes;
use futures_util::stream;
use grainchain_core::{Content, Effect, Error, ErrorKind, Result};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::link::{Channel, Receiver, Sender};
use crate::message::{Documents, Mark, Pieces, Request, WireError, malformed, parse, send_document};

/// One request's channel. Whoever answers, or hands its input away, takes that half out of it.
#[derive(Debug)]
pub(super) struct Conversation {
    sender: Option<Sender>,
    receiver: Option<Receiver>,
    documents: Documents,
}

impl Conversation {
    pub(super) fn new(channel: Channel) -> Self {
        Self {
            sender: Some(channel.sender),
            receiver: Some(channel.receiver),
            documents: Documents::default(),
        }
    }

    /// The request: in the header, or in the first documents.
    pub(super) async fn request(&mut self, header: &[u8]) -> Result<Request> {
        if !header.is_empty() {
            return parse(header);
        }
        let receiver = self.receiver.as_mut().ok_or_else(gone)?;
        loop {
            let frame = receiver.next().await?.ok_or_else(|| malformed("no request"))?;
            match self.documents.take(frame)? {
                None => {}
                Some((Mark::Request, document)) => return parse(&document),
                Some(_) => return Err(malformed("something else before the request")),
            }
        }
    }

    /// Runs `work` to its end, unless the client goes away: then dropping it is its cancellation.
    pub(super) async fn unless_gone<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let sender = self.sender.as_mut().ok_or_else(gone)?;
        tokio::select! {
            biased;
            result = work => result,
            () = sender.stopped() => Err(gone()),
        }
    }

    /// The next data of the client, none when it has finished.
    pub(super) async fn data(&mut self) -> Result<Option<Bytes>> {
        let receiver = self.receiver.as_mut().ok_or_else(gone)?;
        match receiver.next().await? {
            None => Ok(None),
            Some(frame) => match self.documents.take(frame)? {
                Some((Mark::Data, bytes)) => Ok(Some(bytes)),
                _ => Err(malformed("something else than data")),
            },
        }
    }

    /// All that the client will send, as content of this length.
    pub(super) fn content(&mut self, length: Option<u64>) -> Result<Content> {
        let receiver = self.receiver.take().ok_or_else(gone)?;
        let chunks = stream::try_unfold(receiver, |mut receiver| async move {
            match receiver.next().await? {
                Some((mark, bytes)) if mark == Mark::Data as u8 => Ok(Some((bytes, receiver))),
                Some(_) => Err(malformed("something else than data")),
                None => Ok(None),
            }
        });
        Ok(Content::from_stream(chunks, length))
    }

    /// Data up to its end as content, while the channel stays open; and what is ready when the client has let go of it.
    pub(super) fn input(
        &mut self,
        length: Option<u64>,
    ) -> Result<(Content, impl Future<Output = ()> + Send + use<>)> {
        let mut receiver = self.receiver.take().ok_or_else(gone)?;
        // One frame waits while the command takes another: the rest waits in the window, and then at the client.
        let (sender, taken) = mpsc::channel::<Result<Bytes>>(1);
        let chunks =
            stream::unfold(taken, |mut taken| async move { taken.recv().await.map(|chunk| (chunk, taken)) });
        let pump = async move {
            let mut sender = Some(sender);
            loop {
                let frame = receiver.next().await;
                let chunk = match frame {
                    Ok(Some((mark, bytes))) if mark == Mark::Data as u8 => Ok(bytes),
                    Ok(Some((mark, _))) if mark == Mark::End as u8 => {
                        sender = None;
                        continue;
                    }
                    Ok(Some(_)) => Err(malformed("something else than data")),
                    Ok(None) => return,
                    Err(error) => Err(error),
                };
                let last = chunk.is_err();
                if let Some(input) = &sender
                    && input.send(chunk).await.is_err()
                {
                    // Nobody reads it: the rest is thrown away.
                    sender = None;
                }
                if last {
                    return;
                }
            }
        };
        Ok((Content::from_stream(chunks, length), pump))
    }

    /// Ready when the client has let go of its half.
    pub(super) fn let_go(&mut self) -> Result<impl Future<Output = ()> + Send + use<>> {
        let mut receiver = self.receiver.take().ok_or_else(gone)?;
        Ok(async move { while let Ok(Some(_)) = receiver.next().await {} })
    }

    /// The two halves, for whoever carries bytes both ways.
    pub(super) fn take_halves(&mut self) -> Result<(Sender, Receiver)> {
        self.sender.take().zip(self.receiver.take()).ok_or_else(gone)
    }

    pub(super) fn sender(&mut self) -> Result<&mut Sender> {
        self.sender.as_mut().ok_or_else(gone)
    }

    /// Tells what happened.
    pub(super) async fn event(&mut self, event: &(impl Serialize + Sync)) -> Result<()> {
        send_document(self.sender()?, Mark::Event, event).await
    }

    /// Sends bytes of this kind.
    pub(super) async fn bytes(&mut self, mark: Mark, bytes: Bytes) -> Result<()> {
        self.sender()?.send_all(mark as u8, bytes).await
    }

    /// Says the result, and that there is nothing more.
    pub(super) async fn answer(&mut self, answer: &(impl Serialize + Sync)) -> Result<()> {
        self.answer_with(Pieces::default(), answer).await
    }

    /// Says the result after the bytes that it speaks of.
    pub(super) async fn answer_with(
        &mut self,
        pieces: Pieces,
        answer: &(impl Serialize + Sync),
    ) -> Result<()> {
        self.conclude(pieces, Mark::Answer, answer).await
    }

    async fn conclude(
        &mut self,
        pieces: Pieces,
        mark: Mark,
        document: &(impl Serialize + Sync),
    ) -> Result<()> {
        let mut sender = self.sender.take().ok_or_else(gone)?;
        for piece in pieces.0 {
            sender.send_all(Mark::Data as u8, piece).await?;
        }
        send_document(&mut sender, mark, document).await?;
        sender.finish();
        Ok(())
    }

    /// Says why there is no result. Nobody is left to hear when that fails.
    pub(super) async fn refuse(&mut self, error: &Error) {
        if self.sender.is_some() {
            let (error, pieces) = WireError::new(error);
            self.conclude(pieces, Mark::Refusal, &error).await.ok();
        }
    }
}

/// The client does not want an answer any more.
pub(super) fn gone() -> Error {
    Error::new(ErrorKind::Connection, "the client has gone").effect(Effect::Possible)
}
