//! Cutting a lock: the bytes of what is kept, in the order and spacing pnpm writes. Nothing is re-serialised and nothing resolved.

use std::collections::{BTreeMap, BTreeSet};

use super::scan::Entry;
use super::{Field, File, Importer, Lock, Name, PackageEntry, Part, Section, Span};

/// What of a lock is kept.
#[derive(Debug, Clone, Default)]
pub struct Cut {
    /// The importers, and whether each keeps its development dependencies; `None` strips all its dependencies.
    pub importers: BTreeMap<u32, Option<KeepFields>>,
    /// The dependencies that are kept, by name, of importers that keep only these, whatever `importers` says of their fields.
    pub parts: BTreeMap<u32, BTreeSet<String>>,
    /// For each snapshot, whether it is kept.
    pub snapshots: Vec<bool>,
    /// Catalog and name of the catalog entries kept.
    pub catalogs: BTreeSet<(String, String)>,
    /// Indices of the overrides kept.
    pub overrides: BTreeSet<usize>,
    /// Indices of the patches kept.
    pub patches: BTreeSet<usize>,
}

/// Which of an importer's dependency fields are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepFields {
    /// All of them.
    All,
    /// Those that are not for development only.
    Production,
}

impl Lock {
    /// The cut lock of a folder: `.` where all packages share one. None where the folder has no lock.
    #[must_use]
    pub fn cut(&self, dir: &str, cut: &Cut) -> Option<String> {
        self.files.iter().find(|file| file.dir == dir).map(|file| self.cut_file(file, cut))
    }

    fn cut_file(&self, file: &File, cut: &Cut) -> String {
        let packages = self.kept_packages(cut);
        let mut out = String::with_capacity(file.whole.len() / 2);
        out.push_str(&self.text[file.whole.start..file.main.start]);
        let mut first = true;
        for section in &file.sections {
            let body = self.section(file, section, cut, &packages);
            if body.is_empty() {
                continue;
            }
            if !first {
                out.push('\n');
            }
            first = false;
            out.push_str(&body);
        }
        out.push_str(&self.text[file.main.end..file.whole.end]);
        file.ends.put(out)
    }

    /// Everything of the cut lock but its importers, packages and snapshots: what every install from it depends on.
    #[must_use]
    pub fn cut_settings(&self, cut: &Cut) -> String {
        let entries = [Name::Importers, Name::Inline, Name::Packages, Name::Snapshots, Name::Time];
        let mut all = String::new();
        for file in &self.files {
            if file.is_own && !cut.importers.keys().any(|importer| file.importers.contains(&(*importer as usize))) {
                continue;
            }
            let sections = file.sections.iter().filter(|section| !entries.contains(&section.name));
            let mut out = self.text[file.whole.start..file.main.start].to_owned();
            sections.for_each(|section| out.push_str(&self.section(file, section, cut, &[])));
            out.push_str(&self.text[file.main.end..file.whole.end]);
            all.push_str(&file.ends.put(out));
        }
        all
    }

    /// An importer as the cut keeps it.
    #[must_use]
    pub fn cut_importer(&self, importer: u32, keep: Option<KeepFields>) -> String {
        let importer: &Importer = &self.importers[importer as usize];
        let kept = importer.parts.iter().filter(|part| match part.field {
            Field::Other => true,
            Field::Development => keep == Some(KeepFields::All),
            Field::Production | Field::Optional => keep.is_some(),
        });
        let lines: String = kept.map(|part| &self.text[part.lines.clone()]).collect();
        if importer.key.is_empty() {
            return lines;
        }
        let head = &self.text[importer.lines.start..importer.key.end];
        // The key's closing quote, where it has one, stands right behind it.
        let quote = self.text[importer.key.end..].chars().next().filter(|c| matches!(c, '\'' | '"'));
        let quote = quote.map_or(String::new(), String::from);
        if lines.is_empty() { format!("{head}{quote}: {{}}\n") } else { format!("{head}{quote}:\n{lines}") }
    }

    /// An importer as the cut keeps it, where it may keep only some of its dependencies.
    #[must_use]
    pub fn importer_of(&self, importer: u32, keep: Option<KeepFields>, cut: &Cut) -> String {
        let Some(names) = cut.parts.get(&importer) else { return self.cut_importer(importer, keep) };
        let Importer { key, parts, .. } = &self.importers[importer as usize];
        let head = self.cut_importer(importer, None);
        let head = head.lines().next().unwrap_or_default().trim_end_matches(" {}");
        let mut out = if key.is_empty() { String::new() } else { format!("{head}\n") };
        let head = out.len();
        for part in parts.iter().filter(|part| part.field != Field::Other) {
            if let Some((field, kept)) = self.kept_of(part, importer, names) {
                out += &format!("{field}\n{kept}");
            }
        }
        if out.len() == head { self.cut_importer(importer, None) } else { out }
    }

    /// Of a part what is called by these names, with the line of its field.
    fn kept_of(&self, part: &Part, importer: u32, names: &BTreeSet<String>) -> Option<(&str, String)> {
        let (field, entries) = self.text[part.lines.clone()].split_once('\n')?;
        // An entry begins with its name; the lines below it are further in.
        let indent = usize::from(self.importers[importer as usize].indent);
        let is_name = |line: &str| line.len() - line.trim_start_matches(' ').len() == indent;
        let mut is_kept = false;
        let mut kept = String::new();
        for line in entries.split_inclusive('\n') {
            if is_name(line) {
                let name = line.trim().trim_end_matches(':').trim_matches(['\'', '"']);
                is_kept = names.contains(name);
            }
            if is_kept {
                kept.push_str(line);
            }
        }
        (!kept.is_empty()).then_some((field, kept))
    }

    fn kept_packages(&self, cut: &Cut) -> Vec<bool> {
        let mut kept = vec![false; self.packages.len()];
        for (snapshot, keep) in self.snapshots.iter().zip(&cut.snapshots) {
            kept[snapshot.package as usize] |= keep;
        }
        kept
    }

    /// A section's text, empty where nothing of it is kept.
    fn section(&self, file: &File, section: &Section, cut: &Cut, packages: &[bool]) -> String {
        let lines = |span: &Span| self.text[span.clone()].to_owned();
        let head = section.lines.start..section.body.start;
        match section.name {
            Name::Kept => lines(&section.lines),
            // What is in every package's lock says how that package was resolved: pnpm compares it with settings that are not cut either.
            Name::Catalogs | Name::Overrides | Name::Patches if file.is_own => lines(&section.lines),
            Name::Inline => self.inline(file, section, cut),
            Name::Catalogs => self.list(
                &head,
                "",
                self.catalogs.iter().filter_map(|catalog| {
                    let kept = catalog.entries.iter().filter(|entry| {
                        let alias = self.text[entry.key.clone()].to_owned();
                        cut.catalogs.contains(&(catalog.name.clone(), alias))
                    });
                    let text = self.list(&catalog.head, "", kept.map(|entry| lines(&entry.lines)));
                    Some(text).filter(|text| !text.is_empty())
                }),
            ),
            Name::Overrides => {
                let kept = self.overrides.iter().enumerate().filter(|(index, _)| cut.overrides.contains(index));
                self.list(&head, "", kept.map(|(_, entry)| lines(&entry.lines)))
            }
            Name::Patches => {
                let kept = self.patches.iter().enumerate().filter(|(index, _)| cut.patches.contains(index));
                self.list(&head, "", kept.map(|(_, patch)| lines(&patch.lines)))
            }
            Name::Time => {
                let kept = self.packages_of(file, packages);
                let keys: BTreeSet<&str> = kept.map(|package| &self.text[package.key.clone()]).collect();
                // Format 6.0 has a slash before each.
                let key = |entry: &Entry| self.text[entry.key.clone()].trim_start_matches('/');
                let kept = file.times.iter().filter(|entry| keys.contains(key(entry)));
                self.list(&head, "", kept.map(|entry| lines(&entry.lines)))
            }
            Name::Importers => {
                let own = cut.importers.iter().filter(|(importer, _)| file.importers.contains(&(**importer as usize)));
                let kept = own.map(|(importer, keep)| self.importer_of(*importer, *keep, cut));
                self.list(&head, "\n", kept)
            }
            Name::Packages => self.list(&head, "\n", self.packages_of(file, packages).map(|package| lines(&package.lines))),
            Name::Snapshots => {
                let own = file.snapshots.clone();
                let kept = self.snapshots[own.clone()].iter().zip(&cut.snapshots[own]).filter(|(_, keep)| **keep);
                self.list(&head, "\n", kept.map(|(snapshot, _)| lines(&snapshot.lines)))
            }
        }
    }

    /// The packages of a file that are kept.
    fn packages_of<'l>(&'l self, file: &File, kept: &'l [bool]) -> impl Iterator<Item = &'l PackageEntry> {
        let own = file.packages.clone();
        let all = self.packages.get(own.clone()).unwrap_or_default().iter().zip(kept.get(own).unwrap_or_default());
        all.filter(|(_, keep)| **keep).map(|(package, _)| package)
    }

    /// A field at the top, as the cut keeps the one importer.
    fn inline(&self, file: &File, section: &Section, cut: &Cut) -> String {
        let Some((importer, keep)) = cut.importers.iter().find(|(importer, _)| file.importers.contains(&(**importer as usize)))
        else {
            return String::new();
        };
        let parts = &self.importers[*importer as usize].parts;
        let Some(part) = parts.iter().find(|part| part.lines == section.lines) else { return String::new() };
        if let Some(names) = cut.parts.get(importer) {
            return self.kept_of(part, *importer, names).map(|(field, kept)| format!("{field}\n{kept}")).unwrap_or_default();
        }
        let is_kept = match part.field {
            Field::Other => true,
            Field::Development => *keep == Some(KeepFields::All),
            Field::Production | Field::Optional => keep.is_some(),
        };
        if is_kept { self.text[part.lines.clone()].to_owned() } else { String::new() }
    }

    /// A key line and what stands below it, each item after `gap`; nothing where there are no items.
    fn list(&self, head: &Span, gap: &str, items: impl Iterator<Item = String>) -> String {
        let mut out = String::new();
        for item in items {
            if out.is_empty() {
                out.push_str(&self.text[head.clone()]);
            }
            out.push_str(gap);
            out.push_str(&item);
        }
        out
    }
}
