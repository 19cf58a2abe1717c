//! GitHub: the Actions environment, releases, caches, packages.
