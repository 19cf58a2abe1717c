//! `pnpm-lock.yaml`, `lockfileVersion: '9.0'` as pnpm 9 to 12 write it and `'6.0'` as pnpm 8 does: scanned by lines and kept as one text
//! with byte ranges, so that a cut copies bytes and never writes YAML. What the scanner does not know it refuses, and the caller keeps the
//! whole file. Where each package has a lock of its own (`sharedWorkspaceLockfile: false`), all of them are one value: each keeps the part
//! of the text that is its own, and references lead to entries of the same file. `scan` holds the line rules, `read` what entries mean,
//! `cut` the cutting. No I/O here.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use ring::digest;

mod cut;
mod documents;
mod parallel;
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
    /// True where no pnpm can install from it either: it was cut off, or merged by hand.
    pub broken: bool,
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
    /// A key that `snapshots` lacks, as a lock that was cut off or merged by hand leaves them behind. pnpm refuses an install that needs it.
    Missing(Missing),
}

/// A key that a lock names and has no entry for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// The folder of the lock.
    pub dir: String,
    /// The line that names it, from 1.
    pub line: usize,
    /// The key.
    pub key: String,
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
    /// How far the names of its dependencies are indented.
    indent: u8,
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

/// How a lock is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `6.0`: `packages` says what a package needs, too; its keys begin with a slash where a registry has them; a lone importer has no
    /// section of its own.
    Six,
    /// `9.0`.
    Nine,
}

/// A lock's file.
#[derive(Debug)]
struct File {
    /// The folder it lies in, relative to the workspace root.
    dir: String,
    /// True where it is one package's and not all packages'.
    is_own: bool,
    format: Format,
    /// Its part of the text.
    whole: Span,
    ends: Ends,
    /// The lock itself; what stands before and behind it is kept as it is.
    main: Span,
    sections: Vec<Section>,
    times: Vec<Entry>,
    /// Which importers, packages and snapshots are its own.
    importers: Range<usize>,
    packages: Range<usize>,
    snapshots: Range<usize>,
}

/// A scanned lock.
#[derive(Debug)]
pub struct Lock {
    /// With line feeds, however its lines end on disk.
    text: String,
    files: Vec<File>,
    /// Of the one file that all packages share; empty where each has its own, in which these are kept as they are.
    catalogs: Vec<Catalog>,
    overrides: Vec<Entry>,
    patches: Vec<Patch>,
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
    /// A field of the one importer, where that stands at the top.
    Inline,
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
        let whole = 0..plain.len();
        let lock = Scanner::new(&plain, false).scan(vec![(".".to_owned(), whole, ends)]).map_err(|(_, refusal)| refusal)?;
        let text = match plain {
            Cow::Borrowed(plain) if plain.len() == text.len() => text,
            plain => plain.into_owned(),
        };
        Ok(Self { text, ..lock })
    }

    /// Scans the locks of packages that have one each, by their folders.
    ///
    /// # Errors
    /// As [`Lock::scan`], with the folder of the file.
    pub fn scan_each(files: Vec<(String, String)>) -> Result<Self, (String, Refusal)> {
        let mut all = String::new();
        let mut parts = Vec::new();
        for (dir, text) in files {
            match Ends::take(&text) {
                Ok((plain, ends)) => {
                    let start = all.len();
                    all.push_str(&plain);
                    parts.push((dir, start..all.len(), ends));
                    // One file's last line is not the next one's first.
                    all.push('\n');
                }
                Err(refusal) => return Err((dir, refusal)),
            }
        }
        let lock = Scanner::new(&all, true).scan(parts)?;
        Ok(Self { text: all, ..lock })
    }

    /// True where each package has a lock of its own.
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.files.first().is_none_or(|file| file.is_own)
    }

    /// True where it is of format 9.0.
    #[must_use]
    pub fn is_nine(&self) -> bool {
        self.files.iter().any(|file| file.format == Format::Nine)
    }

    /// True where a hook of the workspace's (`.pnpmfile.cjs`) has a say in what manifests want.
    #[must_use]
    pub fn has_hooks(&self) -> bool {
        self.files.iter().any(|file| {
            let kept = file.sections.iter().filter(|section| section.name == Name::Kept);
            kept.map(|section| &self.text[section.lines.clone()]).any(|text| text.contains("npmfile"))
        })
    }

    /// The folders in which its files lie.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.dir.as_str())
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

    /// Marks the snapshots in `open` and all that they lead to in `seen`, which has a place for each. Returns those newly marked that lead to
    /// something else too: a folder, a tarball, a link, an entry that is not there.
    pub fn reach(&self, mut open: Vec<u32>, seen: &mut [bool]) -> Vec<u32> {
        let mut lead_out = Vec::new();
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut seen[at as usize], true) {
                continue;
            }
            let mut leads_out = self.local(at).is_some();
            for (_, target) in &self.snapshots[at as usize].targets {
                match target {
                    Target::Snapshot(next) => open.push(*next),
                    Target::Link(_) | Target::Outside(_) | Target::Missing(_) => leads_out = true,
                }
            }
            if leads_out {
                lead_out.push(at);
            }
        }
        lead_out
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

    /// A snapshot's key, with the folder of its lock where there are several, and the first 16 hexadecimal digits of the SHA-256 over its
    /// lines and its package's lines. Made once and shared.
    #[must_use]
    pub fn snapshot_entry(&self, snapshot: u32) -> Named {
        let entries = self.entries.get_or_init(|| {
            let name = |snapshot: &Snapshot| -> Arc<str> {
                let key = &self.text[snapshot.key.clone()];
                match self.files.iter().find(|file| file.is_own && file.whole.contains(&snapshot.key.start)) {
                    Some(file) => format!("{key} of {}", file.dir).into(),
                    None => key.into(),
                }
            };
            parallel::map(&self.snapshots, |snapshot| (name(snapshot), self.hash(snapshot)))
        });
        entries[snapshot as usize].clone()
    }

    /// `importer <folder>`, and the first 16 hexadecimal digits of the SHA-256 of [`Lock::cut_importer`]. Made once and shared.
    #[must_use]
    pub fn importer_entry(&self, importer: u32, keep: Option<KeepFields>) -> Named {
        const ALL: [Option<KeepFields>; 3] = [None, Some(KeepFields::Production), Some(KeepFields::All)];
        let entries = self.importer_entries.get_or_init(|| {
            let entry = |at: &u32| {
                let name: Arc<str> = ["importer ", self.importer_dir(*at)].concat().into();
                ALL.map(|keep| (Arc::clone(&name), short_hash(&[&self.cut_importer(*at, keep)])))
            };
            let all: Vec<u32> = self.importers.iter().zip(0..).map(|(_, at)| at).collect();
            parallel::map(&all, entry)
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
