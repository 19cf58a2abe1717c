//! GitHub: the Actions environment, releases, caches, packages.

pub mod actions;
pub mod api;
pub mod notes;
pub mod releases;
pub mod token;
pub mod trigger;
