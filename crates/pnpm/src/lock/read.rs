//! Reading a lock: what each entry means, by the line rules of [`super::scan`]. What is not known is refused.

use std::sync::OnceLock;

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::documents::{self, Ends};
use super::scan::{Entry, Lines, line_number};
use super::{
    Catalog, Dependency, Field, Importer, Local, Lock, Name, PackageEntry, Part, Patch, Refusal, Section, Snapshot, Span, Target,
};
use crate::join;

pub(super) struct Scanner<'a> {
    text: &'a str,
    lines: Lines<'a>,
}

type Scan<T> = Result<T, Refusal>;

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, lines: Lines::new(text) }
    }

    /// The lock, less its text, which this borrows.
    pub(super) fn scan(&self) -> Scan<Lock> {
        let main = documents::main(self.text)?;
        let sections = self.sections(&main)?;
        let (packages, raw) = rayon::join(|| self.packages(&sections), || self.section_entries(&sections, Name::Snapshots));
        let (packages, raw) = (packages?, raw?);
        let keys: FxHashMap<&str, u32> = raw.iter().map(|entry| self.key(entry)).zip(0..).collect();
        let snapshots = self.snapshots(&raw, &keys, &packages)?;
        let importers = self.importers(&sections, &keys)?;
        let catalogs = self.catalogs(&sections)?;
        let overrides = self.section_entries(&sections, Name::Overrides)?;
        let patches = self.patches(&sections)?;
        let times = self.section_entries(&sections, Name::Time)?;
        let by_dir = importers.iter().zip(0..).map(|(importer, index)| (importer.dir.clone(), index)).collect();
        let (text, ends) = (String::new(), Ends::Feed);
        let (entries, importer_entries) = (OnceLock::new(), OnceLock::new());
        Ok(Lock {
            text,
            ends,
            main,
            sections,
            catalogs,
            overrides,
            patches,
            times,
            importers,
            by_dir,
            packages,
            snapshots,
            entries,
            importer_entries,
        })
    }

    fn refuse<T>(&self, at: usize, reason: impl Into<String>) -> Scan<T> {
        Err(Refusal { line: line_number(self.text, at), reason: reason.into() })
    }

    fn key(&self, entry: &Entry) -> &'a str {
        &self.text[entry.key.clone()]
    }

    fn sections(&self, main: &Span) -> Scan<Vec<Section>> {
        let mut sections = Vec::new();
        let mut version = None;
        for entry in self.lines.entries(self.lines.within(main), 0)? {
            let name = match self.key(&entry) {
                "lockfileVersion" => {
                    version = Some(&self.text[entry.value.clone()]);
                    Name::Kept
                }
                "settings"
                | "packageExtensionsChecksum"
                | "pnpmfileChecksum"
                | "untrackedPnpmfileReadPackageHook"
                | "ignoredOptionalDependencies" => Name::Kept,
                "catalogs" => Name::Catalogs,
                "overrides" => Name::Overrides,
                "patchedDependencies" => Name::Patches,
                "time" => Name::Time,
                "importers" => Name::Importers,
                "packages" => Name::Packages,
                "snapshots" => Name::Snapshots,
                other => return self.refuse(entry.lines.start, format!("unknown key `{other}`")),
            };
            if name != Name::Kept && !entry.value.is_empty() && &self.text[entry.value.clone()] != "{}" {
                return self.refuse(entry.lines.start, "a value beside a key that has lines of its own");
            }
            sections.push(Section { name, lines: entry.lines, body: entry.body, below: entry.below });
        }
        match version {
            Some("9.0") => Ok(sections),
            Some(other) => self.refuse(main.start, format!("lockfileVersion `{other}`")),
            None => self.refuse(main.start, "no lockfileVersion"),
        }
    }

    fn section_entries(&self, sections: &[Section], name: Name) -> Scan<Vec<Entry>> {
        let mut found = sections.iter().filter(|section| section.name == name);
        let all = found.next().map_or(Ok(Vec::new()), |section| self.lines.entries(section.below.clone(), 2));
        match found.next() {
            Some(again) => self.refuse(again.lines.start, "a key that stands twice"),
            None => all,
        }
    }

    fn catalogs(&self, sections: &[Section]) -> Scan<Vec<Catalog>> {
        let raw = self.section_entries(sections, Name::Catalogs)?;
        raw.into_iter()
            .map(|catalog| {
                let head = catalog.lines.start..catalog.body.start;
                Ok(Catalog { name: self.key(&catalog).to_owned(), head, entries: self.fields(&catalog)? })
            })
            .collect()
    }

    /// `selector: {hash, path}` in lines, or `selector: hash` as pnpm 11 writes it.
    fn patches(&self, sections: &[Section]) -> Scan<Vec<Patch>> {
        let raw = self.section_entries(sections, Name::Patches)?;
        raw.into_iter()
            .map(|entry| {
                let mut hash = entry.value.clone();
                if hash.is_empty() {
                    let fields = self.lines.entries(entry.below.clone(), 4)?;
                    let Some(field) = fields.into_iter().find(|field| self.key(field) == "hash") else {
                        return self.refuse(entry.lines.start, "a patch without a hash");
                    };
                    hash = field.value;
                }
                Ok(Patch { selector: entry.key, hash, lines: entry.lines })
            })
            .collect()
    }

    fn packages(&self, sections: &[Section]) -> Scan<Vec<PackageEntry>> {
        let raw = self.section_entries(sections, Name::Packages)?;
        raw.into_iter()
            .map(|entry| {
                let local = self.key(&entry).contains("@file:").then(|| self.local(&entry)).transpose()?;
                Ok(PackageEntry { key: entry.key, lines: entry.lines, local })
            })
            .collect()
    }

    /// `resolution: {directory: DIR, type: directory}` or `resolution: {integrity: …, tarball: file:PATH}`.
    fn local(&self, entry: &Entry) -> Scan<Local> {
        let key = self.key(entry);
        let path = &key[key.find("@file:").map_or(0, |at| at + "@file:".len())..];
        let Some(path) = join(".", path) else {
            return self.refuse(entry.lines.start, format!("a file outside the workspace: `{path}`"));
        };
        let is_folder = self.text[entry.lines.clone()].contains("type: directory}");
        Ok(if is_folder { Local::Folder(path) } else { Local::Tarball(path) })
    }

    fn snapshots(&self, raw: &[Entry], keys: &FxHashMap<&str, u32>, packages: &[PackageEntry]) -> Scan<Vec<Snapshot>> {
        let by_key: FxHashMap<&str, u32> = packages.iter().map(|package| &self.text[package.key.clone()]).zip(0..).collect();
        let snapshot = |entry: &Entry| {
            let key = self.key(entry);
            let Some(&package) = by_key.get(without_suffix(key)) else {
                return self.refuse(entry.lines.start, format!("snapshot `{key}` has no package"));
            };
            let targets = self.snapshot_targets(entry, keys)?;
            Ok(Snapshot { key: entry.key.clone(), lines: entry.lines.clone(), package, targets })
        };
        // Of several refusals the first is told, whichever thread comes upon one first.
        let snapshots: Vec<Scan<Snapshot>> = raw.par_iter().map(snapshot).collect();
        snapshots.into_iter().collect()
    }

    fn snapshot_targets(&self, entry: &Entry, keys: &FxHashMap<&str, u32>) -> Scan<Vec<(Span, Target)>> {
        let (mut targets, mut buffer) = (Vec::new(), String::new());
        for field in self.fields(entry)? {
            match self.key(&field) {
                "dependencies" | "optionalDependencies" => {
                    for dependency in self.lines.entries(field.below.clone(), 6)? {
                        let target = self.target(self.key(&dependency), &dependency.value, ".", keys, &mut buffer);
                        targets.push((dependency.key, target));
                    }
                }
                "transitivePeerDependencies" | "optional" | "dev" | "patched" | "id" => {}
                other => return self.refuse(field.lines.start, format!("unknown key `{other}` in a snapshot")),
            }
        }
        Ok(targets)
    }

    /// The keys below an entry, none where it is `{}`.
    fn fields(&self, entry: &Entry) -> Scan<Vec<Entry>> {
        match &self.text[entry.value.clone()] {
            "" => self.lines.entries(entry.below.clone(), 4),
            "{}" => Ok(Vec::new()),
            _ => self.refuse(entry.lines.start, "a value where a mapping is expected"),
        }
    }

    fn importers(&self, sections: &[Section], keys: &FxHashMap<&str, u32>) -> Scan<Vec<Importer>> {
        let raw = self.section_entries(sections, Name::Importers)?;
        let importers: Vec<Scan<Importer>> = raw.par_iter().map(|entry| self.importer(entry, keys)).collect();
        importers.into_iter().collect()
    }

    fn importer(&self, entry: &Entry, keys: &FxHashMap<&str, u32>) -> Scan<Importer> {
        let dir = self.key(entry).to_owned();
        let mut parts = Vec::new();
        for field in self.fields(entry)? {
            let kind = match self.key(&field) {
                "dependencies" => Field::Production,
                "optionalDependencies" => Field::Optional,
                "devDependencies" => Field::Development,
                "dependenciesMeta" | "publishDirectory" | "linkDirectory" => Field::Other,
                other => return self.refuse(field.lines.start, format!("unknown key `{other}` in an importer")),
            };
            let raw = if kind == Field::Other { Vec::new() } else { self.lines.entries(field.below.clone(), 6)? };
            let dependencies = raw.iter().map(|dependency| self.dependency(&dir, dependency, keys)).collect::<Scan<_>>()?;
            parts.push(Part { field: kind, lines: field.lines, dependencies });
        }
        Ok(Importer { dir, key: entry.key.clone(), lines: entry.lines.clone(), parts })
    }

    fn dependency(&self, dir: &str, entry: &Entry, keys: &FxHashMap<&str, u32>) -> Scan<Dependency> {
        let alias = self.key(entry);
        let (mut specifier, mut version) = (None, None);
        for field in self.lines.entries(entry.below.clone(), 8)? {
            match self.key(&field) {
                "specifier" => specifier = Some(self.text[field.value].to_owned()),
                "version" => version = Some(field.value),
                other => return self.refuse(field.lines.start, format!("unknown key `{other}` in a dependency")),
            }
        }
        let (Some(specifier), Some(version)) = (specifier, version) else {
            return self.refuse(entry.lines.start, format!("dependency `{alias}` without specifier or version"));
        };
        Ok(Dependency { alias: alias.to_owned(), specifier, target: self.target(alias, &version, dir, keys, &mut String::new()) })
    }

    /// pnpm's `refToRelative`: a reference that starts with `@`, or has an `@` before the first `:` or `(`, is a whole key.
    /// `link:` is relative to the importer, in snapshots to the root.
    fn target(&self, alias: &str, reference: &Span, dir: &str, keys: &FxHashMap<&str, u32>, buffer: &mut String) -> Target {
        let text = &self.text[reference.clone()];
        if let Some(path) = text.strip_prefix("link:") {
            return join(dir, path).map_or_else(|| Target::Outside(path.to_owned()), Target::Link);
        }
        let stop = text.find([':', '(']).unwrap_or(text.len());
        let is_key = text.find('@').is_some_and(|at| at == 0 || at < stop);
        let key = if is_key {
            text
        } else {
            // Not `format!`, and not a text of its own: this runs for every reference of the lock.
            buffer.clear();
            buffer.extend([alias, "@", text]);
            buffer
        };
        keys.get(key).map_or_else(|| Target::Missing(key.to_owned()), |index| Target::Snapshot(*index))
    }
}

/// A key less its trailing `(…)` groups.
pub(super) fn without_suffix(key: &str) -> &str {
    let mut end = key.len();
    while key[..end].ends_with(')') {
        let mut depth = 0usize;
        let open = key[..end].char_indices().rev().find(|(_, c)| {
            depth = match c {
                ')' => depth + 1,
                '(' => depth - 1,
                _ => depth,
            };
            depth == 0
        });
        match open {
            Some((at, _)) if at > 0 => end = at,
            _ => break,
        }
    }
    &key[..end]
}
