//! Cutting a lock: the bytes of what is kept, in the order and spacing pnpm writes. Nothing is re-serialised and nothing resolved.

use std::collections::{BTreeMap, BTreeSet};

use super::{Field, Importer, Lock, Name, Section, Span};

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
    /// The cut lock.
    #[must_use]
    pub fn cut(&self, cut: &Cut) -> String {
        let packages = self.kept_packages(cut);
        let mut out = String::with_capacity(self.text.len() / 2);
        out.push_str(&self.text[..self.main.start]);
        let mut first = true;
        for section in &self.sections {
            let body = self.section(section, cut, &packages);
            if body.is_empty() {
                continue;
            }
            if !first {
                out.push('\n');
            }
            first = false;
            out.push_str(&body);
        }
        out.push_str(&self.text[self.main.end..]);
        self.ends.put(out)
    }

    /// Everything of the cut lock but its importers, packages and snapshots: what every install from it depends on.
    #[must_use]
    pub fn cut_settings(&self, cut: &Cut) -> String {
        let entries = [Name::Importers, Name::Packages, Name::Snapshots, Name::Time];
        let sections = self.sections.iter().filter(|section| !entries.contains(&section.name));
        let mut out = self.text[..self.main.start].to_owned();
        sections.for_each(|section| out.push_str(&self.section(section, cut, &[])));
        out.push_str(&self.text[self.main.end..]);
        self.ends.put(out)
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
        let head = self.cut_importer(importer, None);
        let head = head.lines().next().unwrap_or_default().trim_end_matches(" {}");
        let mut out = format!("{head}\n");
        for part in self.importers[importer as usize].parts.iter().filter(|part| part.field != Field::Other) {
            let text = &self.text[part.lines.clone()];
            let Some((field, entries)) = text.split_once('\n') else { continue };
            // An entry begins with its name, six spaces in; the lines below it are further in.
            let is_name = |line: &str| line.starts_with("      ") && !line.starts_with("       ");
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
            if !kept.is_empty() {
                out += &format!("{field}\n{kept}");
            }
        }
        if out.lines().count() == 1 { self.cut_importer(importer, None) } else { out }
    }

    fn kept_packages(&self, cut: &Cut) -> Vec<bool> {
        let mut kept = vec![false; self.packages.len()];
        for (snapshot, keep) in self.snapshots.iter().zip(&cut.snapshots) {
            kept[snapshot.package as usize] |= keep;
        }
        kept
    }

    /// A section's text, empty where nothing of it is kept.
    fn section(&self, section: &Section, cut: &Cut, packages: &[bool]) -> String {
        let lines = |span: &Span| self.text[span.clone()].to_owned();
        let head = section.lines.start..section.body.start;
        match section.name {
            Name::Kept => lines(&section.lines),
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
                let keys: BTreeSet<&str> = self
                    .packages
                    .iter()
                    .zip(packages)
                    .filter(|(_, keep)| **keep)
                    .map(|(p, _)| &self.text[p.key.clone()])
                    .collect();
                let kept = self.times.iter().filter(|entry| keys.contains(&self.text[entry.key.clone()]));
                self.list(&head, "", kept.map(|entry| lines(&entry.lines)))
            }
            Name::Importers => {
                let kept = cut.importers.iter().map(|(importer, keep)| self.importer_of(*importer, *keep, cut));
                self.list(&head, "\n", kept)
            }
            Name::Packages => {
                let kept = self.packages.iter().zip(packages).filter(|(_, keep)| **keep);
                self.list(&head, "\n", kept.map(|(package, _)| lines(&package.lines)))
            }
            Name::Snapshots => {
                let kept = self.snapshots.iter().zip(&cut.snapshots).filter(|(_, keep)| **keep);
                self.list(&head, "\n", kept.map(|(snapshot, _)| lines(&snapshot.lines)))
            }
        }
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
