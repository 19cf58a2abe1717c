//! What a team adds to the library: each of `examples/`, compiled and run on the real engine.

#[path = "../support/mod.rs"]
mod support;

mod harness;

mod declared;
mod looks;
mod matrix;
mod smoke;
