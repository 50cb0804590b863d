//! Tests of the snapshot store through its public operations, on real directories.

mod lifecycle;
mod roundtrip;
mod support;
mod unchanged;
