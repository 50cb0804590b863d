//! The umbrella crate as its users meet it.
