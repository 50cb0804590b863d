//! Commands that run to their end.

use async_trait::async_trait;
use grainchain_core::facet::Exec;
use grainchain_core::{Command, Output, Result, Stdin};

use super::Remote;
use super::call::{feed, feeding};
use crate::message::{Request, WireCommand, WireOutput};

#[async_trait]
impl Exec for Remote {
    /// The output is bounded where the command runs: what is dropped never travels.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the whole tree, once the other side hears of it.
    async fn execute(&self, command: Command) -> Result<Output> {
        // Head and tail of both streams.
        let limit = command.output_limit.as_usize().saturating_add(1).saturating_mul(2);
        let (command, stdin) = WireCommand::new(command);
        let mut call = self.call(&Request::Execute(Box::new(command))).await?;
        let sender = call.take_sender()?;
        let (output, bytes): (WireOutput, _) = match stdin {
            Stdin::Content(content) => feeding(feed(sender, content), call.answer_with_data(limit)).await?,
            _ => {
                sender.finish();
                call.answer_with_data(limit).await?
            }
        };
        output.into_output(bytes)
    }
}
