//! Both halves in one process.
