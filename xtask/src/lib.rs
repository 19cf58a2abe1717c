//! `cargo xtask`: builds and releases every Docker service of a pnpm monorepo.
//!
//! Data flows one way, and `tests/house.rs` checks it by reading the imports:
//!
//! ```text
//! config → workspace → plan → execute → event → { report, record }
//! ```
//!
//! Stages compose these; commands call stages. `plan` does no I/O, `execute` prints nothing, `report` reads no files.

pub mod cli;
pub mod command;
pub mod config;
pub mod docker;
pub mod engine;
pub mod env;
pub mod error;
pub mod event;
pub mod execute;
pub mod github;
pub mod name;
pub mod pipeline;
pub mod plan;
pub mod record;
pub mod report;
pub mod stage;
pub mod text;
pub mod time;
pub mod workspace;
