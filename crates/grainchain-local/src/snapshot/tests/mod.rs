//! Tests of the snapshot store through its public operations, on real directories.

mod attacks;
mod kill;
mod lifecycle;
mod roundtrip;
mod support;
mod trouble;
mod unchanged;
