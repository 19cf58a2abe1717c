//! Which records of the engine's build cache go. BuildKit chooses them itself by the bounds it is given; here is foretold what that comes to.

use super::{Action, Known, Removal, Tier};
use monoship_core::collect::Collect as _;
use monoship_core::sorted::Order as _;
use monoship_core::text;
use monoship_docker::store::Record;

/// Decides. `place` names the engine.
#[must_use]
pub fn decide(place: &str, records: &[Record], known: &Known<'_>) -> Vec<Removal> {
    let mut free: Vec<&Record> = records.iter().filter(|record| !record.in_use).into_vec();
    free.order_by_key(|record| record.used.or(record.created));
    let removal = |name: String, why: String, bytes: u64, action: Action| Removal {
        tier: Tier::Engine,
        place: place.to_owned(),
        name,
        why,
        bytes,
        action,
    };
    let mut removals = Vec::new();
    let (old, young): (Vec<&Record>, Vec<&Record>) =
        free.into_iter().partition(|record| known.too_old(record.used.or(record.created)).is_some());
    if let (Some(age), false) = (known.policy.max_age, old.is_empty()) {
        let action = Action::BuildCache { unused_seconds: Some(age.0.as_secs()), max_bytes: None };
        let why = format!("not used for more than {}", text::age(age.0));
        removals.push(removal(text::counted(old.len(), "record"), why, freed(&old), action));
    }
    let left: u64 = records.iter().map(|record| record.bytes).sum::<u64>() - old.iter().map(|record| record.bytes).sum::<u64>();
    if let Some(most) = known.policy.max_size.map(|size| size.0).filter(|most| left > *most) {
        let mut over = left - most;
        let chosen: Vec<&Record> = young
            .into_iter()
            .take_while(|record| {
                let wanted = over > 0;
                over = over.saturating_sub(record.bytes);
                wanted
            })
            .into_vec();
        let action = Action::BuildCache { unused_seconds: None, max_bytes: Some(most) };
        let why = format!("{} are more than {}", text::bytes(left), text::bytes(most));
        removals.push(removal(format!("about {}", text::counted(chosen.len(), "record")), why, freed(&chosen), action));
    }
    removals
}

fn freed(records: &[&Record]) -> u64 {
    records.iter().filter(|record| !record.shared).map(|record| record.bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Upkeep;
    use crate::config::upkeep::{Age, Size};
    use std::time::Duration;
    use std::time::SystemTime;

    #[test]
    fn the_oldest_records_that_no_build_uses_go_until_both_bounds_are_kept() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(1_000);
        let record = |hours: u64, in_use: bool| Record {
            kind: "regular".into(),
            bytes: 10,
            in_use,
            shared: false,
            created: None,
            used: Some(now - Duration::from_hours(hours)),
        };
        let records = [record(100, false), record(50, true), record(3, false), record(2, false), record(1, false)];
        let decided = |policy: Upkeep| {
            let known = Known {
                now,
                policy: &policy,
                services: ["api".to_owned()].into(),
                gha_prefix: "monorepo-".to_owned(),
                pulls: None,
                branches: None,
                former_branches: monoship_core::sorted::SortedSet::new(),
                release_tags: crate::templates::TagTemplates::none(),
                tag_rules: crate::tags::Tags::default(),
                owner: "github.com/o/r".to_owned(),
                named: Some(monoship_core::sorted::SortedSet::new()),
            };
            decide("the engine", &records, &known).into_iter().map(|removal| (removal.name, removal.bytes)).collect::<Vec<_>>()
        };
        assert!(decided(Upkeep::default()).is_empty());
        let age = Some(Age(Duration::from_hours(24)));
        assert_eq!(decided(Upkeep { max_age: age, ..Upkeep::default() }), [("1 record".to_owned(), 10)]);
        let both = Upkeep { max_age: age, max_size: Some(Size(25)), ..Upkeep::default() };
        assert_eq!(decided(both), [("1 record".to_owned(), 10), ("about 2 records".to_owned(), 20)]);
    }
}
