//! What leads where: from package to package, from package to lock entry; and the closure of it all from one package. The
//! graph is the union of what the lock links and what the manifests say, as either can lack a link. No I/O here.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::load::{PackageId, Workspace};
use monoship_core::collect::Collect as _;
use monoship_core::name::sha256_hex;
use monoship_core::sorted::{Order as _, SortedMap, SortedSet};
use pnpm::join;
use pnpm::lock::{Cut, Field, KeepFields, Local, Lock, Missing, Named, Target};

/// What a package leads to directly. The flag says that only its development dependencies do.
#[derive(Debug, Default)]
pub(super) struct Links {
    packages: SortedMap<PackageId, bool>,
    snapshots: Vec<(u32, bool)>,
    folders: Vec<(String, bool)>,
    outside: Vec<(String, bool)>,
    missing: Vec<(Missing, bool)>,
    absent: Vec<(Absent, bool)>,
}

/// A package of the workspace that a manifest or the lock leads to, and that is not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Absent {
    /// Whose dependency it is.
    pub by: PackageId,
    /// Its name, as a dependency.
    pub name: String,
    /// The folder where the lock has it.
    pub dir: Option<String>,
}

impl Links {
    fn package(&mut self, id: PackageId, dev: bool) {
        self.packages.entry(id).and_modify(|only_dev| *only_dev &= dev).or_insert(dev);
    }

    /// A folder that is linked to: a package's, a folder within a package's (what it publishes), or one of its own.
    fn folder(&mut self, workspace: &Workspace, dir: String, dev: bool) {
        match package_of(workspace, &dir) {
            Some(id) => self.package(id, dev),
            None => self.folders.push((dir, dev)),
        }
    }
}

/// The package that a linked folder is, or lies in; none where only the root's folder holds it.
fn package_of(workspace: &Workspace, dir: &str) -> Option<PackageId> {
    let id = workspace.owner(dir);
    (id != workspace.root_package() || dir == ".").then_some(id)
}

/// The links of every package.
pub(super) fn links(workspace: &Workspace) -> Vec<Links> {
    workspace.ids().map(|id| package_links(workspace, id)).into_vec()
}

fn package_links(workspace: &Workspace, id: PackageId) -> Links {
    let package = workspace.package(id);
    let mut links = Links::default();
    let mut locked = SortedSet::new();
    let lock = workspace.scanned();
    if let Some((lock, importer)) = lock.and_then(|lock| Some((lock, lock.importer(&package.dir)?))) {
        for (field, dependency) in lock.dependencies(importer) {
            let dev = field == Field::Development;
            locked.insert(dependency.alias.as_str());
            match &dependency.target {
                Target::Snapshot(snapshot) => links.snapshots.push((*snapshot, dev)),
                Target::Link(dir) if leads_nowhere(workspace, dir, &dependency.alias, &dependency.specifier) => {
                    let absent = Absent { by: id, name: dependency.alias.clone(), dir: Some(dir.clone()) };
                    links.absent.push((absent, dev));
                }
                Target::Link(dir) => links.folder(workspace, dir.clone(), dev),
                Target::Outside(path) => links.outside.push((path.clone(), dev)),
                Target::Missing(key) => links.missing.push((key.clone(), dev)),
            }
        }
    }
    for (name, specifier, dev) in package.manifest.all_dependencies() {
        if let Some(rest) = specifier.strip_prefix("workspace:") {
            let dir = join(&package.dir, rest).filter(|_| rest.starts_with('.'));
            let found = match &dir {
                Some(dir) => package_of(workspace, dir),
                None => workspace.by_name(real_name(name, rest)),
            };
            match found {
                Some(id) => links.package(id, dev),
                // What the lock leads to was judged above.
                None if locked.contains(name) => {}
                None => links.absent.push((Absent { by: id, name: name.to_owned(), dir }, dev)),
            }
        } else if let Some(path) = specifier.strip_prefix("link:").or_else(|| specifier.strip_prefix("file:")) {
            let dir = join(&package.dir, path).filter(|dir| workspace.by_dir(dir).is_some());
            dir.and_then(|dir| workspace.by_dir(&dir)).into_iter().for_each(|id| links.package(id, dev));
        } else if !locked.contains(name) {
            workspace.by_name(name).into_iter().for_each(|id| links.package(id, dev));
        }
    }
    links
}

/// The package that a `workspace:` range is about: `workspace:other@^1` is an alias; the range alone has no `@` past its start.
fn real_name<'a>(alias: &'a str, range: &'a str) -> &'a str {
    range.rfind('@').filter(|at| *at > 0).map_or(alias, |at| &range[..at])
}

/// True where the lock links a dependency to a package of the workspace, by its name or a range, and its folder is not there: a submodule
/// that is not checked out, a folder that was deleted. Another package's folder may hold it, as it may hold what that package publishes.
fn leads_nowhere(workspace: &Workspace, dir: &str, alias: &str, specifier: &str) -> bool {
    if workspace.by_dir(dir).is_some() || ["link:", "file:"].iter().any(|by_path| specifier.starts_with(by_path)) {
        return false;
    }
    let range = specifier.strip_prefix("workspace:").unwrap_or_default();
    let by_path = range.starts_with('.');
    let published = |id| by_path || workspace.package(id).manifest.name.as_deref() == Some(real_name(alias, range));
    !package_of(workspace, dir).is_some_and(published)
}

/// How far a closure goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// Without development dependencies.
    pub production: bool,
    /// With the root package's own dependencies, as an unfiltered `pnpm install` in the pruned workspace installs them.
    pub root: bool,
}

impl Scope {
    /// What it takes to build a package: `pnpm install --filter "package..."`.
    pub const BUILD: Self = Self { production: false, root: false };
    /// What it takes to run it: `pnpm install --prod --filter "package..."`.
    pub const PRODUCTION: Self = Self { production: true, root: false };
}

/// A package and everything it leads to.
#[derive(Debug, Clone)]
pub struct Closure {
    /// The package it was taken from.
    pub target: PackageId,
    /// How far it goes.
    pub scope: Scope,
    /// The packages, the target among them; the root only where it is a target or someone's dependency, or `scope.root` is set.
    pub packages: SortedSet<PackageId>,
    /// True where the root package is in for what it is, and not only for its dependencies: its files are then sources.
    pub root_files: bool,
    /// Those of them that an install copies into `node_modules` (`injected`, `file:`), and so needs with their content.
    pub injected: SortedSet<PackageId>,
    /// For each lock entry (`snapshots`), whether it is in; empty where the lock could not be scanned.
    pub snapshots: Vec<bool>,
    /// Folders outside every package that are linked to.
    pub linked_folders: SortedSet<String>,
    /// Folders outside every package that are copied into `node_modules`.
    pub copied_folders: SortedSet<String>,
    /// Tarballs in the repository.
    pub tarballs: SortedSet<String>,
    /// Links that leave the repository, as written.
    pub outside: SortedSet<String>,
    /// Lock entries that something refers to and the lock lacks.
    pub missing: SortedSet<Missing>,
    /// Packages of the workspace that are not there.
    pub absent: SortedSet<Absent>,
    /// The root's dependencies that its packages use without having them; empty where the root itself is in.
    pub tools: SortedSet<String>,
    /// Those of the packages that no manifest of the others leads to, each with the file that does; the root's manifest among them, whose
    /// dependencies every package can import.
    pub undeclared: SortedMap<PackageId, String>,
}

impl Closure {
    /// True where a package's development dependencies are in.
    #[must_use]
    pub fn with_dev(&self, id: PackageId) -> bool {
        !self.scope.production || self.injected.contains(&id)
    }
}

impl Workspace {
    /// The closure of a package.
    #[must_use]
    pub fn closure(&self, target: PackageId, scope: Scope) -> Closure {
        let count = self.scanned().map_or(0, Lock::snapshot_count);
        let closure = Closure {
            target,
            scope,
            packages: SortedSet::new(),
            root_files: false,
            injected: SortedSet::new(),
            snapshots: vec![false; count],
            linked_folders: SortedSet::new(),
            copied_folders: SortedSet::new(),
            tarballs: SortedSet::new(),
            outside: SortedSet::new(),
            missing: SortedSet::new(),
            absent: SortedSet::new(),
            tools: SortedSet::new(),
            undeclared: SortedMap::new(),
        };
        let mut walk = Walk { workspace: self, closure, packages: vec![target], snapshots: Vec::new() };
        walk.run();
        if !scope.production {
            walk.undeclared();
        }
        walk.closure.root_files = walk.closure.packages.contains(&self.root_package());
        if scope.root {
            walk.packages.push(self.root_package());
        } else if !walk.closure.root_files {
            walk.tools();
        }
        walk.run();
        walk.closure
    }

    /// What of the lock a closure keeps.
    #[must_use]
    pub fn cut(&self, closure: &Closure) -> Cut {
        let Some(lock) = self.scanned() else { return Cut::default() };
        let mut importers = BTreeMap::new();
        importers.extend(lock.importer(".").map(|root| (root, None)));
        for id in &closure.packages {
            let fields = if closure.with_dev(*id) { KeepFields::All } else { KeepFields::Production };
            importers.extend(lock.importer(&self.package(*id).dir).map(|importer| (importer, Some(fields))));
        }
        let usage = self.usage();
        Cut {
            importers,
            snapshots: closure.snapshots.clone(),
            parts: lock
                .importer(".")
                .filter(|_| !closure.tools.is_empty())
                .map(|root| (root, closure.tools.iter().cloned().collect()))
                .into_iter()
                .collect(),
            catalogs: usage.catalogs(self, closure),
            overrides: usage.overrides(closure),
            patches: usage.patches(closure),
        }
    }

    /// The lock entries of a cut, each with the first 16 hexadecimal digits of a SHA-256 over its lines: `snapshots` under
    /// their own keys, importers under `importer <folder>`, everything else as `settings`. A lock that could not be scanned
    /// is one entry, `pnpm-lock.yaml`. Sorted, where the lock is.
    #[must_use]
    pub fn lock_slice(&self, cut: &Cut) -> Vec<Named> {
        let short = |text: &str| -> Arc<str> { sha256_hex(text.as_bytes())[..16].into() };
        let lock = match self.lock() {
            super::load::LockState::Scanned(lock) => lock,
            super::load::LockState::Whole { text, .. } => return vec![(super::load::LOCK.into(), short(text))],
        };
        let importers = cut.importers.iter().map(|(importer, fields)| match cut.parts.get(importer) {
            Some(_) => {
                let name = format!("importer {}", lock.importer_dir(*importer));
                (name.into(), short(&lock.importer_of(*importer, *fields, cut)))
            }
            None => lock.importer_entry(*importer, *fields),
        });
        let others: SortedMap<_, _> = importers.chain([("settings".into(), short(&lock.cut_settings(cut)))]).into_map();
        // The lock is sorted already: one pass puts the few others between its many entries.
        let mut others = others.into_iter().peekable();
        let mut slice = Vec::with_capacity(cut.snapshots.len());
        for snapshot in kept(&cut.snapshots) {
            let entry = lock.snapshot_entry(snapshot);
            while let Some(other) = others.next_if(|(name, _)| *name < entry.0) {
                slice.push(other);
            }
            slice.push(entry);
        }
        slice.extend(others);
        if lock.is_split() {
            // Each file is sorted, and they stand one behind another.
            slice.order();
        }
        slice
    }
}

/// The indices that are set.
pub(super) fn kept(flags: &[bool]) -> impl Iterator<Item = u32> {
    flags.iter().zip(0..).filter(|(keep, _)| **keep).map(|(_, index)| index)
}

struct Walk<'a> {
    workspace: &'a Workspace,
    closure: Closure,
    packages: Vec<PackageId>,
    snapshots: Vec<u32>,
}

impl Walk<'_> {
    fn run(&mut self) {
        loop {
            if let Some(id) = self.packages.pop() {
                self.package(id);
            } else if let Some(lock) = self.workspace.scanned().filter(|_| !self.snapshots.is_empty()) {
                let open = std::mem::take(&mut self.snapshots);
                let lead_out = lock.reach(open, &mut self.closure.snapshots);
                lead_out.into_iter().for_each(|snapshot| self.out_of_lock(lock, snapshot));
            } else {
                return;
            }
        }
    }

    /// Takes along the packages that settings lead to, and what these need.
    fn undeclared(&mut self) {
        let workspace = self.workspace;
        let mut open: Vec<PackageId> = self.closure.packages.iter().copied().into_vec();
        while let Some(id) = open.pop() {
            for (to, file) in workspace.projects(id) {
                if !self.closure.packages.contains(to) {
                    let before = self.closure.packages.clone();
                    self.closure.undeclared.insert(*to, file.clone());
                    self.packages.push(*to);
                    self.run();
                    open.extend(self.closure.packages.difference(&before));
                }
            }
        }
    }

    /// Takes along what the packages use of the root's dependencies.
    fn tools(&mut self) {
        let (workspace, production) = (self.workspace, self.closure.scope.production);
        let used = self.closure.packages.iter().map(|id| workspace.tools(*id));
        self.closure.tools = used.flat_map(|tools| if production { &tools.run } else { &tools.build }).cloned().into_set();
        let Some(lock) = workspace.scanned() else { return };
        let Some(root) = lock.importer(".") else { return };
        for (_, dependency) in lock.dependencies(root).filter(|(_, dependency)| self.closure.tools.contains(&dependency.alias)) {
            match &dependency.target {
                Target::Snapshot(snapshot) => self.snapshots.push(*snapshot),
                Target::Link(dir) => match package_of(workspace, dir).filter(|id| *id != workspace.root_package()) {
                    Some(id) if self.closure.packages.contains(&id) => {}
                    Some(id) => {
                        self.closure.undeclared.insert(id, "package.json".to_owned());
                        self.packages.push(id);
                    }
                    None => drop(self.closure.linked_folders.insert(dir.clone())),
                },
                Target::Outside(path) => drop(self.closure.outside.insert(path.clone())),
                Target::Missing(key) => drop(self.closure.missing.insert(key.clone())),
            }
        }
    }

    fn package(&mut self, id: PackageId) {
        if !self.closure.packages.insert(id) {
            return;
        }
        self.follow(id);
    }

    fn follow(&mut self, id: PackageId) {
        let workspace = self.workspace;
        let links = workspace.links(id);
        let with_dev = self.closure.with_dev(id);
        let wanted = |dev: bool| with_dev || !dev;
        self.packages.extend(links.packages.iter().filter(|(_, dev)| wanted(**dev)).map(|(id, _)| *id));
        self.snapshots.extend(links.snapshots.iter().filter(|(_, dev)| wanted(*dev)).map(|(snapshot, _)| *snapshot));
        let folders = links.folders.iter().filter(|(_, dev)| wanted(*dev));
        self.closure.linked_folders.extend(folders.map(|(dir, _)| dir.clone()));
        let outside = links.outside.iter().filter(|(_, dev)| wanted(*dev));
        self.closure.outside.extend(outside.map(|(path, _)| path.clone()));
        let missing = links.missing.iter().filter(|(_, dev)| wanted(*dev));
        self.closure.missing.extend(missing.map(|(key, _)| key.clone()));
        let absent = links.absent.iter().filter(|(_, dev)| wanted(*dev));
        self.closure.absent.extend(absent.map(|(absent, _)| absent.clone()));
    }

    /// Follows what an entry of the lock leads to beside others.
    fn out_of_lock(&mut self, lock: &Lock, snapshot: u32) {
        let workspace = self.workspace;
        match lock.local(snapshot) {
            None => {}
            Some(Local::Tarball(path)) => {
                self.closure.tarballs.insert(path.clone());
            }
            Some(Local::Folder(dir)) => match package_of(workspace, dir) {
                Some(id) => self.inject(id),
                None => {
                    self.closure.copied_folders.insert(dir.clone());
                }
            },
        }
        for (_, target) in lock.targets(snapshot) {
            match target {
                Target::Snapshot(_) => {}
                Target::Link(dir) => match package_of(workspace, dir) {
                    Some(id) => self.packages.push(id),
                    None => {
                        self.closure.linked_folders.insert(dir.clone());
                    }
                },
                Target::Outside(path) => {
                    self.closure.outside.insert(path.clone());
                }
                Target::Missing(key) => {
                    self.closure.missing.insert(key.clone());
                }
            }
        }
    }

    /// An injected package is copied with its manifest as it is, so its importer keeps its development dependencies.
    fn inject(&mut self, id: PackageId) {
        if self.closure.injected.insert(id) {
            self.closure.packages.insert(id);
            self.follow(id);
        }
    }
}
