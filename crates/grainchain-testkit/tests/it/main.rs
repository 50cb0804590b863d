//! The suite itself under test.

mod faults;
