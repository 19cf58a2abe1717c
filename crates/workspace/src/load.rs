//! The workspace as a value: its packages, its settings file, its lock, and what leads from one to the other. Reads files once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::contents::{Commit, Contents};
use super::glob::Patterns;
use super::graph::{self, Links};
use super::package::{Manifest, Package, discover, unfinished_merge};
use super::projects;
use super::prune::Text;
use super::tools::{self, Tools};
use super::usage::Usage;
use crate::yaml::{self, Yaml};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, read_text};
use monoship_core::execute::cores;
use monoship_core::sorted::{Order as _, SortedMap};
use pnpm::lock::{Lock, Refusal};

mod branch;
mod locks;

pub(crate) use self::locks::own_lock;
pub use self::locks::{LockState, renewed};

/// The workspace's settings file.
pub const SETTINGS: &str = "pnpm-workspace.yaml";
/// The workspace's lock file.
pub const LOCK: &str = "pnpm-lock.yaml";

/// A package's place in [`Workspace::packages`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId(pub(super) u32);

/// A pnpm workspace.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    contents: Contents,
    packages: Vec<Package>,
    by_dir: HashMap<String, PackageId>,
    by_name: HashMap<String, PackageId>,
    settings: Option<Yaml>,
    npmrc: Option<String>,
    lock: LockState,
    /// The locks that could not be read, where each package has its own, by folder.
    unread: SortedMap<String, Refusal>,
    links: Vec<Links>,
    usage: OnceLock<Usage>,
    /// For each package its reduced manifest, for building and for production.
    reduced: Vec<[OnceLock<Text>; 2]>,
    /// For each package what it uses of the root's dependencies.
    tools: Vec<OnceLock<Tools>>,
    /// For each package those that its settings lead to and its manifest does not name.
    projects: Vec<OnceLock<SortedMap<PackageId, String>>>,
    /// For each package what its lock lacks of it.
    behind: Vec<OnceLock<Option<String>>>,
}

impl Workspace {
    /// Reads the workspace at `root`: settings, manifests, lock. A folder without `pnpm-workspace.yaml` is a workspace of one package.
    ///
    /// # Errors
    /// When there is no root `package.json` or no lock, or a file cannot be read or is malformed.
    pub fn load(root: &Path) -> Result<Self> {
        let settings = read_if_there(&root.join(SETTINGS))?.map(|text| parse_settings(root, &text)).transpose()?;
        let npmrc = read_if_there(&root.join(".npmrc"))?;
        let file = root.join(branch::lock_file(root, settings.as_ref(), npmrc.as_deref()));
        let contents = Contents::Disk(root.to_owned());
        if is_split(settings.as_ref(), npmrc.as_deref()) {
            let packages = discover(root, &patterns(settings.as_ref()))?;
            return Self::split(contents, root, settings, packages, npmrc);
        }
        let (packages, lock) = cores::join(
            || discover(root, &patterns(settings.as_ref())),
            || read_if_there(&file)?.map(|text| LockState::of(text, &file)).transpose(),
        );
        let packages = packages?;
        Self::assemble(contents, root, settings, packages, npmrc, (lock?, SortedMap::new()))
    }

    /// The workspace as it is in a commit.
    ///
    /// # Errors
    /// As [`Workspace::load`].
    pub fn of_commit(commit: Commit) -> Result<Self> {
        let root = commit.root().to_owned();
        let settings = commit.text(SETTINGS).map(|text| parse_settings(&root, &text)).transpose()?;
        let wanted = patterns(settings.as_ref());
        let mut packages = Vec::new();
        for file in commit.tree().files() {
            let Some(dir) = file.path.strip_suffix("package.json") else { continue };
            let dependency = dir.split('/').any(|part| matches!(part, "node_modules" | "bower_components"));
            let dir = match dir.strip_suffix('/') {
                Some(dir) if !dependency && wanted.wants(dir) => dir,
                None if dir.is_empty() => ".",
                _ => continue,
            };
            if let Some(text) = commit.text(&file.path) {
                packages.push(Package { dir: dir.to_owned(), manifest: Manifest::parse(&text, &root.join(&*file.path))? });
            }
        }
        packages.order_by(|a, b| a.dir.cmp(&b.dir));
        let npmrc = commit.text(".npmrc");
        if is_split(settings.as_ref(), npmrc.as_deref()) {
            return Self::split(Contents::Commit(commit), &root, settings, packages, npmrc);
        }
        let lock = commit.text(LOCK).map(|text| LockState::of(text, &root.join(LOCK))).transpose()?;
        Self::assemble(Contents::Commit(commit), &root, settings, packages, npmrc, (lock, SortedMap::new()))
    }

    /// The workspace of packages that have a lock each.
    fn split(
        contents: Contents,
        root: &Path,
        settings: Option<Yaml>,
        packages: Vec<Package>,
        npmrc: Option<String>,
    ) -> Result<Self> {
        let of = |package: &Package| Some((package.dir.clone(), contents.text(&package.path(LOCK))?));
        let files: Vec<(String, String)> = packages.iter().filter_map(of).into_vec();
        let mut unread = SortedMap::new();
        let lock = (!files.is_empty()).then(|| LockState::each(files, &mut unread));
        Self::assemble(contents, root, settings, packages, npmrc, (lock, unread))
    }

    fn assemble(
        contents: Contents,
        root: &Path,
        settings: Option<Yaml>,
        packages: Vec<Package>,
        npmrc: Option<String>,
        (lock, unread): (Option<LockState>, SortedMap<String, Refusal>),
    ) -> Result<Self> {
        if !packages.iter().any(|package| package.dir == ".") {
            let hint = "write one with `{ \"private\": true }`, run `pnpm install`, and commit both it and the lock: pnpm does without, this cannot yet";
            return Err(Error::usage("no package.json at the workspace root").at(root.join("package.json"), None).hint(hint));
        }
        let lock = lock.ok_or_else(|| {
            let hint = "run `pnpm install --lockfile-only` and commit the lock; without it no install can be reproduced";
            Error::usage("there is no pnpm lock file").at(root.join(LOCK), None).hint(hint)
        })?;
        let ids = || (0..).map(PackageId);
        let by_dir: HashMap<_, _> = packages.iter().map(|package| package.dir.clone()).zip(ids()).collect();
        let names = packages.iter().zip(ids()).filter_map(|(package, id)| Some((package.manifest.name.clone()?, id)));
        let by_name: HashMap<_, _> = names.collect();
        let (usage, links) = (OnceLock::new(), Vec::new());
        let reduced = packages.iter().map(|_| Default::default()).into_vec();
        let tools = packages.iter().map(|_| OnceLock::new()).into_vec();
        let projects = packages.iter().map(|_| OnceLock::new()).into_vec();
        let behind = packages.iter().map(|_| OnceLock::new()).into_vec();
        let root = root.to_owned();
        let mut workspace = Self {
            root,
            contents,
            packages,
            by_dir,
            by_name,
            settings,
            npmrc,
            lock,
            unread,
            links,
            usage,
            reduced,
            tools,
            projects,
            behind,
        };
        workspace.links = graph::links(&workspace);
        Ok(workspace)
    }

    /// The folder it was read from.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What its files hold.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The packages, by folder.
    #[must_use]
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// Every package's place, in the order of [`Workspace::packages`].
    pub fn ids(&self) -> impl Iterator<Item = PackageId> + use<> {
        (0..u32::try_from(self.packages.len()).unwrap_or(u32::MAX)).map(PackageId)
    }

    /// A package by its place.
    #[must_use]
    pub fn package(&self, id: PackageId) -> &Package {
        &self.packages[id.0 as usize]
    }

    /// The package of a folder (relative, `.` for the root).
    #[must_use]
    pub fn by_dir(&self, dir: &str) -> Option<PackageId> {
        self.by_dir.get(dir).copied()
    }

    /// The package of a name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<PackageId> {
        self.by_name.get(name).copied()
    }

    /// The root package.
    #[must_use]
    pub fn root_package(&self) -> PackageId {
        self.by_dir["."]
    }

    /// The package that a file or folder belongs to: the one with the longest folder that holds it; the root's where no other's does.
    #[must_use]
    pub fn owner(&self, path: &str) -> PackageId {
        let mut dir = path;
        loop {
            if let Some(id) = self.by_dir(dir) {
                return id;
            }
            match dir.rfind('/') {
                Some(at) => dir = &dir[..at],
                None => return self.root_package(),
            }
        }
    }

    /// A package by name, by folder, or by the last part of its folder where only one has it.
    ///
    /// # Errors
    /// When there is none, or more than one; the hint names the nearest.
    pub fn find(&self, text: &str) -> Result<PackageId> {
        let text = text.trim_end_matches('/').trim_start_matches("./");
        if let Some(id) = self.by_name(text).or_else(|| self.by_dir(text)) {
            return Ok(id);
        }
        let last = |dir: &str| dir.rsplit('/').next().unwrap_or(dir) == text;
        let found: Vec<PackageId> = self.ids().filter(|id| last(&self.package(*id).dir)).into_vec();
        match found[..] {
            [id] => Ok(id),
            [] => Err(self.unknown(text)),
            _ => {
                let dirs: Vec<&str> = found.iter().map(|id| self.package(*id).dir.as_str()).into_vec();
                Err(Error::usage(format!("more than one package is called `{text}`"))
                    .hint(format!("name one of {}", dirs.join(", "))))
            }
        }
    }

    fn unknown(&self, text: &str) -> Error {
        let names = self.packages.iter().filter(|package| package.dir != ".");
        let names = names.flat_map(|package| {
            let dir = package.dir.as_str();
            [package.name(), dir, dir.rsplit('/').next().unwrap_or(dir)]
        });
        let near = names.map(|name| (strsim::damerau_levenshtein(name, text), name)).min().filter(|(far, _)| *far <= 3);
        let hint = near.map_or_else(
            || format!("`packages:` in {SETTINGS} says where packages are"),
            |(_, name)| format!("did you mean `{name}`?"),
        );
        Error::usage(format!("no package `{text}` in this workspace")).at(self.root.join(SETTINGS), None).hint(hint)
    }

    /// The settings file, where there is one.
    #[must_use]
    pub fn settings(&self) -> Option<&Yaml> {
        self.settings.as_ref()
    }

    /// The text of the root's `.npmrc`, where there is one.
    #[must_use]
    pub fn npmrc(&self) -> Option<&str> {
        self.npmrc.as_deref()
    }

    /// The lock.
    #[must_use]
    pub fn lock(&self) -> &LockState {
        &self.lock
    }

    /// The lock, where it can be cut.
    #[must_use]
    pub fn scanned(&self) -> Option<&Lock> {
        if let LockState::Scanned(lock) = &self.lock { Some(lock) } else { None }
    }

    /// True where each package has a lock of its own (`sharedWorkspaceLockfile: false`).
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.scanned().is_some_and(Lock::is_split)
    }

    /// True where pnpm puts what packages bring to where every package finds it.
    #[must_use]
    pub fn hoists(&self) -> bool {
        let (settings, npmrc) = (self.settings.as_ref(), self.npmrc.as_deref());
        let is = |name, kebab, wanted| branch::setting(settings, npmrc, name, kebab).is_some_and(|(value, _)| value == wanted);
        let patterns = settings.and_then(|tree| tree.get("publicHoistPattern")).map_or(&[][..], Yaml::items);
        let in_npmrc = npmrc.unwrap_or_default().lines().filter_map(|line| line.trim().strip_prefix("public-hoist-pattern"));
        is("shamefullyHoist", "shamefully-hoist", "true")
            || is("nodeLinker", "node-linker", "hoisted")
            || patterns.iter().any(|pattern| pattern.as_str() == Some("*"))
            || in_npmrc
                .filter_map(|line| line.split_once('='))
                .any(|(_, pattern)| pattern.trim().trim_matches(['"', '\'']) == "*")
    }

    /// The options that pnpm starts Node with, for whatever script.
    #[must_use]
    pub fn node_options(&self) -> Option<&str> {
        let set = branch::setting(self.settings.as_ref(), self.npmrc.as_deref(), "nodeOptions", "node-options");
        set.map(|(value, _)| value).filter(|value| !value.is_empty())
    }

    pub(super) fn links(&self, id: PackageId) -> &Links {
        &self.links[id.0 as usize]
    }

    pub(super) fn reduced_cell(&self, id: PackageId, production: bool) -> &OnceLock<Text> {
        &self.reduced[id.0 as usize][usize::from(production)]
    }

    pub(super) fn tools(&self, id: PackageId) -> &Tools {
        self.tools[id.0 as usize].get_or_init(|| tools::of(self, id))
    }

    pub(super) fn projects(&self, id: PackageId) -> &SortedMap<PackageId, String> {
        self.projects[id.0 as usize].get_or_init(|| projects::of(self, id))
    }

    pub(super) fn usage(&self) -> &Usage {
        self.usage.get_or_init(|| Usage::new(self))
    }
}

fn read_if_there(path: &Path) -> Result<Option<String>> {
    if path.exists() { read_text(path).map(Some) } else { Ok(None) }
}

fn parse_settings(root: &Path, text: &str) -> Result<Yaml> {
    let path = root.join(SETTINGS);
    let malformed = |e: yaml::YamlError| unfinished_merge(text, &path).unwrap_or(Error::usage(e.message).at(&path, Some(e.line)));
    let mut documents = yaml::parse(text).map_err(malformed)?;
    match documents.len() {
        0 => Ok(Yaml::Map(Vec::new())),
        1 => {
            let tree = documents.remove(0);
            match tree.get("packages") {
                Some(Yaml::Scalar { text: one, .. }) if !one.is_empty() => {
                    let line = text.lines().position(|line| line.starts_with("packages")).map(|at| at + 1);
                    let error = Error::usage("`packages` must be a list, and here it is a string").at(&path, line);
                    Err(error.hint(format!("write it on a line of its own: `  - {one}`")))
                }
                _ => Ok(tree),
            }
        }
        _ => Err(Error::usage("more than one YAML document").at(&path, None)),
    }
}

/// Without `packages:` the root is the only package, as pnpm 10 and later read it.
fn patterns(settings: Option<&Yaml>) -> Patterns {
    let items = settings.and_then(|tree| tree.get("packages")).map_or(&[][..], Yaml::items);
    Patterns::new(items.iter().filter_map(Yaml::as_str))
}

/// True where every package has a lock of its own.
fn is_split(settings: Option<&Yaml>, npmrc: Option<&str>) -> bool {
    let found = branch::setting(settings, npmrc, "sharedWorkspaceLockfile", "shared-workspace-lockfile");
    found.is_some_and(|(value, _)| value == "false")
}
