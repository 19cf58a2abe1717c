//! What goes when caches are cleared: everything that a build could find steps in. Images stay, whatever names them.

use super::actions::{self, Holds};
use super::registry::{self, Repository};
use super::{Action, Known, PrunePlan, Removal, Tier, target_of};
use monoship_core::collect::Collect as _;
use monoship_core::name::Tag;
use monoship_core::sorted::SortedSet;
use monoship_core::text;
use monoship_docker::store::Record;

/// Decides; `targets` are those whose caches go, `None` means all. A named target's steps in the engine cannot be told from the others':
/// they are not used by its next build, and stay.
#[must_use]
pub fn decide(
    entries: &[actions::Entry],
    repositories: &[Repository],
    engine: Option<(&str, &[Record])>,
    known: &Known<'_>,
    targets: Option<&SortedSet<String>>,
) -> PrunePlan {
    let wanted = |target: &str| targets.is_none_or(|targets| targets.contains(target));
    let why = "asked for".to_owned();
    let goes = |entry: &&actions::Entry| match entry.holds {
        Holds::Index { .. } => entry.target(known).is_some_and(wanted),
        Holds::Layer => targets.is_none(),
        Holds::Other => false,
    };
    let mut removals: Vec<Removal> = entries
        .iter()
        .filter(goes)
        .map(|entry| Removal {
            tier: Tier::Gha,
            place: entry.git_ref.clone(),
            name: entry.key.clone(),
            why: why.clone(),
            bytes: entry.bytes,
            action: Action::CacheEntry(entry.id),
        })
        .into_vec();
    let is_cache = |tag: &Tag| {
        let target = target_of(tag.as_str(), &known.services);
        known.services.contains(target) && wanted(target)
    };
    removals.extend(registry::clear(repositories, is_cache, &why, known));
    if let (None, Some((place, records))) = (targets, engine.filter(|(_, records)| !records.is_empty())) {
        removals.push(Removal {
            tier: Tier::Engine,
            place: place.to_owned(),
            name: text::counted(records.len(), "record"),
            why,
            bytes: records.iter().filter(|record| !record.shared).map(|record| record.bytes).sum(),
            action: Action::BuildCache { unused_seconds: None, max_bytes: None },
        });
    }
    PrunePlan { removals }
}
