//! The client, its sandboxes and its layers, over a provider that does as badly as it can.

mod deadlines;
mod fake;
mod limits;
mod scope;
mod transfer;
