//! Which entries of the Actions cache go. GitHub itself drops what was not used for seven days, and the oldest past its quota; what it
//! cannot know is which refs and services are gone, and which index a newer one has replaced.

use std::time::{Duration, SystemTime};

use super::{Action, Known, Removal, Tier, target_of};
use crate::config::upkeep::Leftover;
use monoship_core::collect::Collect as _;

/// How long a job can run on GitHub's runners. An export asks for each of its layers before it writes its index, so that a layer that
/// was last asked for longer than this before every index was written is in none of them.
const LONGEST_JOB: Duration = Duration::from_hours(6);

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// An export of a scope.
    Index {
        /// `monorepo-api`.
        scope: String,
        /// A newer export of the same scope and ref is there.
        replaced: bool,
    },
    /// A layer.
    Layer,
    /// Not BuildKit's.
    Other,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// GitHub's number.
    pub id: u64,
    /// The git ref that wrote it.
    pub git_ref: String,
    /// Its key.
    pub key: String,
    /// What it is.
    pub holds: Holds,
    /// Its size.
    pub bytes: u64,
    /// When it was written.
    pub created: SystemTime,
    /// When it was last restored.
    pub used: SystemTime,
}

impl Entry {
    /// The target whose scope it is, where it is one of ours.
    #[must_use]
    pub fn target<'e>(&'e self, known: &Known<'_>) -> Option<&'e str> {
        match &self.holds {
            Holds::Index { scope, .. } => scope.strip_prefix(&known.gha_prefix).map(|scope| target_of(scope, &known.services)),
            _ => None,
        }
    }
}

/// Decides. Entries that are not BuildKit's are left alone.
#[must_use]
pub fn decide(entries: &[Entry], known: &Known<'_>) -> Vec<Removal> {
    let mut reasons: Vec<Option<String>> = entries.iter().map(|entry| of_entry(entry, known)).into_vec();
    let indexes = entries.iter().zip(&reasons);
    let oldest = indexes.filter(|(e, why)| why.is_none() && matches!(e.holds, Holds::Index { .. })).map(|(e, _)| e.created).min();
    for (entry, why) in entries.iter().zip(&mut reasons) {
        if entry.holds == Holds::Layer && why.is_none() && is_in_no_index(entry, oldest, known.now) {
            *why = known.too_old(Some(entry.used));
        }
    }
    let removal = |(entry, why): (&Entry, Option<String>)| {
        Some(Removal {
            tier: Tier::Gha,
            place: entry.git_ref.clone(),
            name: entry.key.clone(),
            why: why?,
            bytes: entry.bytes,
            action: Action::CacheEntry(entry.id),
        })
    };
    entries.iter().zip(reasons).filter_map(removal).into_vec()
}

/// True where no index that stays can list the layer, whichever ref it is on: refs read the default branch's layers too.
fn is_in_no_index(layer: &Entry, oldest: Option<SystemTime>, now: SystemTime) -> bool {
    layer.used + LONGEST_JOB < oldest.unwrap_or(now)
}

fn of_entry(entry: &Entry, known: &Known<'_>) -> Option<String> {
    if entry.holds == Holds::Other {
        return None;
    }
    if let Some(why) = gone(&entry.git_ref, known) {
        return Some(why);
    }
    let Holds::Index { replaced, .. } = &entry.holds else { return None };
    if *replaced && known.drops(Leftover::OldIndexes) {
        return Some("a newer export replaced it".to_owned());
    }
    match entry.target(known) {
        Some(target) if !known.is_service(target) && known.drops(Leftover::GoneServices) => {
            Some(format!("there is no service {target} any more"))
        }
        _ => known.too_old(Some(entry.used)),
    }
}

/// Why nobody can restore what this ref wrote.
fn gone(git_ref: &str, known: &Known<'_>) -> Option<String> {
    let pull = git_ref.strip_prefix("refs/pull/").and_then(|rest| rest.split('/').next()?.parse::<u64>().ok());
    if let (Some(number), Some(open)) = (pull, &known.pulls) {
        let closed = !open.contains(&number) && known.drops(Leftover::ClosedPulls);
        return closed.then(|| format!("pull request {number} is closed"));
    }
    let branch = git_ref.strip_prefix("refs/heads/")?;
    let gone = !known.branches.as_ref()?.contains(branch) && known.drops(Leftover::GoneBranches);
    gone.then(|| format!("branch {branch} is gone"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Upkeep;
    use crate::config::upkeep::Age;

    const HOUR: Duration = Duration::from_hours(1);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + 100_000 * HOUR
    }

    fn known(policy: &Upkeep) -> Known<'_> {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect();
        Known {
            now: now(),
            policy,
            services: names(&["api", "base"]),
            gha_prefix: "monorepo-".to_owned(),
            pulls: Some([7].into()),
            branches: Some(names(&["main"])),
            former_branches: monoship_core::sorted::SortedSet::new(),
            release_tags: crate::templates::TagTemplates::none(),
            tag_rules: crate::tags::Tags::default(),
            owner: "github.com/o/r".to_owned(),
            named: Some(monoship_core::sorted::SortedSet::new()),
        }
    }

    /// An entry that was written and used so many hours ago.
    fn entry(id: u64, git_ref: &str, holds: Holds, hours: u32) -> Entry {
        let time = now() - hours * HOUR;
        Entry { id, git_ref: git_ref.to_owned(), key: format!("key {id}"), holds, bytes: id, created: time, used: time }
    }

    fn index(scope: &str, replaced: bool) -> Holds {
        Holds::Index { scope: scope.to_owned(), replaced }
    }

    fn gone(entries: &[Entry], policy: &Upkeep) -> Vec<(u64, String)> {
        let number = |removal: Removal| match removal.action {
            Action::CacheEntry(id) => (id, removal.why),
            other => panic!("{other:?}"),
        };
        decide(entries, &known(policy)).into_iter().map(number).collect()
    }

    #[test]
    fn scopes_of_another_workspace_are_no_leftovers_of_this_one() {
        let main = "refs/heads/main";
        let entries =
            [entry(1, main, index("monorepo.backend.api", false), 1), entry(2, main, index("monorepo.web.old", false), 1)];
        assert_eq!(gone(&entries, &Upkeep::default()), []);
        let policy = Upkeep::default();
        let of_web = Known { gha_prefix: "monorepo.web.".to_owned(), ..known(&policy) };
        let removed = decide(&entries, &of_web);
        assert_eq!(removed.iter().map(|one| one.why.as_str()).collect::<Vec<_>>(), ["there is no service old any more"]);
    }

    #[test]
    fn what_a_closed_pull_request_a_gone_branch_a_gone_service_or_an_older_export_left_goes() {
        let main = "refs/heads/main";
        let entries = [
            entry(1, main, index("monorepo-api", false), 1),
            entry(2, main, index("monorepo-api", true), 2),
            entry(3, main, index("monorepo-old-linux-arm64", false), 1),
            entry(4, main, index("somebody-elses", false), 1),
            entry(5, "refs/pull/7/merge", Holds::Layer, 1),
            entry(6, "refs/pull/8/merge", Holds::Layer, 1),
            entry(7, "refs/pull/8/merge", Holds::Other, 1),
            entry(8, "refs/heads/gone", index("monorepo-api", false), 1),
            entry(9, "refs/tags/v1", index("monorepo-base-linux-amd64-linux-arm64", false), 1),
            entry(10, main, Holds::Layer, 5_000),
        ];
        let why =
            ["a newer export replaced it", "there is no service old any more", "pull request 8 is closed", "branch gone is gone"];
        let expected: Vec<(u64, String)> = [2, 3, 6, 8].into_iter().zip(why.map(str::to_owned)).collect();
        assert_eq!(gone(&entries, &Upkeep::default()), expected);
        assert!(gone(&entries, &Upkeep { leftovers: Vec::new(), ..Upkeep::default() }).is_empty());
        let policy = Upkeep::default();
        let blind = Known { pulls: None, branches: None, ..known(&policy) };
        assert_eq!(decide(&entries, &blind).len(), 2);
    }

    #[test]
    fn an_old_layer_stays_while_an_index_may_list_it() {
        let policy = Upkeep { max_age: Some(Age(48 * HOUR)), leftovers: Vec::new(), ..Upkeep::default() };
        let layers = |index_hours: u32| {
            let all = [
                entry(1, "refs/heads/main", index("monorepo-api", false), index_hours),
                entry(2, "refs/heads/main", Holds::Layer, 100),
                entry(3, "refs/heads/main", Holds::Layer, 10),
            ];
            gone(&all, &policy).into_iter().map(|(id, _)| id).collect::<Vec<_>>()
        };
        assert_eq!(layers(20), [2]);
        // An export may have asked for it hours before it wrote its index.
        assert_eq!(layers(97), [1, 2], "the index is as old as that itself");
        let young = Entry { used: now(), ..entry(1, "refs/heads/main", index("monorepo-api", false), 97) };
        assert!(gone(&[young, entry(2, "refs/heads/main", Holds::Layer, 100)], &policy).is_empty());
    }
}
