//! Deadlines for the facets that a provider has beside its sandboxes.

use crate::client::Client;
use crate::error::Result;
use crate::layer::{Around, Attempt, Call, once};

/// Enforces a client's deadlines on every call and completes its errors, as the methods of the client itself do.
#[derive(Clone, Debug)]
pub(super) struct Bounded {
    client: Client,
}

impl Bounded {
    pub(super) fn new(client: &Client) -> Self {
        Self { client: client.clone() }
    }
}

impl Around for Bounded {
    const REPEATS: bool = false;

    async fn around<'a, T: Send + 'a>(&'a self, call: Call<'a>, attempt: Attempt<'a, T>) -> Result<T> {
        self.client.run(call.operation, call.sandbox, once(attempt)).await
    }
}
