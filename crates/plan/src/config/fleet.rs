//! `[builders] fleet`: the builders that builds are divided among, as written and as validated.

use std::num::{NonZeroU32, NonZeroUsize};

use serde::Deserialize;

use monoship_core::error::{Error, Result};
use monoship_core::name::Platform;
use monoship_core::sorted::SortedSet;
use monoship_fleet::{BUILDS, Node};

/// A node: `{ builder = "one", platforms = ["linux/amd64"], weight = 2, builds = 2 }`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Written {
    pub builder: String,
    pub platforms: Vec<Platform>,
    pub weight: Option<NonZeroU32>,
    pub builds: Option<NonZeroUsize>,
}

/// The nodes, checked.
///
/// # Errors
/// A builder's name that buildx would not take, one that is there twice, a node without platforms.
pub fn validate(written: Vec<Written>) -> Result<Vec<Node>> {
    let mut seen = SortedSet::new();
    let nodes = written.into_iter().map(|node| {
        let Written { builder, platforms, weight, builds } = node;
        // As buildx has it (`store/util.go`).
        let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !builder.starts_with(|c: char| c.is_ascii_alphanumeric()) || !builder.chars().all(word) {
            return Err(Error::usage(format!("[builders] fleet: `{builder}` is not a builder's name"))
                .hint("it is the name that `docker buildx ls` shows: letters, digits, `.`, `_` and `-`"));
        }
        if platforms.is_empty() {
            return Err(Error::usage(format!("[builders] fleet: `{builder}` has no platforms, so nothing could be built on it"))
                .hint("list those that it builds for: `platforms = [\"linux/amd64\"]`"));
        }
        if !seen.insert(builder.clone()) {
            return Err(Error::usage(format!("[builders] fleet names the builder `{builder}` twice"))
                .hint("give it more work with `weight`, and more at once with `builds`"));
        }
        let node = Node::new(builder, platforms);
        Ok(node.weight(weight.unwrap_or(NonZeroU32::MIN)).builds(builds.unwrap_or(BUILDS)))
    });
    nodes.collect()
}
