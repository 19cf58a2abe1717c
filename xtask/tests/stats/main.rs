//! `cargo xtask stats` on histories as they are found (long, damaged, of a newer version, shared through a real registry), and its page in a real browser.

mod history;
mod page;
mod pictures;
mod reach;
mod screen;
