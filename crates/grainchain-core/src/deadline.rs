//! How long operations may take. Enforced for every provider; no operation is without one.

use std::time::Duration;

use crate::operation::{Operation, OperationClass};

/// The deadlines of a client's operations, by class of work.
///
/// A command's own `timeout` is another clock: it ends the command. The deadline ends the waiting, even when network, server or
/// provider never answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deadlines {
    /// For looking and changing: 60 s.
    pub control: Duration,
    /// For bringing up, snapshotting and waking machines: 10 minutes.
    pub provision: Duration,
    /// For a transfer to make any progress: 60 s.
    pub idle: Duration,
    /// How much longer than its timeout a command is waited for: 200 ms, within which its tree is killed and its output read.
    pub grace: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            control: Duration::from_secs(60),
            provision: Duration::from_secs(600),
            idle: Duration::from_secs(60),
            grace: Duration::from_millis(200),
        }
    }
}

impl Deadlines {
    /// Sets the deadline for looking and changing.
    #[must_use]
    pub fn control(mut self, deadline: Duration) -> Self {
        self.control = deadline;
        self
    }

    /// Sets the deadline for bringing up machines.
    #[must_use]
    pub fn provision(mut self, deadline: Duration) -> Self {
        self.provision = deadline;
        self
    }

    /// Sets how long a transfer may stand still.
    #[must_use]
    pub fn idle(mut self, deadline: Duration) -> Self {
        self.idle = deadline;
        self
    }

    /// Sets how much longer than its timeout a command is waited for.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The deadline of `operation`; none for what is bounded by a command's timeout or by progress.
    pub fn of(&self, operation: Operation) -> Option<Duration> {
        match operation.class() {
            OperationClass::Query
            | OperationClass::Idempotent
            | OperationClass::Change
            | OperationClass::End => Some(self.control),
            OperationClass::Provision => Some(self.provision),
            OperationClass::Run | OperationClass::Transfer => None,
        }
    }
}
