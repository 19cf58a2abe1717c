//! Where pnpm hoists packages to where everybody finds them (`shamefully-hoist`, `public-hoist-pattern`, `node-linker=hoisted`), a package may
//! use what only a dependency of the root's brings: `next build` takes the TypeScript of the root's linter.

use super::load::{PackageId, Workspace};
use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedSet;
use pnpm::lock::{Lock, Target};

/// The root's dependencies that bring what a package uses and does not have. `candidates` are those that may, `uses` tells which of
/// some names the package uses.
pub(super) fn of(
    workspace: &Workspace,
    id: PackageId,
    candidates: &[(&str, bool)],
    uses: impl Fn(&SortedSet<&str>) -> SortedSet<String>,
) -> SortedSet<String> {
    let (Some(lock), true) = (workspace.scanned(), workspace.hoists()) else { return SortedSet::new() };
    let (Some(root), Some(own)) = (lock.importer("."), lock.importer(&workspace.package(id).dir)) else {
        return SortedSet::new();
    };
    let there = brought(lock, lock.dependencies(own).map(|(_, dependency)| &dependency.target));
    let mut brings: Vec<(&str, SortedSet<&str>)> = Vec::new();
    for (_, dependency) in lock.dependencies(root).filter(|(_, one)| candidates.iter().any(|(name, _)| *name == one.alias)) {
        let names = brought(lock, std::iter::once(&dependency.target));
        // What the root has by itself counts by itself.
        let is_open = |name: &&&str| !there.contains(**name) && !candidates.iter().any(|(candidate, _)| candidate == *name);
        brings.push((&dependency.alias, names.iter().filter(is_open).copied().into_set()));
    }
    let open: SortedSet<&str> = brings.iter().flat_map(|(_, names)| names).copied().into_set();
    let used = uses(&open);
    let of_use = brings.into_iter().filter(|(_, names)| used.iter().any(|name| names.contains(name.as_str())));
    of_use.map(|(alias, _)| alias.to_owned()).into_set()
}

/// The names of the packages that these lead to, however far.
fn brought<'l>(lock: &'l Lock, targets: impl Iterator<Item = &'l Target>) -> SortedSet<&'l str> {
    let (mut seen, mut names) = (vec![false; lock.snapshot_count()], SortedSet::new());
    let mut open: Vec<&Target> = targets.into_vec();
    while let Some(target) = open.pop() {
        let Target::Snapshot(at) = target else { continue };
        if std::mem::replace(&mut seen[*at as usize], true) {
            continue;
        }
        let key = lock.package_key(*at);
        names.insert(key.char_indices().skip(1).find(|(_, c)| *c == '@').map_or(key, |(at, _)| &key[..at]));
        open.extend(lock.targets(*at).map(|(_, target)| target));
    }
    names
}
