//! x
mod engine;
mod error;
mod hash;
