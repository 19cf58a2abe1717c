//! What will be built, and why. No I/O: everything it needs is handed in, so that a plan can be printed, tested and executed alike.

pub mod affected;
pub mod cache;
pub mod explain;
pub mod fingerprint;
pub mod part;
pub mod services;
pub mod spec;
