#![doc = include_str!("../README.md")]

#[macro_use]
mod check;

mod bare;
mod case;
mod cases;
mod context;
pub mod faulty;
mod poll;
mod run;
pub mod scripted;
mod setup;
mod suite;

pub use bare::Bare;
pub use case::{Case, Tag, Tool};
pub use cases::{case, cases};
pub use check::{Failure, Outcome, fails};
pub use context::Context;
pub use poll::until;
pub use run::{Standing, Verdict, run_case, standing};
pub use setup::Setup;
pub use suite::{run, trials};
