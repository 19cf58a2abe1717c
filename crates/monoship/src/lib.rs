//! Builds and releases every Docker service of a pnpm monorepo, on a laptop and in CI, with the same code: a library for `cargo xtask`.

pub mod cli;
pub mod command;
pub mod pipeline;
pub mod process;
pub mod stage;
