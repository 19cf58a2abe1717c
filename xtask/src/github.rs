//! GitHub: the Actions environment, releases, caches, packages.

pub mod api;
pub mod notes;
pub mod releases;
