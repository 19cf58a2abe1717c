//! The Actions caches of a repository by GitHub's REST API (docs.github.com/rest/actions/cache), the keys that BuildKit gives
//! them, and the budget they share. What is to be deleted is decided elsewhere.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer};

use crate::api::Api;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::execute::http::percent_encode;
use monoship_core::name::Digest;
use monoship_core::text;

/// How many uploads a minute GitHub takes from a repository; more get 429.
pub const UPLOADS_PER_MINUTE: usize = 200;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CacheEntry {
    /// GitHub's number for it.
    pub id: u64,
    /// The git ref that wrote it.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// Its key.
    pub key: String,
    /// Its size.
    #[serde(rename = "size_in_bytes")]
    pub bytes: u64,
    /// When it was written.
    #[serde(deserialize_with = "time")]
    pub created_at: SystemTime,
    /// When it was last restored; seven days later it goes.
    #[serde(deserialize_with = "time")]
    pub last_accessed_at: SystemTime,
}

/// What all entries come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct CacheUsage {
    /// Their bytes.
    #[serde(rename = "active_caches_size_in_bytes")]
    pub bytes: u64,
    /// Their number.
    #[serde(rename = "active_caches_count")]
    pub count: u64,
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_rfc3339_weak(&text).map_err(|e| serde::de::Error::custom(format!("`{text}` is not a time: {e}")))
}

/// Which entries to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Keys that begin so.
    pub key: Option<&'a str>,
    /// Entries that this git ref wrote.
    pub git_ref: Option<&'a str>,
}

impl Api {
    /// Every entry that passes the filter, in GitHub's order (last used first).
    ///
    /// # Errors
    /// As [`Api::call`]; reading caches needs the permission `actions: read`.
    pub fn caches(&self, filter: Filter<'_>) -> Result<Vec<CacheEntry>> {
        #[derive(Deserialize)]
        struct Page {
            actions_caches: Vec<CacheEntry>,
        }
        let parameter =
            |name: &str, value: Option<&str>| value.map(|v| format!("&{name}={}", percent_encode(v))).unwrap_or_default();
        let path = format!("actions/caches?per_page=100{}{}", parameter("key", filter.key), parameter("ref", filter.git_ref));
        let mut found = Vec::new();
        self.pages(&path, |page: Page| {
            found.extend(page.actions_caches);
            true
        })?;
        Ok(found)
    }

    /// Deletes an entry. False where it was gone already, which is as good.
    ///
    /// # Errors
    /// As [`Api::call`]; it needs the permission `actions: write`.
    pub fn delete_cache(&self, id: u64) -> Result<bool> {
        let answer = self.call("DELETE", &format!("actions/caches/{id}"), None)?;
        match answer.status() {
            200..=299 => Ok(true),
            404 => Ok(false),
            _ => Err(answer.unexpected("the deletion of a cache")),
        }
    }

    /// What all entries come to. GitHub updates it every few minutes.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub fn cache_usage(&self) -> Result<CacheUsage> {
        self.get("actions/cache/usage")?.ok_or_else(|| Error::failed(format!("GitHub does not know {}", self.repository())))
    }

    /// How much all entries may come to; past it the least recently used go. Without settings it is 10 GB, and whoever pays may have much
    /// more. GitHub tells only those who administrate the repository: `None` where it does not tell us.
    ///
    /// # Errors
    /// As [`Api::call`]; a token without that right is refused (403).
    pub fn cache_limit(&self) -> Result<Option<u64>> {
        #[derive(Deserialize)]
        struct Limit {
            max_cache_size_gb: Option<u64>,
        }
        let limit: Option<Limit> = self.get("actions/cache/storage-limit")?;
        Ok(limit.and_then(|limit| limit.max_cache_size_gb).map(|gigabytes| gigabytes.saturating_mul(1 << 30)))
    }

    /// The numbers of open pull requests; a cache of `refs/pull/N/merge` with another N serves nobody.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub fn open_pull_requests(&self) -> Result<Vec<u64>> {
        #[derive(Deserialize)]
        struct Pull {
            number: u64,
        }
        let mut found = Vec::new();
        self.pages("pulls?state=open&per_page=100", |page: Vec<Pull>| {
            found.extend(page.into_iter().map(|pull| pull.number));
            true
        })?;
        Ok(found)
    }

    /// The branches of this repository that the latest closed pull requests came from, whether they are still there or not: a thousand at
    /// most. A fork's branches are not ours, whatever their names: anybody can open and close a pull request from one.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub fn closed_pull_branches(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Pull {
            head: Head,
        }
        #[derive(Deserialize)]
        struct Head {
            #[serde(rename = "ref")]
            branch: String,
            /// Null where the fork was deleted.
            repo: Option<Source>,
        }
        #[derive(Deserialize)]
        struct Source {
            full_name: String,
        }
        let own = self.repository().to_string();
        let ours = |head: &Head| head.repo.as_ref().is_some_and(|repo| repo.full_name.eq_ignore_ascii_case(&own));
        let (mut found, mut seen) = (Vec::new(), 0);
        self.pages("pulls?state=closed&sort=updated&direction=desc&per_page=100", |page: Vec<Pull>| {
            seen += page.len();
            found.extend(page.into_iter().map(|pull| pull.head).filter(ours).map(|head| head.branch));
            seen < 1_000
        })?;
        Ok(found)
    }

    /// The names of the branches; a cache of `refs/heads/B` with another B serves nobody.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub fn branches(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Branch {
            name: String,
        }
        let mut found = Vec::new();
        self.pages("branches?per_page=100", |page: Vec<Branch>| {
            found.extend(page.into_iter().map(|branch| branch.name));
            true
        })?;
        Ok(found)
    }
}

/// What a key of BuildKit's gha exporter names (`cache/remotecache/gha/gha.go`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheKey {
    /// A layer; shared by every index of its ref that lists it.
    Blob(Digest),
    /// An export of a scope. Every export makes a new generation, and the old ones stay.
    Index {
        /// The scope, as `--cache-to` has it.
        scope: String,
        /// The first eight hexadecimal digits of the SHA-256 of the git ref.
        ref_hash: String,
        /// Grows by one with each export.
        generation: u64,
    },
    /// Not BuildKit's.
    Other,
}

impl CacheKey {
    /// Takes a key apart.
    #[must_use]
    pub fn parse(key: &str) -> Self {
        if let Some(digest) = key.strip_prefix("buildkit-blob-1-").and_then(|digest| digest.parse().ok()) {
            return Self::Blob(digest);
        }
        let index = || {
            let (rest, generation) = key.strip_prefix("index-")?.rsplit_once('#')?;
            let (rest, hash) = rest.strip_suffix("-sig").unwrap_or(rest).rsplit_once('-')?;
            let (scope, version) = rest.rsplit_once('-')?;
            let hex = hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit());
            let generation = generation.parse().ok().filter(|_| hex && version == "1" && !scope.is_empty())?;
            Some(Self::Index { scope: scope.to_owned(), ref_hash: hash.to_owned(), generation })
        };
        index().unwrap_or(Self::Other)
    }
}

/// Index entries that a newer generation of the same scope and ref has replaced.
#[must_use]
pub fn replaced_indexes(entries: &[CacheEntry]) -> Vec<&CacheEntry> {
    let mut newest = monoship_core::sorted::SortedMap::new();
    let keyed: Vec<_> = entries.iter().map(|entry| (entry, CacheKey::parse(&entry.key))).into_vec();
    for (entry, key) in &keyed {
        if let CacheKey::Index { scope, generation, .. } = key {
            let latest: &mut u64 = newest.entry((&entry.git_ref, scope)).or_default();
            *latest = (*latest).max(*generation);
        }
    }
    let replaced = keyed.iter().filter(|(entry, key)| match key {
        CacheKey::Index { scope, generation, .. } => newest.get(&(&entry.git_ref, scope)).is_some_and(|n| generation < n),
        _ => false,
    });
    replaced.map(|(entry, _)| *entry).into_vec()
}

/// What a run is about to write to the gha tier, against what GitHub takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Entries that will be uploaded within a minute or so, by every job of the run: a layer each, and one index for each target and
    /// platform.
    pub uploads: usize,
    /// What is there already, where it could be asked.
    pub used: Option<CacheUsage>,
    /// What may be there, where GitHub tells; what it does not tell is not guessed.
    pub quota_bytes: Option<u64>,
}

/// Why the gha tier should not be written this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverBudget {
    /// More uploads than a minute takes: BuildKit would wait them out, on the critical path of every target.
    Uploads(usize),
    /// There is no room: it would push out entries that others use.
    Full {
        /// What it holds, in bytes.
        used: u64,
        /// What it may hold, in bytes.
        quota: u64,
    },
}

impl Budget {
    /// Nothing, or why the registry tier should be written instead.
    ///
    /// # Errors
    /// Which budget would be passed.
    pub fn check(&self) -> Result<(), OverBudget> {
        if self.uploads > UPLOADS_PER_MINUTE {
            return Err(OverBudget::Uploads(self.uploads));
        }
        match (self.used, self.quota_bytes) {
            (Some(used), Some(quota)) if used.bytes >= quota => Err(OverBudget::Full { used: used.bytes, quota }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uploads(uploads) => {
                write!(f, "about {uploads} uploads are more than the {UPLOADS_PER_MINUTE} a minute that GitHub takes")
            }
            Self::Full { used, quota } => write!(f, "it is full: it holds {} of {}", text::bytes(*used), text::bytes(*quota)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_real_export_come_apart() {
        let blob = "buildkit-blob-1-sha256:69462d26b7a14fc23e906fd2ba8e0cb2711b9950415471a6750649b39ee1f4e4";
        assert!(matches!(CacheKey::parse(blob), CacheKey::Blob(digest) if digest.short() == "69462d26b7a1"));
        let index = |scope: &str, generation| CacheKey::Index { scope: scope.into(), ref_hash: "f921bd05".into(), generation };
        assert_eq!(CacheKey::parse("index-monorepo-api-1-f921bd05#12"), index("monorepo-api", 12));
        assert_eq!(CacheKey::parse("index-a-1-2-1-f921bd05-sig#1"), index("a-1-2", 1));
        for other in [
            "",
            "xtask-Linux-X64-abc",
            "index-api-1-f921bd05",
            "index-api-2-f921bd05#1",
            "index--1-f921bd05#1",
            "index-a-1-f921bd0g#1",
        ] {
            assert_eq!(CacheKey::parse(other), CacheKey::Other, "{other}");
        }
    }

    #[test]
    fn only_older_generations_of_the_same_scope_and_ref_are_replaced() {
        let entry = |id, git_ref: &str, key: &str| CacheEntry {
            id,
            git_ref: git_ref.into(),
            key: key.into(),
            bytes: 1,
            created_at: SystemTime::UNIX_EPOCH,
            last_accessed_at: SystemTime::UNIX_EPOCH,
        };
        let entries = [
            entry(1, "main", "index-a-1-f921bd05#1"),
            entry(2, "main", "index-a-1-f921bd05#10"),
            entry(3, "main", "index-a-1-f921bd05#9"),
            entry(4, "main", "index-b-1-f921bd05#1"),
            entry(5, "dev", "index-a-1-00000000#1"),
            entry(6, "main", "other#1"),
        ];
        assert_eq!(replaced_indexes(&entries).iter().map(|entry| entry.id).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn a_budget_that_would_be_passed_is_named() {
        let holding = |bytes| Some(CacheUsage { bytes, count: 1 });
        let budget = Budget { uploads: 200, used: holding((10 << 30) - 1), quota_bytes: Some(10 << 30) };
        assert_eq!(budget.check(), Ok(()));
        assert_eq!(Budget { uploads: 201, ..budget }.check(), Err(OverBudget::Uploads(201)));
        let over = Budget { used: holding(10 << 30), ..budget }.check().unwrap_err();
        assert_eq!(over.to_string(), "it is full: it holds 10.7 GB of 10.7 GB");
        assert_eq!(Budget { used: holding(12 << 30), quota_bytes: Some(50 << 30), ..budget }.check(), Ok(()));
        assert_eq!(
            Budget { used: holding(12 << 30), quota_bytes: None, ..budget }.check(),
            Ok(()),
            "nobody said how much it may hold"
        );
        assert_eq!(Budget { used: None, ..budget }.check(), Ok(()));
    }
}
