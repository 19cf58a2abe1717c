//! GitHub: the Actions environment, releases, caches, packages.

pub mod actions;
pub mod api;
pub mod caches;
pub mod notes;
pub mod packages;
pub mod releases;
pub mod token;
pub mod trigger;
pub mod workflow;
