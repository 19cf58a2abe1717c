//! Reading a lock: what each entry means, by the line rules of [`super::scan`]. What is not known is refused.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use rustc_hash::FxHashMap;

use super::documents::{self, Ends};
use super::parallel;
use super::scan::{Entry, Lines, line_number};
use super::{
    Catalog, Dependency, Field, File, Format, Importer, Local, Lock, Missing, Name, PackageEntry, Part, Patch, Refusal, Section,
    Snapshot, Span, Target,
};
use crate::join;

pub(super) struct Scanner<'a> {
    text: &'a str,
    lines: Lines<'a>,
    /// Each file is one package's.
    is_split: bool,
}

type Scan<T> = Result<T, Refusal>;

/// What a file's entries are read with.
struct Place<'s, 'a> {
    dir: &'s str,
    format: Format,
    /// The keys that references may lead to.
    keys: FxHashMap<&'a str, u32>,
    /// How many packages there are before this file's.
    before: u32,
    /// The line of the text that is its first, from 1.
    first_line: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str, is_split: bool) -> Self {
        Self { text, lines: Lines::new(text), is_split }
    }

    /// The lock, less its text, which this borrows. Files are given by their folder, with their part of the text.
    pub(super) fn scan(&self, files: Vec<(String, Span, Ends)>) -> Result<Lock, (String, Refusal)> {
        let mut lock = Lock {
            text: String::new(),
            files: Vec::with_capacity(files.len()),
            catalogs: Vec::new(),
            overrides: Vec::new(),
            patches: Vec::new(),
            importers: Vec::new(),
            by_dir: HashMap::new(),
            packages: Vec::new(),
            snapshots: Vec::new(),
            entries: OnceLock::new(),
            importer_entries: OnceLock::new(),
        };
        for (dir, whole, ends) in files {
            let start = whole.start;
            if let Err(mut refusal) = self.file(&mut lock, &dir, whole, ends) {
                refusal.line -= line_number(self.text, start) - 1;
                return Err((dir, refusal));
            }
        }
        lock.by_dir = lock.importers.iter().zip(0..).map(|(importer, index)| (importer.dir.clone(), index)).collect();
        Ok(lock)
    }

    fn file(&self, lock: &mut Lock, dir: &str, whole: Span, ends: Ends) -> Scan<()> {
        let found = documents::main(&self.text[whole.clone()]).map_err(|refusal| {
            let line = refusal.line + line_number(self.text, whole.start) - 1;
            Refusal { line, ..refusal }
        })?;
        let main = whole.start + found.start..whole.start + found.end;
        self.refuse_half_a_line(&main)?;
        let (format, sections) = self.sections(&main)?;
        let first_line = line_number(self.text, whole.start);
        let (packages, raw) =
            rayon::join(|| self.section_entries(&sections, Name::Packages), || self.section_entries(&sections, Name::Snapshots));
        let (of_packages, of_snapshots) = (packages?, raw?);
        let raw = if format == Format::Six { &of_packages } else { &of_snapshots };
        let first = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let keys = raw.iter().map(|entry| plain_key(self.key(entry), format)).zip(first(lock.snapshots.len())..).collect();
        let place = Place { dir, format, keys, before: first(lock.packages.len()), first_line };
        let packages = of_packages.iter().map(|entry| self.package(entry, &place)).collect::<Scan<Vec<_>>>()?;
        let snapshots = match format {
            Format::Six => self.six_snapshots(raw, &packages, &place)?,
            Format::Nine => self.snapshots(raw, &packages, &place)?,
        };
        let importers = self.importers(&sections, &place)?;
        if !self.is_split {
            lock.catalogs = self.catalogs(&sections)?;
            lock.overrides = self.section_entries(&sections, Name::Overrides)?;
            lock.patches = self.patches(&sections)?;
        }
        let times = self.section_entries(&sections, Name::Time)?;
        let ranges = [
            (lock.importers.len(), importers.len()),
            (lock.packages.len(), packages.len()),
            (lock.snapshots.len(), snapshots.len()),
        ];
        let [of_importers, of_packages, of_snapshots] = ranges.map(|(before, more)| before..before + more);
        lock.importers.extend(importers);
        lock.packages.extend(packages);
        lock.snapshots.extend(snapshots);
        lock.files.push(File {
            dir: dir.to_owned(),
            is_own: self.is_split,
            format,
            whole,
            ends,
            main,
            sections,
            times,
            importers: of_importers,
            packages: of_packages,
            snapshots: of_snapshots,
        });
        Ok(())
    }

    /// A file that was cut off ends anywhere; what is wrong above its last line shows in what it lacks.
    fn refuse_half_a_line(&self, main: &Span) -> Scan<()> {
        let text = self.text[main.clone()].trim_end();
        let start = text.rfind('\n').map_or(0, |at| at + 1);
        let last = text[start..].trim_start();
        let is_closed = |open, close| last.matches(open).count() == last.matches(close).count();
        let is_whole = last.contains(':') || last.starts_with('-');
        if last.is_empty()
            || (is_whole && is_closed('{', '}') && is_closed('[', ']') && last.matches('\'').count().is_multiple_of(2))
        {
            return Ok(());
        }
        self.broken(main.start + start, "it ends within a line")
    }

    /// Refuses what the scanner does not know, and pnpm may.
    fn refuse<T>(&self, at: usize, reason: impl Into<String>) -> Scan<T> {
        Err(Refusal { line: line_number(self.text, at), reason: reason.into(), broken: false })
    }

    /// Refuses what no pnpm can install from.
    fn broken<T>(&self, at: usize, reason: impl Into<String>) -> Scan<T> {
        Err(Refusal { line: line_number(self.text, at), reason: reason.into(), broken: true })
    }

    fn key(&self, entry: &Entry) -> &'a str {
        &self.text[entry.key.clone()]
    }

    fn sections(&self, main: &Span) -> Scan<(Format, Vec<Section>)> {
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
                | "ignoredOptionalDependencies"
                | "neverBuiltDependencies"
                | "onlyBuiltDependencies" => Name::Kept,
                "dependencies" | "devDependencies" | "optionalDependencies" | "dependenciesMeta" | "publishDirectory" => {
                    Name::Inline
                }
                "catalogs" => Name::Catalogs,
                "overrides" => Name::Overrides,
                "patchedDependencies" => Name::Patches,
                "time" => Name::Time,
                "importers" => Name::Importers,
                "packages" => Name::Packages,
                "snapshots" => Name::Snapshots,
                other => return self.refuse(entry.lines.start, format!("unknown key `{other}`")),
            };
            if !matches!(name, Name::Kept | Name::Inline) && !entry.value.is_empty() && &self.text[entry.value.clone()] != "{}" {
                return self.refuse(entry.lines.start, "a value beside a key that has lines of its own");
            }
            sections.push(Section { name, lines: entry.lines, body: entry.body, below: entry.below });
        }
        let inline = sections.iter().find(|section| section.name == Name::Inline);
        let newer = sections.iter().find(|section| matches!(section.name, Name::Snapshots | Name::Catalogs));
        match (version, inline) {
            (Some("6.0" | "6.1"), _) if newer.is_some() => {
                self.refuse(newer.map_or(main.start, |section| section.lines.start), "a key of a newer format")
            }
            (Some("9.0"), None) => Ok((Format::Nine, sections)),
            (Some("6.0" | "6.1"), None) => Ok((Format::Six, sections)),
            // One importer at the top and others below it: no pnpm writes both.
            (Some("6.0" | "6.1"), Some(_)) if sections.iter().all(|section| section.name != Name::Importers) => {
                Ok((Format::Six, sections))
            }
            (Some("6.0" | "6.1" | "9.0"), Some(section)) => self.refuse(section.lines.start, "an importer's field at the top"),
            (Some(other), _) if !other.is_empty() => {
                let of = if other.starts_with('5') { "of pnpm 7 or older" } else { "of a pnpm that is not known here" };
                self.refuse(main.start, format!("lockfileVersion `{other}`, {of}"))
            }
            _ => self.broken(main.start, "there is no lockfileVersion in it"),
        }
    }

    fn section_entries(&self, sections: &[Section], name: Name) -> Scan<Vec<Entry>> {
        let found = sections.iter().find(|section| section.name == name);
        found.map_or(Ok(Vec::new()), |section| self.lines.entries(section.below.clone(), 2))
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
                        return self.broken(entry.lines.start, "a patch without a hash");
                    };
                    hash = field.value;
                }
                Ok(Patch { selector: entry.key, hash, lines: entry.lines })
            })
            .collect()
    }

    fn package(&self, entry: &Entry, place: &Place<'_, 'a>) -> Scan<PackageEntry> {
        let written = self.key(entry);
        let key = entry.key.end - plain_key(written, place.format).len()..entry.key.end;
        let path = match place.format {
            Format::Six => written.strip_prefix("file:"),
            Format::Nine => written.split_once("@file:").map(|(_, path)| path),
        };
        let local = path.map(|path| self.local(entry, path, place)).transpose()?;
        Ok(PackageEntry { key, lines: entry.lines.clone(), local })
    }

    /// `resolution: {directory: DIR, type: directory}` or `resolution: {integrity: …, tarball: file:PATH}`. Peers stand behind the path of a
    /// folder, in brackets.
    fn local(&self, entry: &Entry, path: &str, place: &Place<'_, 'a>) -> Scan<Local> {
        let path = if place.format == Format::Six { without_suffix(path) } else { path };
        let Some(path) = join(place.dir, path) else {
            return self.refuse(entry.lines.start, format!("a file outside the workspace: `{path}`"));
        };
        let is_folder = self.text[entry.lines.clone()].contains("type: directory}");
        Ok(if is_folder { Local::Folder(path) } else { Local::Tarball(path) })
    }

    fn snapshots(&self, raw: &[Entry], packages: &[PackageEntry], place: &Place<'_, 'a>) -> Scan<Vec<Snapshot>> {
        let by_key: FxHashMap<&str, u32> =
            packages.iter().map(|package| &self.text[package.key.clone()]).zip(place.before..).collect();
        let snapshot = |entry: &Entry| {
            let key = self.key(entry);
            let Some(&package) = by_key.get(without_suffix(key)) else {
                return self.broken(entry.lines.start, format!("snapshot `{key}` has no package"));
            };
            let targets = self.snapshot_targets(entry, place)?;
            Ok(Snapshot { key: entry.key.clone(), lines: entry.lines.clone(), package, targets })
        };
        // Of several refusals the first is told, whichever thread comes upon one first.
        parallel::map(raw, snapshot).into_iter().collect()
    }

    /// Each package is its own snapshot. What it says beside its dependencies is no concern of a cut.
    fn six_snapshots(&self, raw: &[Entry], packages: &[PackageEntry], place: &Place<'_, 'a>) -> Scan<Vec<Snapshot>> {
        let all: Vec<(&Entry, &PackageEntry, u32)> =
            raw.iter().zip(packages).zip(place.before..).map(|((entry, package), at)| (entry, package, at)).collect();
        let snapshot = |(entry, package, at): &(&Entry, &PackageEntry, u32)| {
            let mut targets = Vec::new();
            for field in ["dependencies:", "optionalDependencies:"] {
                let Some(below) = self.lines.below(entry.below.clone(), 4, field) else { continue };
                self.targets(below, place, &mut targets)?;
            }
            Ok(Snapshot { key: package.key.clone(), lines: entry.lines.clone(), package: *at, targets })
        };
        parallel::map(&all, snapshot).into_iter().collect()
    }

    fn snapshot_targets(&self, entry: &Entry, place: &Place<'_, 'a>) -> Scan<Vec<(Span, Target)>> {
        let mut targets = Vec::new();
        for field in self.fields(entry)? {
            match self.key(&field) {
                "dependencies" | "optionalDependencies" => self.targets(field.below.clone(), place, &mut targets)?,
                "transitivePeerDependencies" | "optional" | "dev" | "patched" | "id" => {}
                other => return self.refuse(field.lines.start, format!("unknown key `{other}` in a snapshot")),
            }
        }
        Ok(targets)
    }

    fn targets(&self, below: Range<usize>, place: &Place<'_, 'a>, targets: &mut Vec<(Span, Target)>) -> Scan<()> {
        let mut buffer = String::new();
        for dependency in self.lines.entries(below, 6)? {
            let target = self.target(self.key(&dependency), &dependency.value, place.dir, place, &mut buffer);
            targets.push((dependency.key, target));
        }
        Ok(())
    }

    /// The keys below an entry, none where it is `{}`.
    fn fields(&self, entry: &Entry) -> Scan<Vec<Entry>> {
        match &self.text[entry.value.clone()] {
            "" => self.lines.entries(entry.below.clone(), 4),
            "{}" => Ok(Vec::new()),
            _ => self.refuse(entry.lines.start, "a value where a mapping is expected"),
        }
    }

    fn importers(&self, sections: &[Section], place: &Place<'_, 'a>) -> Scan<Vec<Importer>> {
        let raw = self.section_entries(sections, Name::Importers)?;
        let inline: Vec<&Section> = sections.iter().filter(|section| section.name == Name::Inline).collect();
        // A package without dependencies has nothing at the top either.
        if !inline.is_empty() || (place.format == Format::Six && raw.is_empty()) {
            return Ok(vec![self.inline(&inline, place)?]);
        }
        parallel::map(&raw, |entry| self.importer(entry, place)).into_iter().collect()
    }

    /// The importer whose fields stand at the top.
    fn inline(&self, sections: &[&Section], place: &Place<'_, 'a>) -> Scan<Importer> {
        let mut parts = Vec::new();
        for section in sections {
            let head = section.lines.start..section.body.start.max(section.lines.start);
            let name = self.text[head].split(':').next().unwrap_or_default();
            parts.push(self.part(name, section.lines.clone(), section.below.clone(), 2, place.dir, place)?);
        }
        Ok(Importer { dir: place.dir.to_owned(), key: 0..0, lines: 0..0, parts, indent: 2 })
    }

    fn importer(&self, entry: &Entry, place: &Place<'_, 'a>) -> Scan<Importer> {
        let written = self.key(entry);
        let Some(dir) = join(place.dir, written) else {
            return self.refuse(entry.lines.start, format!("an importer outside the workspace: `{written}`"));
        };
        let fields = self.fields(entry)?;
        let part = |field: Entry| self.part(self.key(&field), field.lines.clone(), field.below.clone(), 6, &dir, place);
        let parts = fields.into_iter().map(part).collect::<Scan<_>>()?;
        Ok(Importer { dir, key: entry.key.clone(), lines: entry.lines.clone(), parts, indent: 6 })
    }

    fn part(&self, name: &str, lines: Span, below: Range<usize>, indent: u8, dir: &str, place: &Place<'_, 'a>) -> Scan<Part> {
        let field = match name {
            "dependencies" => Field::Production,
            "optionalDependencies" => Field::Optional,
            "devDependencies" => Field::Development,
            "dependenciesMeta" | "publishDirectory" | "linkDirectory" => Field::Other,
            // What pnpm 11 writes in a document of its own, before the lock.
            "configDependencies" | "packageManagerDependencies" => {
                return self.broken(lines.start, format!("it ends with the document of the `{name}`"));
            }
            other => return self.refuse(lines.start, format!("unknown key `{other}` in an importer")),
        };
        let raw = if field == Field::Other { Vec::new() } else { self.lines.entries(below, indent)? };
        let dependencies =
            raw.iter().map(|dependency| self.dependency(dir, dependency, indent + 2, place)).collect::<Scan<_>>()?;
        Ok(Part { field, lines, dependencies })
    }

    fn dependency(&self, dir: &str, entry: &Entry, indent: u8, place: &Place<'_, 'a>) -> Scan<Dependency> {
        let alias = self.key(entry);
        let (mut specifier, mut version) = (None, None);
        for field in self.lines.entries(entry.below.clone(), indent)? {
            match self.key(&field) {
                "specifier" => specifier = Some(self.text[field.value].to_owned()),
                "version" => version = Some(field.value),
                other => return self.refuse(field.lines.start, format!("unknown key `{other}` in a dependency")),
            }
        }
        let (Some(specifier), Some(version)) = (specifier, version.filter(|version| !version.is_empty())) else {
            return self.broken(entry.lines.start, format!("dependency `{alias}` has no specifier or no version"));
        };
        let target = self.target(alias, &version, dir, place, &mut String::new());
        Ok(Dependency { alias: alias.to_owned(), specifier, target })
    }

    /// pnpm's `refToRelative`: a reference that starts with `@`, or has an `@` before the first `:` or `(`, is a whole key; in format 6.0 one
    /// that starts with `/`, and one that is a key. `link:` is relative to the importer, in snapshots to the lock's folder.
    fn target(&self, alias: &str, reference: &Span, dir: &str, place: &Place<'_, 'a>, buffer: &mut String) -> Target {
        let text = &self.text[reference.clone()];
        if let Some(path) = text.strip_prefix("link:") {
            return join(dir, path).map_or_else(|| Target::Outside(path.to_owned()), Target::Link);
        }
        let stop = text.find([':', '(']).unwrap_or(text.len());
        let is_key = match place.format {
            Format::Six => text.starts_with('/') || place.keys.contains_key(text),
            Format::Nine => text.find('@').is_some_and(|at| at == 0 || at < stop),
        };
        let key = if is_key {
            plain_key(text, place.format)
        } else {
            // Not `format!`, and not a text of its own: this runs for every reference of the lock.
            buffer.clear();
            buffer.extend([alias, "@", text]);
            buffer
        };
        match place.keys.get(key) {
            Some(index) => Target::Snapshot(*index),
            None => Target::Missing(Missing {
                dir: place.dir.to_owned(),
                line: line_number(self.text, reference.start) + 1 - place.first_line,
                key: key.to_owned(),
            }),
        }
    }
}

/// A key as format 9.0 has it.
fn plain_key(key: &str, format: Format) -> &str {
    if format == Format::Six { key.strip_prefix('/').unwrap_or(key) } else { key }
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
