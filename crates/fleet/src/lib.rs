//! Which node of a fleet of builders builds what, and what becomes of it when a node is lost. No I/O, no threads, no clock of its own: a run
//! drives it with real nodes and the real time, a simulation with neither.

mod answer;
mod assign;
mod dispatch;
mod loss;
mod rank;

pub use answer::{Answer, Place};
pub use assign::{BOUND, Load, assign, loads};
pub use dispatch::{Dispatch, GivenUp, Move, Turn};
pub use loss::{Loss, last_of, told};
pub use rank::preferred;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use monoship_core::name::Platform;

/// A builder that buildx knows, as a place to build at.
///
/// ```
/// use monoship_fleet::Node;
///
/// let node = Node::new("one", vec!["linux/amd64".parse().unwrap()]).weight(2.try_into().unwrap());
/// assert!(node.has(&["linux/amd64".parse().unwrap()]));
/// assert!(!node.has(&["linux/arm64".parse().unwrap()]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name in buildx.
    pub builder: String,
    /// What it is asked to build for; never empty.
    pub platforms: Vec<Platform>,
    /// How much work it gets, beside the others' weights.
    pub weight: NonZeroU32,
    /// How many builds it takes at once.
    pub builds: NonZeroUsize,
}

/// How many builds a node takes at once unless the configuration says otherwise.
pub const BUILDS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

impl Node {
    /// A node of weight 1 that takes [`BUILDS`] builds at once.
    #[must_use]
    pub fn new(builder: impl Into<String>, platforms: Vec<Platform>) -> Self {
        Self { builder: builder.into(), platforms, weight: NonZeroU32::MIN, builds: BUILDS }
    }

    /// The same with another weight.
    #[must_use]
    pub fn weight(self, weight: NonZeroU32) -> Self {
        Self { weight, ..self }
    }

    /// The same, taking so many builds at once.
    #[must_use]
    pub fn builds(self, builds: NonZeroUsize) -> Self {
        Self { builds, ..self }
    }

    /// True where it builds for all of these; also where none is named.
    #[must_use]
    pub fn has(&self, platforms: &[Platform]) -> bool {
        platforms.iter().all(|platform| self.platforms.contains(platform))
    }
}

/// A build that has to be done somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// What its place follows from: the service's name, whatever is in it.
    pub key: String,
    /// The platforms that one call of the builder makes; empty for the node's own.
    pub platforms: Vec<Platform>,
    /// How long it usually takes; none where nobody knows.
    pub usual: Option<Duration>,
    /// The builder that made it last, whose cache has it.
    pub last: Option<String>,
}
