//! Whose file is whose: the files of each package, and the shared ones at the root that packages' TypeScript settings reach. The
//! files come from git's view of the tree, less what the ignore file excludes; nothing else is looked at.

use std::path::Path;
use std::sync::OnceLock;

use super::git::{File, Mode, Tree};
use super::graph::Closure;
use super::load::{PackageId, Workspace};
use super::package::Package;
use monoship_core::collect::Collect as _;
use monoship_core::sorted::SortedSet;

pub mod imports;
mod json;

pub(crate) use imports::written;
pub use json::with_comments;
pub(crate) use reach::LOOKED_UP;
mod reach;

use imports::Import;
use reach::Reached;

/// The files of a workspace by package.
pub struct Sources<'t> {
    tree: &'t Tree,
    by_package: Vec<Vec<&'t File>>,
    submodules: Vec<&'t File>,
    /// What each package's settings and links reach outside of it.
    reach: Vec<OnceLock<Reached>>,
    looks_up: Vec<OnceLock<bool>>,
    /// What each package's sources import from outside of it.
    imports: Vec<OnceLock<Vec<Import>>>,
    /// What the install's settings have for values.
    of_settings: OnceLock<Vec<String>>,
    root_package: PackageId,
}

impl<'t> Sources<'t> {
    /// Gives each of `files` (sorted by path; those of `tree` that the ignore file leaves) to the package with the longest folder
    /// that holds it. What lies in a package's own `node_modules` is an install's, and nobody's source.
    pub fn new(workspace: &Workspace, tree: &'t Tree, files: impl IntoIterator<Item = &'t File>) -> Self {
        let count = workspace.packages().len();
        let mut by_package = vec![Vec::new(); count];
        let mut submodules = Vec::new();
        // Neighbours mostly share a folder: the last answer saves most of the look-ups.
        let mut last: Option<(&str, Option<PackageId>)> = None;
        for file in files {
            let dir = parent(&file.path);
            let owner = match last {
                Some((known, owner)) if known == dir => owner,
                _ => {
                    let id = workspace.owner(dir);
                    let modules = workspace.package(id).path("node_modules");
                    let installed = Path::new(dir).starts_with(&modules);
                    (!installed).then_some(id)
                }
            };
            last = Some((dir, owner));
            if let Some(id) = owner {
                by_package[id.0 as usize].push(file);
                submodules.extend((file.mode == Mode::Submodule).then_some(file));
            }
        }
        let root_package = workspace.root_package();
        let (reach, looks_up, imports) = (cells(count), cells(count), cells(count));
        Self { tree, by_package, submodules, reach, looks_up, imports, of_settings: OnceLock::new(), root_package }
    }

    /// True where git has nothing of a package that lies on disk: its folder is ignored. What lies behind a link is told by that.
    pub fn lacks(&self, package: &Package) -> bool {
        let is_there = |above: &Path| above.to_str().is_some_and(|path| self.tree.get(path).is_some());
        self.tree.outside_git().is_none()
            && self.tree.under(if package.dir == "." { "" } else { &package.dir }).is_empty()
            && !Path::new(&package.dir).ancestors().any(is_there)
    }

    /// The whole tree the files are from.
    #[must_use]
    pub fn tree(&self) -> &'t Tree {
        self.tree
    }

    /// The files of a package, sorted by path. The root package's are all that no other package has.
    #[must_use]
    pub fn of(&self, id: PackageId) -> &[&'t File] {
        &self.by_package[id.0 as usize]
    }

    /// The submodules among the files that are not checked out.
    pub fn submodules(&self) -> impl Iterator<Item = &'t File> {
        self.submodules.iter().copied()
    }

    /// The packages of a closure whose files are its sources.
    pub fn packages<'c>(&self, closure: &'c Closure) -> impl Iterator<Item = PackageId> + use<'c> {
        let (root, root_files) = (self.root_package, closure.root_files);
        closure.packages.iter().copied().filter(move |id| *id != root || root_files)
    }

    /// The files outside a closure's packages that belong to its sources all the same: everything that the `extends` of its packages'
    /// `tsconfig*.json` reach, what their `files`, `include`, `paths` and `typeRoots` name at the root, what the other files directly in a
    /// package's folder (`vite.config.ts` and its like) and its build scripts name there, what its symbolic links lead to, and the root's own
    /// settings where a TypeScript package has none (elsewhere they are nobody's input: mostly they list every package). Folders outside
    /// every package that its packages link to are sources too.
    #[must_use]
    pub fn shared(&self, workspace: &Workspace, closure: &Closure) -> SortedSet<&'t str> {
        let mut all = SortedSet::new();
        for id in self.looking(workspace, closure) {
            let reached = self.reached(workspace, id);
            let places = reached.places.iter().filter(|(_, owner)| !self.is_source(closure, *owner));
            all.extend(places.map(|(at, _)| &*self.tree.files()[*at].path));
        }
        for dir in closure.linked_folders.iter().chain(&closure.copied_folders) {
            all.extend(self.tree.under(dir).iter().map(|file| &*file.path));
        }
        all
    }

    /// Symbolic links of a closure's packages that lead to what git does not have, each with its target.
    pub(super) fn dangling<'s>(
        &'s self,
        workspace: &'s Workspace,
        closure: &'s Closure,
    ) -> impl Iterator<Item = &'s (String, String)> {
        self.packages(closure).flat_map(|id| &self.reached(workspace, id).dangling)
    }

    /// The packages whose settings count for a closure: its own, and the root's where one of them has none.
    fn looking<'s>(&'s self, workspace: &'s Workspace, closure: &'s Closure) -> impl Iterator<Item = PackageId> + use<'s, 't> {
        let looks_up =
            self.packages(closure).any(|id| *self.looks_up[id.0 as usize].get_or_init(|| self.looks_up(workspace, id)));
        self.packages(closure).chain(looks_up.then_some(self.root_package))
    }

    /// True where the files of a package are among a closure's sources.
    pub(super) fn is_source(&self, closure: &Closure, owner: PackageId) -> bool {
        closure.packages.contains(&owner) && (owner != self.root_package || closure.root_files)
    }

    fn reached(&self, workspace: &Workspace, id: PackageId) -> &Reached {
        self.reach[id.0 as usize].get_or_init(|| reach::reached(self, workspace, id))
    }

    /// What a package's sources import by a path that leads out of the package. Reads each of them, so this is asked only for what is
    /// written anyway.
    pub(super) fn imports(&self, workspace: &Workspace, id: PackageId) -> &[Import] {
        self.imports[id.0 as usize].get_or_init(|| imports::imports(self, workspace, id))
    }

    /// The files that settings of the install have for values; looked for once.
    pub(super) fn of_settings(&self, find: impl FnOnce() -> Vec<String>) -> &[String] {
        self.of_settings.get_or_init(find)
    }

    /// True where git has a file or folder: what it does not have, a build makes.
    pub(super) fn has(&self, path: &str) -> bool {
        self.tree.get(path).is_some() || !self.tree.under(path).is_empty()
    }

    /// True where a file is among those of its package that the ignore file leaves.
    pub(super) fn holds(&self, owner: PackageId, path: &str) -> bool {
        self.of(owner).binary_search_by(|file| (*file.path).cmp(path)).is_ok()
    }

    /// True where a package has TypeScript and no settings of its own, so that compilers look for some above it.
    fn looks_up(&self, workspace: &Workspace, id: PackageId) -> bool {
        let own = workspace.package(id).path("tsconfig.json");
        let is_typescript =
            |file: &&File| Path::new(&*file.path).extension().is_some_and(|e| matches!(e.to_str(), Some("ts" | "tsx")));
        self.tree.get(&own).is_none() && self.of(id).iter().copied().any(|file| is_typescript(&file))
    }
}

fn cells<T>(count: usize) -> Vec<OnceLock<T>> {
    (0..count).map(|_| OnceLock::new()).into_vec()
}

/// The folder a path lies in; `.` at the root.
#[must_use]
pub fn parent(path: &str) -> &str {
    path.rfind('/').map_or(".", |at| &path[..at])
}
