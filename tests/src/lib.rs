//! Conformance and umbrella tests of Grainchain; nothing to use.
