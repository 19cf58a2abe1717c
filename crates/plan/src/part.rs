//! A named part of what goes into a build: a package's files, a lock's slice, a few settings. It is hashed once and shared by every
//! service that it goes into, so that 200 services over 1,000 packages cost 1,000 parts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use monoship_core::collect::Collect as _;
use monoship_core::name::sha256_hex;
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_workspace::dockerfile::Slice;
use monoship_workspace::git::File;
use monoship_workspace::sent::Sent;

/// What a part's entries are, which is how a change among them reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Path and `<mode> <blob id>`.
    Files,
    /// A lock's snapshot key (`zod@3.23.1`, peers included) and a hash of what the lock says of it.
    Lock,
    /// Anything else with a name: a workspace setting and its value or its hash.
    Settings,
    /// A service and the fingerprint that its image is of.
    Service,
}

/// A part: sorted entries, and their hash. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Recorded", into = "Recorded")]
pub struct Part {
    content: Arc<Content>,
}

#[derive(Debug, PartialEq, Eq)]
struct Content {
    kind: Kind,
    hash: String,
    /// Sorted by name; names are unique.
    entries: Vec<Entry>,
    /// Where among them folders of unusual permissions are.
    odd_folders: Vec<usize>,
}

/// How a folder with the usual permissions is described.
const USUAL_FOLDER: &str = "040755";

/// A name and its value. What many parts have in common (lock entries) they share.
pub type Entry = (Arc<str>, Arc<str>);

#[derive(Clone, Serialize, Deserialize)]
struct Recorded {
    kind: Kind,
    entries: SortedMap<String, String>,
}

impl From<Recorded> for Part {
    fn from(recorded: Recorded) -> Self {
        Self::new(recorded.kind, recorded.entries)
    }
}

impl From<Part> for Recorded {
    fn from(part: Part) -> Self {
        Self {
            kind: part.kind(),
            entries: part.entries().iter().map(|(name, value)| (name.to_string(), value.to_string())).into_map(),
        }
    }
}

impl Part {
    /// A part of these entries; of two with one name the last counts.
    pub fn new<T: Into<Arc<str>>>(kind: Kind, entries: impl IntoIterator<Item = (T, T)>) -> Self {
        let mut entries: Vec<Entry> = entries.into_iter().map(|(name, value)| (name.into(), value.into())).into_vec();
        if !entries.is_sorted_by(|a, b| a.0 < b.0) {
            entries = entries.into_iter().collect::<BTreeMap<_, _>>().into_iter().into_vec();
        }
        let hash = hash(&entries);
        let is_odd = |(name, value): &Entry| kind == Kind::Files && name.ends_with('/') && **value != *USUAL_FOLDER;
        let odd_folders = (0..entries.len()).filter(|at| is_odd(&entries[*at])).into_vec();
        Self { content: Arc::new(Content { kind, hash, entries, odd_folders }) }
    }

    /// A part of files.
    pub fn files<'f>(files: impl IntoIterator<Item = &'f File>) -> Self {
        let mut value = String::new();
        let entries = files.into_iter().map(|file| -> Entry {
            value.clear();
            value.extend([file.mode.as_str(), " ", file.id.as_str()]);
            (Arc::from(&*file.path), Arc::from(value.as_str()))
        });
        Self::new(Kind::Files, entries)
    }

    /// What the entries are.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.content.kind
    }

    /// 64 hexadecimal digits over the entries.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.content.hash
    }

    /// The entries, sorted by name.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.content.entries
    }

    /// The folders among the files that have other permissions than `755`.
    pub fn odd_folders(&self) -> impl Iterator<Item = &Entry> {
        self.content.odd_folders.iter().map(|at| &self.content.entries[*at])
    }

    /// True where one of the entries has this name.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        self.entries().binary_search_by(|(known, _)| (**known).cmp(name)).is_ok()
    }
}

/// SHA-256 over each name and value, each ended by a zero byte, which neither can hold: a path, a key and a setting are text, and
/// zero bytes in them are dropped before.
fn hash(entries: &[Entry]) -> String {
    let size = entries.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let mut bytes = Vec::with_capacity(size);
    for (name, value) in entries {
        for text in [name, value] {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
    }
    sha256_hex(&bytes)
}

/// The main build context as a builder is sent it, and the parts of it that targets see.
pub struct MainContext<'s> {
    sent: &'s Sent,
    /// Targets mostly see the same paths (`COPY . .`): each distinct set is cut once.
    parts: Mutex<SortedMap<SortedSet<String>, Part>>,
}

impl<'s> MainContext<'s> {
    /// Of what is sent; every pattern of the targets must have been looked for.
    #[must_use]
    pub fn new(sent: &'s Sent) -> Self {
        Self { sent, parts: Mutex::default() }
    }

    /// What the steps of `slice` can see of the context; `None` where no step looks at it.
    pub fn seen_by(&self, slice: &Slice<'_>) -> Option<Part> {
        let patterns = slice.patterns();
        if patterns.is_empty() {
            return None;
        }
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = || {
            let places: BTreeSet<usize> = patterns.iter().flat_map(|pattern| self.sent.seen_by(pattern)).collect();
            let mut value = String::new();
            let entries = places.into_iter().map(|at| -> Entry {
                let entry = &self.sent.entries()[at];
                value.clear();
                entry.describe(&mut value);
                (Arc::from(&*entry.path), Arc::from(value.as_str()))
            });
            Part::new(Kind::Files, entries)
        };
        Some(parts.entry(patterns.clone()).or_insert_with(cut).clone())
    }
}
