//! What the tiers hold, summed up by scope: a row each for a gha scope, a cache tag, a service's images, a kind of the engine's records.

use std::time::SystemTime;

use serde::Serialize;

use super::Held;
use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedMap;
use monoship_plan::upkeep::registry::{Holds, Repository};
use monoship_plan::upkeep::{Known, Tier, actions, target_of};
use monoship_report::record::history::PastRun;

/// One scope of a tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Scope {
    /// The tier.
    pub tier: Tier,
    /// The scope, the cache's or the repository's name, or the kind of record.
    pub scope: String,
    /// The git ref that wrote it, in the gha tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_ref: Option<String>,
    /// How many things it holds.
    pub count: usize,
    /// What each is: `export`, `layer`, `image`, `record`, or `key` where it is not BuildKit's.
    pub what: &'static str,
    /// What it holds; what several scopes share is counted in each.
    pub bytes: u64,
    /// When it was last written.
    #[serde(with = "monoship_core::time::rfc3339_option", skip_serializing_if = "Option::is_none")]
    pub written: Option<SystemTime>,
    /// When it was last read: in the registry, by a run of the history.
    #[serde(with = "monoship_core::time::rfc3339_option", skip_serializing_if = "Option::is_none")]
    pub used: Option<SystemTime>,
    /// The services whose builds read it; none where no service does.
    pub users: Vec<String>,
}

/// Sums up what is held. `hits` is when each cache reference was last read, as far as the history knows.
#[must_use]
pub fn overview(held: &Held, known: &Known<'_>, base: &str, hits: &SortedMap<&str, SystemTime>) -> Vec<Scope> {
    let users = |target: &str| -> Vec<String> {
        match target {
            _ if target == base => known.services.iter().filter(|name| *name != base).cloned().into_vec(),
            _ if known.services.contains(target) => vec![target.to_owned()],
            _ => Vec::new(),
        }
    };
    let mut scopes = held.gha.as_ref().map(|entries| of_actions(entries, known, &users)).unwrap_or_default();
    for repository in held.registry.as_deref().unwrap_or_default() {
        match &repository.holds {
            Holds::Images(service) => scopes.push(of_images(repository, users(service))),
            Holds::Caches { .. } => scopes.extend(of_caches(repository, known, hits, &users)),
        }
    }
    if let Ok((_, records)) = &held.engine {
        let mut kinds: SortedMap<&str, Scope> = SortedMap::new();
        for record in records {
            let scope = kinds.entry(&record.kind).or_insert_with(|| empty(Tier::Engine, &record.kind, "record"));
            scope.add(record.bytes, record.created, record.used);
        }
        scopes.extend(kinds.into_values());
    }
    scopes
}

/// When each cache reference was last read without an error by a run that the history knows, by BuildKit's name for it.
#[must_use]
pub fn last_hits(history: &[PastRun]) -> SortedMap<&str, SystemTime> {
    let mut hits = SortedMap::new();
    for run in history {
        for (name, ..) in run.tasks.iter().flat_map(|task| &task.imports).filter(|(.., worked)| *worked) {
            let last = hits.entry(name.as_str()).or_insert(run.started);
            *last = run.started.max(*last);
        }
    }
    hits
}

fn empty(tier: Tier, scope: &str, what: &'static str) -> Scope {
    let scope = scope.to_owned();
    Scope { tier, scope, git_ref: None, count: 0, what, bytes: 0, written: None, used: None, users: Vec::new() }
}

impl Scope {
    fn add(&mut self, bytes: u64, written: Option<SystemTime>, used: Option<SystemTime>) {
        self.count += 1;
        self.bytes += bytes;
        self.written = self.written.max(written);
        self.used = self.used.max(used);
    }
}

fn of_actions(entries: &[actions::Entry], known: &Known<'_>, users: &dyn Fn(&str) -> Vec<String>) -> Vec<Scope> {
    let mut scopes: SortedMap<(String, &str), Scope> = SortedMap::new();
    for entry in entries {
        let (name, what) = match &entry.holds {
            actions::Holds::Index { scope, .. } => (scope.clone(), "export"),
            actions::Holds::Layer => ("layers of all scopes".to_owned(), "layer"),
            actions::Holds::Other => ("not BuildKit's".to_owned(), "key"),
        };
        let scope = scopes.entry((name.clone(), &entry.git_ref)).or_insert_with(|| Scope {
            git_ref: Some(entry.git_ref.clone()),
            users: entry.target(known).map(users).unwrap_or_default(),
            ..empty(Tier::Gha, &name, what)
        });
        scope.add(entry.bytes, Some(entry.created), Some(entry.used));
    }
    scopes.into_values().into_vec()
}

fn of_images(repository: &Repository, users: Vec<String>) -> Scope {
    let mut scope = Scope { users, ..empty(Tier::Registry, &repository.image.to_string(), "image") };
    let tagged = repository.nodes.values().filter(|node| !node.tags.is_empty());
    tagged.for_each(|node| scope.add(0, node.time, None));
    scope.bytes = repository.bytes(repository.nodes.keys());
    scope
}

fn of_caches(
    repository: &Repository,
    known: &Known<'_>,
    hits: &SortedMap<&str, SystemTime>,
    users: &dyn Fn(&str) -> Vec<String>,
) -> Vec<Scope> {
    let tagged = repository.nodes.iter().flat_map(|(digest, node)| node.tags.iter().map(move |tag| (digest, node, tag)));
    let scope = tagged.map(|(digest, node, tag)| {
        let name = format!("{}:{tag}", repository.image);
        Scope {
            count: node.blobs.len().saturating_sub(1),
            bytes: repository.bytes(std::iter::once(digest)),
            written: node.time,
            used: hits.get(name.as_str()).copied(),
            users: users(target_of(tag.as_str(), &known.services)),
            ..empty(Tier::Registry, &name, "layer")
        }
    });
    scope.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use monoship_core::time;
    use monoship_docker::reach::Node;

    /// A run of the `n`th hour that read the cache of `api`.
    fn run(n: u64) -> PastRun {
        let started = time::rfc3339::text(SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(n));
        serde_json::from_value(serde_json::json!({
            "v": 1, "id": "20260101-000000-1", "started": started, "took": 1, "command": "build", "outcome": "succeeded",
            "tasks": [{ "task": { "service": "api" }, "status": "built", "imports": [["ghcr.io/acme/cache:api", 210, true]] }],
        }))
        .unwrap()
    }

    #[test]
    fn a_cache_is_as_young_as_the_last_run_that_read_it() {
        let past = [run(0), run(4), run(8)];
        let hits = last_hits(&past);
        assert_eq!(hits["ghcr.io/acme/cache:api"], run(8).started);
        let node = |tag: &str| Node { tags: vec![tag.parse().unwrap()], time: Some(run(1).started), ..Node::default() };
        let nodes = ["api", "other"].map(|tag| (monoship_core::name::Digest::of(tag.as_bytes()), node(tag)));
        let caches = Repository {
            image: "ghcr.io/acme/cache".parse().unwrap(),
            holds: Holds::Caches { ours: monoship_core::sorted::SortedSet::new() },
            nodes: nodes.into(),
            lists_untagged: false,
            unfinished: monoship_core::sorted::SortedSet::new(),
        };
        let mut held =
            Held { gha: Err(String::new()), registry: Ok(vec![caches]), engine: Err(String::new()), packages: SortedMap::new() };
        held.count_hits(&hits);
        let times: SortedMap<String, Option<SystemTime>> =
            held.registry.unwrap()[0].nodes.values().map(|node| (node.tags[0].to_string(), node.time)).collect();
        assert_eq!((times["api"], times["other"]), (Some(run(8).started), Some(run(1).started)));
    }
}
