//! The grainchain command: sandboxes from a terminal
