//! Settings cut to a closure, consistently with the lock: `pnpm-workspace.yaml`, and the same settings in the root manifest,
//! where pnpm 9 and 10 read them. pnpm compares each with the lock, so what goes on one side goes on both.

use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedMap;

use serde_json::{Map, Value};

use super::super::git::{Mode, Tree};
use super::super::glob::escape;
use super::super::graph::Closure;
use super::super::load::Workspace;
use super::super::package::Manifest;
use crate::yaml::Yaml;
use pnpm::join;
use pnpm::lock::{Cut, Lock};

/// What becomes of a lock's overrides and patches: for each selector, its value in the lock where it is kept.
fn overrides<'l>(lock: &'l Lock, cut: &Cut) -> SortedMap<&'l str, Option<&'l str>> {
    let all = lock.overrides().enumerate();
    all.map(|(index, (selector, value))| (selector, cut.overrides.contains(&index).then_some(value))).into_map()
}

fn patches<'l>(lock: &'l Lock, cut: &Cut) -> SortedMap<&'l str, bool> {
    lock.patches().enumerate().map(|(index, (selector, _))| (selector, cut.patches.contains(&index))).into_map()
}

/// The settings file for a closure. `packages` names its folders; unused catalog entries, overrides and patches are gone;
/// an override's value is the lock's, as a `$reference` or `catalog:` may lead to what is cut off. The rest stays.
pub(super) fn prune(tree: &Yaml, workspace: &Workspace, closure: &Closure, cut: &Cut) -> Yaml {
    let mut entries = Vec::new();
    let mut listed = false;
    for (key, value) in tree.entries() {
        let value = match (key.as_str(), workspace.scanned()) {
            ("packages", Some(_)) => {
                listed = true;
                Some(folders(workspace, closure))
            }
            // Each package's lock names what it uses of them.
            ("catalog" | "catalogs", Some(lock)) if lock.is_split() => Some(value.clone()),
            ("catalog", Some(_)) => catalog(value, "default", cut),
            ("catalogs", Some(_)) => {
                let kept = value.entries().iter().filter_map(|(name, value)| Some((name.clone(), catalog(value, name, cut)?)));
                some_map(kept.into_vec())
            }
            ("overrides", Some(lock)) => {
                let known = overrides(lock, cut);
                let kept = value.entries().iter().filter_map(|(selector, value)| match known.get(selector.as_str()) {
                    Some(kept) => Some((selector.clone(), Yaml::string((*kept)?))),
                    None => Some((selector.clone(), value.clone())),
                });
                some_map(kept.into_vec())
            }
            ("patchedDependencies", Some(lock)) => {
                let known = patches(lock, cut);
                let kept = value.entries().iter().filter(|(selector, _)| known.get(selector.as_str()) != Some(&false));
                some_map(kept.cloned().into_vec())
            }
            _ => Some(value.clone()),
        };
        entries.extend(value.map(|value| (key.clone(), value)));
    }
    if !listed && workspace.scanned().is_some() {
        entries.push(("packages".to_owned(), folders(workspace, closure)));
    }
    Yaml::Map(entries)
}

fn folders(workspace: &Workspace, closure: &Closure) -> Yaml {
    let dirs = closure.packages.iter().map(|id| workspace.package(*id).dir.as_str()).filter(|dir| *dir != ".");
    let mut items: Vec<Yaml> = dirs.map(|dir| Yaml::string(escape(dir))).into_vec();
    if items.is_empty() {
        // pnpm 9 refuses an empty list.
        items.push(Yaml::string("."));
    }
    Yaml::List(items)
}

fn catalog(tree: &Yaml, name: &str, cut: &Cut) -> Option<Yaml> {
    let kept = tree.entries().iter().filter(|(alias, _)| cut.catalogs.contains(&(name.to_owned(), alias.clone())));
    some_map(kept.cloned().into_vec())
}

fn some_map(entries: Vec<(String, Yaml)>) -> Option<Yaml> {
    (!entries.is_empty()).then_some(Yaml::Map(entries))
}

/// The same for the settings in a root manifest: `pnpm.overrides`, `resolutions`, `pnpm.patchedDependencies`.
pub(super) fn prune_manifest(manifest: &mut Manifest, lock: Option<&Lock>, cut: &Cut) {
    let Some(lock) = lock else { return };
    let known = overrides(lock, cut);
    let prune = |map: &mut Map<String, Value>| {
        map.retain(|selector, value| match known.get(selector.as_str()) {
            Some(Some(kept)) => {
                *value = Value::from(*kept);
                true
            }
            Some(None) => false,
            None => true,
        });
    };
    prune(&mut manifest.resolutions);
    if let Some(Value::Object(map)) = manifest.pnpm.get_mut("overrides") {
        prune(map);
    }
    if let Some(Value::Object(map)) = manifest.pnpm.get_mut("patchedDependencies") {
        let known = patches(lock, cut);
        map.retain(|selector, _| known.get(selector.as_str()) != Some(&false));
    }
    manifest.pnpm.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
}

/// The patch files that a root manifest names.
pub(super) fn patch_files(manifest: &Manifest) -> Vec<String> {
    let patches = manifest.pnpm.get("patchedDependencies").and_then(Value::as_object);
    patches.into_iter().flatten().filter_map(|(_, path)| patch_file(path.as_str()?)).into_vec()
}

/// A patch that a config dependency brings lies in `node_modules/.pnpm-config`: pnpm fetches it before anything is installed.
fn patch_file(path: &str) -> Option<String> {
    join(".", path).filter(|path| !path.split('/').any(|part| part == "node_modules"))
}

/// The patch files that a settings file names.
pub(super) fn patch_files_of(tree: &Yaml) -> Vec<String> {
    let patches = tree.get("patchedDependencies").map_or(&[][..], Yaml::entries);
    patches.iter().filter_map(|(_, path)| patch_file(path.as_str()?)).into_vec()
}

/// The repository's files that settings have for values, whoever installs: certificates (`cafile`), a shell (`scriptShell`), a list of
/// packages (`onlyBuiltDependenciesFile`). What is cut names folders, versions and patches.
pub(super) fn files_of_values(workspace: &Workspace, tree: &Tree) -> Vec<String> {
    const CUT: [&str; 5] = ["packages", "catalog", "catalogs", "overrides", "patchedDependencies"];
    let mut paths = Vec::new();
    let mut add = |value: &str| paths.extend(join(".", value));
    let manifest = &workspace.package(workspace.root_package()).manifest;
    manifest.pnpm.values().filter_map(Value::as_str).for_each(&mut add);
    let lines = workspace.npmrc().unwrap_or_default().lines().filter_map(|line| line.split_once('='));
    lines.for_each(|(_, value)| add(value.trim().trim_matches(['"', '\''])));
    let settings = workspace.settings().map_or(&[][..], Yaml::entries);
    let whole = settings.iter().filter(|(key, _)| !CUT.contains(&key.as_str()));
    whole.for_each(|(_, value)| value.scalars(&mut add));
    paths.retain(|path| tree.get(path).is_some_and(|file| file.mode != Mode::Submodule));
    paths
}

/// Where pnpm's hooks are: `.pnpmfile.cjs`, `.pnpmfile.mjs`, and what the `pnpmfile` setting names.
pub(super) fn hook_files(workspace: &Workspace) -> Vec<String> {
    let mut all = vec![".pnpmfile.cjs".to_owned(), ".pnpmfile.mjs".to_owned()];
    let mut add = |path: &str| all.extend(join(".", path));
    if let Some(setting) = workspace.settings().and_then(|tree| tree.get("pnpmfile")) {
        setting.scalars(&mut add);
    }
    let lines = workspace.npmrc().unwrap_or_default().lines().filter_map(|line| line.split_once('='));
    lines.filter(|(key, _)| key.trim() == "pnpmfile").for_each(|(_, path)| add(path.trim().trim_matches('"')));
    all
}

/// Every `'./…'` and `'../…'` literal of a script.
pub(super) fn relative_literals(text: &str) -> Vec<&str> {
    let literal = |(at, quote): (usize, char)| {
        let rest = &text[at + 1..];
        let inner = &rest[..rest.find([quote, '\n'])?];
        (inner.starts_with("./") || inner.starts_with("../")).then_some(inner)
    };
    text.char_indices().filter(|(_, c)| matches!(c, '\'' | '"' | '`')).filter_map(literal).into_vec()
}
