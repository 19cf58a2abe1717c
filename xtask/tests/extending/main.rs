//! What a team adds to the library: each of `examples/`, compiled and run on the real engine.

mod harness;

mod declared;
mod looks;
mod matrix;
mod smoke;
