//! Which services a change between two revisions touches. The inputs of each side are made from that side's own tree, graph, lock and
//! Dockerfile by the same functions, so a package that left a closure counts as much as one that joined it.

use serde::Serialize;

use super::explain::{Reason, explain};
use super::fingerprint::Inputs;
use monoship_core::collect::Collect as _;
use monoship_core::name::ServiceName;
use monoship_core::sorted::SortedMap;

/// What a change means for one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each variant's text says what its fields are")]
pub enum Verdict {
    /// Only the later side has it. A renamed service is a new one and a deleted one.
    New,
    /// Only the earlier side has it: nothing to build.
    Deleted,
    /// What goes into it differs.
    Changed { reasons: Vec<Reason> },
    /// What goes into it is the same.
    Unchanged,
}

/// What a change since another revision touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    /// The full id of the commit that was compared with.
    pub commit: String,
    /// Every service of either side.
    pub verdicts: SortedMap<ServiceName, Verdict>,
}

impl Affected {
    /// Why a service is affected; `None` where it is not.
    #[must_use]
    pub fn reasons(&self, service: &ServiceName) -> Option<Vec<Reason>> {
        match self.verdicts.get(service)? {
            Verdict::New => Some(vec![Reason::New { since: self.commit.clone() }]),
            Verdict::Changed { reasons } => Some(reasons.clone()),
            Verdict::Deleted | Verdict::Unchanged => None,
        }
    }

    /// The services that are the same on both sides.
    pub fn unaffected(&self) -> impl Iterator<Item = &ServiceName> {
        self.verdicts.iter().filter(|(_, verdict)| **verdict == Verdict::Unchanged).map(|(name, _)| name)
    }

    /// The services that only the earlier side has.
    pub fn deleted(&self) -> impl Iterator<Item = &ServiceName> {
        self.verdicts.iter().filter(|(_, verdict)| **verdict == Verdict::Deleted).map(|(name, _)| name)
    }
}

/// Compares the services of two revisions. A service whose inputs could not be made at the earlier revision (its Dockerfile had no
/// such target yet, say) is given as absent there, and so is new.
#[must_use]
pub fn affected(
    before: &SortedMap<ServiceName, Inputs>,
    after: &SortedMap<ServiceName, Inputs>,
) -> SortedMap<ServiceName, Verdict> {
    let verdict = |name: &ServiceName| match (before.get(name), after.get(name)) {
        (None, _) => Verdict::New,
        (_, None) => Verdict::Deleted,
        (Some(old), Some(new)) if old.fingerprint() == new.fingerprint() => Verdict::Unchanged,
        (Some(old), Some(new)) => Verdict::Changed { reasons: explain(old, new) },
    };
    before.keys().chain(after.keys()).map(|name| (name.clone(), verdict(name))).into_map()
}
