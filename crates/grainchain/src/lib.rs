//! One Rust interface to every place where code can run apart from you
