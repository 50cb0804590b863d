//! Conformance and umbrella tests of Grainchain; nothing to use but what its benchmarks share.

pub mod inputs;
pub mod report;
