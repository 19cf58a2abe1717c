//! `pnpm-lock.yaml`, `lockfileVersion: '9.0'` as pnpm 9 to 12 write it: scanned by lines and kept as one text with byte ranges, so
//! that a cut copies bytes and never writes YAML. What the scanner does not know it refuses, and the caller keeps the
//! whole file. `scan` holds the line rules, `read` what entries mean, `cut` the cutting. No I/O here.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use ring::digest;

mod cut;
mod documents;
mod read;
mod scan;

pub use cut::{Cut, KeepFields};
use documents::Ends;
pub use documents::conflict;
use read::Scanner;
use scan::Entry;

/// A range of bytes of the lock's text.
pub type Span = Range<usize>;

/// Why a lock was refused, and in which line (counted from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The line, from 1.
    pub line: usize,
    /// A lowercase fragment.
    pub reason: String,
}

/// A dependency field of an importer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `dependencies`.
    Production,
    /// `optionalDependencies`.
    Optional,
    /// `devDependencies`.
    Development,
    /// Anything else, which is no dependency: `dependenciesMeta`, `publishDirectory`, `linkDirectory` (pnpm 11 and later).
    Other,
}

/// Where a reference leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An entry of `snapshots`, by index.
    Snapshot(u32),
    /// A folder, relative to the workspace root, that is linked to.
    Link(String),
    /// A folder outside the workspace root, as written.
    Outside(String),
    /// A key that `snapshots` lacks, as merges by hand leave them behind. pnpm refuses an install that needs it.
    Missing(String),
}

/// A dependency of an importer.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// The name it is imported by.
    pub alias: String,
    /// The specifier, overrides applied.
    pub specifier: String,
    /// Where it leads.
    pub target: Target,
}

/// A part of an importer: its lines, and the dependencies they list.
#[derive(Debug, Clone)]
struct Part {
    field: Field,
    lines: Span,
    dependencies: Vec<Dependency>,
}

/// An importer: a package of the workspace, by its folder.
#[derive(Debug, Clone)]
struct Importer {
    dir: String,
    key: Span,
    lines: Span,
    parts: Vec<Part>,
}

/// An entry of `snapshots` with the entry of `packages` it belongs to.
#[derive(Debug, Clone)]
struct Snapshot {
    key: Span,
    lines: Span,
    package: u32,
    targets: Vec<(Span, Target)>,
}

/// A catalog's lines, key line first.
#[derive(Debug, Clone)]
struct Catalog {
    name: String,
    head: Span,
    entries: Vec<Entry>,
}

/// Where the content of a `file:` package lies, relative to the workspace root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// A folder that is copied into the store.
    Folder(String),
    /// A tarball.
    Tarball(String),
}

#[derive(Debug, Clone)]
struct PackageEntry {
    key: Span,
    lines: Span,
    local: Option<Local>,
}

/// A name and the hash of what it names, shared by all who have it.
pub type Named = (Arc<str>, Arc<str>);

/// A scanned lock.
#[derive(Debug)]
pub struct Lock {
    /// With line feeds, however its lines end on disk.
    text: String,
    ends: Ends,
    /// The lock itself; what stands before and behind it is kept as it is.
    main: Span,
    sections: Vec<Section>,
    catalogs: Vec<Catalog>,
    overrides: Vec<Entry>,
    patches: Vec<Patch>,
    times: Vec<Entry>,
    importers: Vec<Importer>,
    by_dir: HashMap<String, u32>,
    packages: Vec<PackageEntry>,
    snapshots: Vec<Snapshot>,
    /// For each snapshot.
    entries: OnceLock<Vec<Named>>,
    /// For each importer: stripped, for production and whole.
    importer_entries: OnceLock<Vec<[Named; 3]>>,
}

/// A patch: the package selector it is for, and the hash that marks the snapshots it was put on.
#[derive(Debug, Clone)]
struct Patch {
    selector: Span,
    hash: Span,
    lines: Span,
}

/// A top-level key with its lines.
#[derive(Debug, Clone)]
struct Section {
    name: Name,
    lines: Span,
    /// The lines below the key; empty where the value stands beside it.
    body: Span,
    /// The same lines, by number.
    below: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Catalogs,
    Overrides,
    Patches,
    Time,
    Importers,
    Packages,
    Snapshots,
    /// Copied as it is: `lockfileVersion`, `settings`, checksums, `ignoredOptionalDependencies`.
    Kept,
}

impl Lock {
    /// Scans a lock's text.
    ///
    /// # Errors
    /// A [`Refusal`] for another lock version, an unknown key, or a spelling that pnpm does not write.
    pub fn scan(text: String) -> Result<Self, Refusal> {
        let (plain, ends) = Ends::take(&text)?;
        let lock = Scanner::new(&plain).scan()?;
        let text = match plain {
            Cow::Owned(plain) => plain,
            Cow::Borrowed(_) => text,
        };
        Ok(Self { text, ends, ..lock })
    }

    /// The importer of a package's folder (`.` for the root), where the lock has one.
    #[must_use]
    pub fn importer(&self, dir: &str) -> Option<u32> {
        self.by_dir.get(dir).copied()
    }

    /// How many importers there are; indices run below it.
    #[must_use]
    pub fn importer_count(&self) -> usize {
        self.importers.len()
    }

    /// Catalog and name of each catalog entry.
    pub fn catalog_entries(&self) -> impl Iterator<Item = (String, String)> {
        let name = |entry: &Entry| self.text[entry.key.clone()].to_owned();
        self.catalogs.iter().flat_map(move |catalog| catalog.entries.iter().map(move |entry| (catalog.name.clone(), name(entry))))
    }

    /// The folder of an importer.
    #[must_use]
    pub fn importer_dir(&self, importer: u32) -> &str {
        &self.importers[importer as usize].dir
    }

    /// An importer's dependencies with the field each stands in.
    pub fn dependencies(&self, importer: u32) -> impl Iterator<Item = (Field, &Dependency)> {
        self.importers[importer as usize].parts.iter().flat_map(|part| part.dependencies.iter().map(move |d| (part.field, d)))
    }

    /// How many snapshots there are; indices run below it.
    #[must_use]
    pub fn snapshot_count(&self) -> usize {
        self.snapshots.len()
    }

    /// The key of a snapshot: `name@version(peer@version)`.
    #[must_use]
    pub fn snapshot_key(&self, snapshot: u32) -> &str {
        &self.text[self.snapshots[snapshot as usize].key.clone()]
    }

    /// The key of the package a snapshot belongs to: `name@version`.
    #[must_use]
    pub fn package_key(&self, snapshot: u32) -> &str {
        &self.text[self.packages[self.snapshots[snapshot as usize].package as usize].key.clone()]
    }

    /// Where a snapshot leads, with the name it is imported by.
    pub fn targets(&self, snapshot: u32) -> impl Iterator<Item = (&str, &Target)> {
        self.snapshots[snapshot as usize].targets.iter().map(|(alias, target)| (&self.text[alias.clone()], target))
    }

    /// The overrides: selector and value, catalogs and `$` references resolved.
    pub fn overrides(&self) -> impl Iterator<Item = (&str, &str)> {
        self.overrides.iter().map(|entry| (&self.text[entry.key.clone()], &self.text[entry.value.clone()]))
    }

    /// The patched dependencies: selector and hash, which is in the key of each snapshot the patch was put on.
    pub fn patches(&self) -> impl Iterator<Item = (&str, &str)> {
        self.patches.iter().map(|patch| (&self.text[patch.selector.clone()], &self.text[patch.hash.clone()]))
    }

    /// The folder or tarball a snapshot's package is made of, where it is a `file:` one.
    #[must_use]
    pub fn local(&self, snapshot: u32) -> Option<&Local> {
        self.packages[self.snapshots[snapshot as usize].package as usize].local.as_ref()
    }

    /// A snapshot's key, and the first 16 hexadecimal digits of the SHA-256 over its lines and its package's lines. Made once and shared.
    #[must_use]
    pub fn snapshot_entry(&self, snapshot: u32) -> Named {
        let entries = self.entries.get_or_init(|| {
            let entry = |snapshot: &Snapshot| (self.text[snapshot.key.clone()].into(), self.hash(snapshot));
            self.snapshots.par_iter().map(entry).collect()
        });
        entries[snapshot as usize].clone()
    }

    /// `importer <folder>`, and the first 16 hexadecimal digits of the SHA-256 of [`Lock::cut_importer`]. Made once and shared.
    #[must_use]
    pub fn importer_entry(&self, importer: u32, keep: Option<KeepFields>) -> Named {
        const ALL: [Option<KeepFields>; 3] = [None, Some(KeepFields::Production), Some(KeepFields::All)];
        let entries = self.importer_entries.get_or_init(|| {
            let entry = |at| {
                let name: Arc<str> = ["importer ", self.importer_dir(at)].concat().into();
                ALL.map(|keep| (Arc::clone(&name), short_hash(&[&self.cut_importer(at, keep)])))
            };
            (0..u32::try_from(self.importers.len()).unwrap_or(u32::MAX)).into_par_iter().map(entry).collect()
        });
        let which = ALL.iter().position(|known| *known == keep).unwrap_or(0);
        entries[importer as usize][which].clone()
    }

    fn hash(&self, snapshot: &Snapshot) -> Arc<str> {
        let package = &self.packages[snapshot.package as usize];
        short_hash(&[&self.text[snapshot.lines.clone()], "\0", &self.text[package.lines.clone()]])
    }
}

/// The first 16 hexadecimal digits of the SHA-256 over `texts`, one after another.
#[must_use]
pub fn short_hash(texts: &[&str]) -> Arc<str> {
    let mut hasher = digest::Context::new(&digest::SHA256);
    for text in texts {
        hasher.update(text.as_bytes());
    }
    let digest = hasher.finish();
    let start = digest.as_ref().iter().take(8).fold(0, |start, byte| start << 8 | u64::from(*byte));
    format!("{start:016x}").into()
}

#[cfg(test)]
mod tests;
