//! GitHub: the Actions environment, releases, caches, packages.

pub mod notes;
