//! `cargo xtask init`, looked at from the repository that adopts the library: what is added there compiles, works in every folder, is met
//! politely by what was there, and comes along when the library does. Whether the images build is the business of the end-to-end tests.

mod foreign;
mod polite;
mod stranger;
mod templates;
mod upgrade;
