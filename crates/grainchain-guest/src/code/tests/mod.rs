//! The drivers, each run by the real interpreter.
