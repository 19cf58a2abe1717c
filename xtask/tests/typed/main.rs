//! What is typed: `cargo xtask` in any folder, and the tabulator after it in real shells, with cargo's own completion and without.

mod alias;
mod choice;
mod columns;
mod completions;
mod messages;
mod mistakes;
mod schemas;
mod tools;
