//! The conformance suite that every Grainchain provider passes
