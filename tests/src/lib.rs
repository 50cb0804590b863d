//! Conformance and umbrella tests of Grainchain
