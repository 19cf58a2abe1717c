//! What of the caches is to go, and why: decided from what the tiers hold. Nothing that stays may need what goes. No I/O.

pub mod actions;
pub mod clear;
pub mod engine;
pub mod registry;

use std::time::SystemTime;

use serde::Serialize;

use crate::config::Upkeep;
use crate::config::upkeep::Leftover;
use crate::tags::Tags;
use crate::templates::TagTemplates;
use monoship_core::name::{Digest, ImageRef, Tag};
use monoship_core::sorted::SortedSet;
use monoship_core::text;

pub use crate::config::upkeep::Tier;

/// What is known of the repository's services, branches and pull requests, and what was asked for.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// The present.
    pub now: SystemTime,
    /// What was asked for.
    pub policy: &'a Upkeep,
    /// Names and targets of the services that the working tree or the default branch has, the base's target included.
    pub services: SortedSet<String>,
    /// How the scopes of this workspace begin at GitHub's cache service.
    pub gha_prefix: String,
    /// Open pull requests; `None` where GitHub cannot be asked, and then none counts as closed.
    pub pulls: Option<SortedSet<u64>>,
    /// Branches; `None` where GitHub cannot be asked, and then none counts as gone.
    pub branches: Option<SortedSet<String>>,
    /// Branches that closed pull requests came from, as image tags: a tag of that name was a branch's and not somebody's own.
    pub former_branches: SortedSet<Tag>,
    /// The templates of release tags.
    pub release_tags: TagTemplates,
    /// The rules for release tags beside the templates.
    pub tag_rules: Tags,
    /// This repository as its mark names it: nothing without that mark goes. Empty where it has no name.
    pub owner: String,
    /// Manifests that the notes of releases name: they stay. `None` where GitHub cannot be asked, and then every image may be named.
    pub named: Option<SortedSet<Digest>>,
}

impl Known<'_> {
    fn drops(&self, leftover: Leftover) -> bool {
        self.policy.leftovers.contains(&leftover)
    }

    fn is_service(&self, name: &str) -> bool {
        self.services.contains(name)
    }

    /// Why something that was used last at `time` is too old; `None` where it is not, or nobody knows.
    fn too_old(&self, time: Option<SystemTime>) -> Option<String> {
        let age = self.now.duration_since(time?).ok()?;
        let most = self.policy.max_age?.0;
        (age > most).then(|| format!("not used for {}, more than {}", text::age(age), text::age(most)))
    }
}

/// Something that goes, with all that only it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Removal {
    /// Where it is.
    pub tier: Tier,
    /// The repository, the git ref, or the engine.
    pub place: String,
    /// Its tags, scope or kind.
    pub name: String,
    /// Why it goes.
    pub why: String,
    /// What it frees, once the registry has collected its garbage.
    pub bytes: u64,
    /// What has to be done.
    #[serde(flatten)]
    pub action: Action,
}

/// How something is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Delete this entry of the Actions cache.
    CacheEntry(u64),
    /// Delete these manifests, in this order: what points before what is pointed to.
    Manifests {
        /// Their repository.
        repository: ImageRef,
        /// Digests.
        digests: Vec<Digest>,
    },
    /// Let the engine prune by these bounds.
    BuildCache {
        /// Records that were not used for so many seconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        unused_seconds: Option<u64>,
        /// What may be left, in bytes.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_bytes: Option<u64>,
    },
}

/// Everything that goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PrunePlan {
    /// In the order of tiers.
    pub removals: Vec<Removal>,
}

impl PrunePlan {
    /// What they free together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.removals.iter().fold(0, |sum, removal| sum.saturating_add(removal.bytes))
    }
}

/// The target that a cache scope belongs to: the scope less `-<os>-<arch>` for each platform at its end.
#[must_use]
pub fn target_of<'s>(scope: &'s str, targets: &SortedSet<String>) -> &'s str {
    let mut rest = scope;
    while !targets.contains(rest)
        && let Some(shorter) = without_platform(rest)
    {
        rest = shorter;
    }
    rest
}

/// `api` of `api-linux-arm64` and of `api-linux-arm-v7`.
fn without_platform(scope: &str) -> Option<&str> {
    ["-linux-", "-windows-", "-darwin-", "-freebsd-"]
        .iter()
        .filter_map(|os| scope.rfind(os))
        .max()
        .map(|at| &scope[..at])
        .filter(|rest| !rest.is_empty())
}
