//! Who uses which override, patch and catalog entry, worked out once so that each closure only looks it up. No I/O here.

use monoship_core::collect::Collect as _;
use std::collections::{BTreeSet, HashMap};

use super::graph::Closure;
use super::load::{PackageId, Workspace};
use crate::yaml::Yaml;
use pnpm::lock::{Field, Lock};

/// The users of one override or patch.
#[derive(Debug, Default)]
struct Users {
    packages: Vec<PackageId>,
    snapshots: Vec<u32>,
}

impl Users {
    fn any_in(&self, closure: &Closure) -> bool {
        self.snapshots.iter().any(|snapshot| closure.snapshots[*snapshot as usize])
            || self.packages.iter().any(|id| closure.packages.contains(id))
    }
}

/// Who uses what.
#[derive(Debug, Default)]
pub struct Usage {
    overrides: Vec<Users>,
    patches: Vec<Users>,
    /// Catalog entries that the settings file itself refers to: overrides and package extensions.
    settings_catalogs: BTreeSet<(String, String)>,
}

impl Usage {
    pub(super) fn new(workspace: &Workspace) -> Self {
        let mut usage = Self::default();
        if let Some(tree) = workspace.settings() {
            for section in ["overrides", "packageExtensions"] {
                tree.get(section).into_iter().for_each(|tree| settings_catalogs(tree, &mut usage.settings_catalogs));
            }
        }
        if let Some(lock) = workspace.scanned() {
            usage.overrides = override_users(workspace, lock);
            usage.patches = patch_users(lock);
        }
        usage
    }

    /// The overrides (by index in the lock) whose package some dependency in the closure is called.
    pub(super) fn overrides(&self, closure: &Closure) -> BTreeSet<usize> {
        indices(&self.overrides, closure)
    }

    /// The patches (by index in the lock) that were put on a lock entry of the closure.
    pub(super) fn patches(&self, closure: &Closure) -> BTreeSet<usize> {
        indices(&self.patches, closure)
    }

    /// Catalog and name of the catalog entries that the closure's manifests or importers, or the settings file, refer to.
    pub(super) fn catalogs(&self, workspace: &Workspace, closure: &Closure) -> BTreeSet<(String, String)> {
        let mut all = self.settings_catalogs.clone();
        if workspace.scanned().is_some_and(|lock| lock.catalog_entries().next().is_none()) {
            return all;
        }
        for id in &closure.packages {
            let with_dev = closure.with_dev(*id);
            let package = workspace.package(*id);
            let wanted = package.manifest.all_dependencies().filter(|(_, _, dev)| with_dev || !dev);
            let peers =
                package.manifest.peer_dependencies.iter().map(|(name, spec)| (name.as_str(), spec.as_str().unwrap_or_default()));
            for (alias, specifier) in wanted.map(|(alias, specifier, _)| (alias, specifier)).chain(peers) {
                all.extend(catalog(specifier).map(|name| (name.to_owned(), alias.to_owned())));
            }
            let lock = workspace.scanned();
            if let Some((lock, importer)) = lock.and_then(|lock| Some((lock, lock.importer(&package.dir)?))) {
                let wanted = lock.dependencies(importer).filter(|(field, _)| with_dev || *field != Field::Development);
                for (_, dependency) in wanted {
                    all.extend(catalog(&dependency.specifier).map(|name| (name.to_owned(), dependency.alias.clone())));
                }
            }
        }
        let root = &workspace.package(workspace.root_package()).manifest;
        for (alias, specifier, _) in root.all_dependencies().filter(|(alias, ..)| closure.tools.contains(*alias)) {
            all.extend(catalog(specifier).map(|name| (name.to_owned(), alias.to_owned())));
        }
        all
    }
}

fn indices(users: &[Users], closure: &Closure) -> BTreeSet<usize> {
    users.iter().enumerate().filter(|(_, users)| users.any_in(closure)).map(|(index, _)| index).collect()
}

/// The catalog a specifier names: `catalog:` and `catalog:default` are the same.
fn catalog(specifier: &str) -> Option<&str> {
    let name = specifier.strip_prefix("catalog:")?.trim();
    Some(if name.is_empty() { "default" } else { name })
}

/// Catalog references below a settings key. An override's selector can be longer than the name (`a>b@1`): its package is the name.
fn settings_catalogs(tree: &Yaml, all: &mut BTreeSet<(String, String)>) {
    for (key, value) in tree.entries() {
        if let Some(name) = value.as_str().and_then(catalog) {
            all.insert((name.to_owned(), selected(key).to_owned()));
        }
        settings_catalogs(value, all);
    }
}

/// The package that an override's selector is about: the last one of `a@1>b@2`, without its version.
pub(super) fn selected(selector: &str) -> &str {
    // A `>` can also be part of a range (`b@>=2`): the separator is one that a name follows.
    let name_follows = |at: &usize| selector[at + 1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '@');
    let from = selector.match_indices('>').map(|(at, _)| at).rfind(name_follows).map_or(0, |at| at + 1);
    let last = &selector[from..];
    match last.char_indices().skip(1).find(|(_, c)| *c == '@') {
        Some((at, _)) => &last[..at],
        None => last,
    }
}

fn override_users(workspace: &Workspace, lock: &Lock) -> Vec<Users> {
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, (selector, _)) in lock.overrides().enumerate() {
        by_name.entry(selected(selector)).or_default().push(index);
    }
    let mut users: Vec<Users> = lock.overrides().map(|_| Users::default()).into_vec();
    if users.is_empty() {
        return users;
    }
    for id in workspace.ids() {
        let manifest = &workspace.package(id).manifest;
        let peers = manifest.peer_dependencies.keys().map(String::as_str);
        for name in manifest.all_dependencies().map(|(name, _, _)| name).chain(peers) {
            by_name.get(name).into_iter().flatten().for_each(|index| users[*index].packages.push(id));
        }
    }
    for snapshot in (0..).take(lock.snapshot_count()) {
        let key = lock.package_key(snapshot);
        let name = key.char_indices().skip(1).find(|(_, c)| *c == '@').map_or(key, |(at, _)| &key[..at]);
        for name in lock.targets(snapshot).map(|(alias, _)| alias).chain([name]) {
            by_name.get(name).into_iter().flatten().for_each(|index| users[*index].snapshots.push(snapshot));
        }
    }
    users
}

fn patch_users(lock: &Lock) -> Vec<Users> {
    let marks: Vec<String> = lock.patches().map(|(_, hash)| format!("(patch_hash={hash})")).into_vec();
    let mut users: Vec<Users> = marks.iter().map(|_| Users::default()).into_vec();
    for snapshot in (0..).take(lock.snapshot_count()) {
        let key = lock.snapshot_key(snapshot);
        if key.contains("(patch_hash=") {
            for (mark, users) in marks.iter().zip(&mut users) {
                if key.contains(mark.as_str()) {
                    users.snapshots.push(snapshot);
                }
            }
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_about_its_last_package() {
        for (selector, name) in [
            ("foo", "foo"),
            ("foo@1", "foo"),
            ("@s/foo@^1", "@s/foo"),
            ("a>b", "b"),
            ("@s/a@1>@t/b@>=2 <3", "@t/b"),
            ("b@>=2", "b"),
            ("a@>1>b", "b"),
        ] {
            assert_eq!(selected(selector), name, "{selector}");
        }
    }

    #[test]
    fn an_unnamed_catalog_is_the_default_one() {
        assert_eq!((catalog("catalog:"), catalog("catalog:react"), catalog("^1")), (Some("default"), Some("react"), None));
    }
}
