//! What of a workspace one package needs, as plain data: the files of its install layer and of its production install, and its
//! sources. Nothing is written here; `context` writes what a plan says.
//!
//! The install layer holds what `pnpm install --frozen-lockfile` reads and nothing else, so that an edit to a source leaves it
//! alone. Commands (`bin` files) are in it as stubs of their first line: pnpm links only commands that are there, and reads no more
//! of them than the `#!` line. A command that a build makes is not there in a full checkout either, and pnpm 10 does not link it
//! in either case: such a package has to be installed again after its build, or commit a file that imports the built one.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::git::Mode;
use super::glob::Patterns;
use super::graph::{Absent, Closure, Scope};
use super::load::{LOCK, LockState, PackageId, SETTINGS, Workspace, own_lock, renewed};
use super::package::{INSTALL_SCRIPTS, PREPARE_SCRIPTS};
use super::sources::imports::{Import, is_script};
use super::sources::{Sources, parent};
use super::tools::is_test;
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::secret::Secret;
use monoship_core::sorted::{SortedMap, SortedSet};
use pnpm::lock::{Cut, Missing, Named, short_hash};

mod layer;
mod settings;
#[cfg(test)]
pub(super) mod tests;

/// A text that several contexts share, and what tells it from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Arc<(String, Arc<str>)>);

impl Text {
    /// The text and its hash.
    #[must_use]
    pub fn new(text: String) -> Self {
        let hash = short_hash(&[&text]);
        Self(Arc::new((text, hash)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.0
    }
}

/// What a file of a context holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// This text.
    Text(Text),
    /// This text, executable: a command's first line.
    Stub(Arc<str>),
    /// The lock, or a package's own, cut to the closure.
    Lock,
    /// The repository's file at this path.
    Copy(String),
}

/// The files of one install.
#[derive(Debug, Clone)]
pub struct Install {
    /// What is installed.
    pub closure: Closure,
    /// The files by their path in the context.
    pub files: SortedMap<String, Content>,
    cut: Cut,
    /// Of each of [`Workspace::lock_files`].
    locks: OnceLock<SortedMap<String, String>>,
}

impl Install {
    fn new(workspace: &Workspace, sources: &Sources<'_>, target: PackageId, scope: Scope) -> Self {
        let closure = workspace.closure(target, scope);
        let cut = workspace.cut(&closure);
        let files = layer::files(workspace, sources, &closure, &cut);
        Self { closure, files, cut, locks: OnceLock::new() }
    }

    /// The text of the lock at `path` in this context, made once: `pnpm-lock.yaml`, or where each package has its own
    /// `<folder>/pnpm-lock.yaml`. Empty where there is none.
    #[must_use]
    pub fn lock_text<'a>(&'a self, workspace: &'a Workspace, path: &str) -> &'a str {
        let lock = match workspace.lock() {
            LockState::Scanned(lock) => lock,
            LockState::Whole { text, .. } => return text,
        };
        let cut = |path: &str| lock.cut(parent(path), &self.cut).unwrap_or_default();
        let made = || workspace.lock_files(&self.closure.packages).into_iter().map(|path| (path.clone(), cut(&path))).into_map();
        self.locks.get_or_init(made).get(path).map_or("", String::as_str)
    }

    /// The lock's entries in this context: see [`Workspace::lock_slice`].
    #[must_use]
    pub fn lock_slice(&self, workspace: &Workspace) -> Vec<Named> {
        workspace.lock_slice(&self.cut)
    }

    /// Every file but the lock, with what tells its content from another: the first 16 hexadecimal digits of a text's
    /// SHA-256, or git's mode and blob id. Together with [`Install::lock_slice`] it describes the context for a fingerprint.
    #[must_use]
    pub fn entries(&self, sources: &Sources<'_>) -> Vec<Named> {
        let value = |content: &Content| -> Option<Arc<str>> {
            match content {
                Content::Lock => None,
                Content::Text(text) => Some(Arc::clone(&text.0.1)),
                Content::Stub(text) => Some(format!("stub {}", short_hash(&[text])).into()),
                Content::Copy(path) => {
                    let file = sources.tree().get(path);
                    Some(file.map_or_else(String::new, |file| format!("{} {}", file.mode.as_str(), file.id)).into())
                }
            }
        };
        self.files.iter().filter_map(|(path, content)| Some((path.as_str().into(), value(content)?))).into_vec()
    }
}

/// What a package needs.
#[derive(Debug)]
pub struct PrunePlan {
    /// The package.
    pub target: PackageId,
    /// What it takes to build it: the install layer, development dependencies included.
    pub manifests: Install,
    /// What it takes to run it.
    pub production: Install,
    /// The files outside the closure's packages that are sources too; the packages' own are in [`Sources::of`].
    pub shared: SortedSet<String>,
    /// What the user should know; each a sentence without a full stop.
    pub warnings: Vec<String>,
    /// The same where the install runs the packages' own scripts, as pnpm does with manifests that have them.
    pub script_warnings: Vec<String>,
}

impl PrunePlan {
    /// Plans the contexts of a package. With `root`, the root package's own dependencies are installed too.
    ///
    /// # Errors
    /// When a package of the closure holds a file whose name is not UTF-8, or a submodule that is not checked out, or the install
    /// needs a file that git does not have.
    pub fn new(workspace: &Workspace, sources: &Sources<'_>, target: PackageId, root: bool) -> Result<Self> {
        // A lock that cannot be cut cannot be rid of development dependencies either.
        let production = workspace.scanned().is_some();
        let manifests = Install::new(workspace, sources, target, Scope { production: false, root });
        let production = Install::new(workspace, sources, target, Scope { production, root });
        refuse(workspace, sources, &manifests)?;
        let mut plan =
            Self { target, manifests, production, shared: SortedSet::new(), warnings: Vec::new(), script_warnings: Vec::new() };
        plan.shared = plan.shared(workspace, sources);
        plan.warnings = warnings(workspace, sources, &plan.manifests);
        plan.warnings.extend(undeclared(workspace, &plan));
        plan.script_warnings = script_warnings(workspace, &plan.manifests.closure);
        Ok(plan)
    }

    /// The same with the production closure in both installs and for the sources.
    #[must_use]
    pub fn production_only(mut self, workspace: &Workspace, sources: &Sources<'_>) -> Self {
        self.manifests = self.production.clone();
        self.shared = self.shared(workspace, sources);
        self
    }

    /// The same with the files among its sources that these patterns name (relative to the root; a folder stands for all below it), also
    /// where the ignore file leaves them out.
    ///
    /// # Errors
    /// A pattern that names no file.
    pub fn including(mut self, workspace: &Workspace, sources: &Sources<'_>, patterns: &[String]) -> Result<Self> {
        for pattern in patterns {
            let wanted = Patterns::new([pattern.as_str()]);
            let found = sources.tree().files().iter().filter(|file| wanted.takes(&file.path));
            let found: Vec<&str> = found.map(|file| &*file.path).into_vec();
            if found.is_empty() {
                let error = Error::usage(format!("`include` names `{pattern}`, and git has no such file"));
                return Err(error.hint("write it from the repository's root: `vite.shared.mjs`, `prisma/**`"));
            }
            let closure = &self.manifests.closure;
            let is_there = |path: &&str| {
                let owner = workspace.owner(path);
                sources.is_source(closure, owner) && sources.holds(owner, path)
            };
            self.shared.extend(found.into_iter().filter(|path| !is_there(path)).map(str::to_owned));
        }
        Ok(self)
    }

    /// Imports of its sources that lead to files which are not among them, each told with what can be done. Reads every script of the
    /// closure: this is for who writes the sources.
    #[must_use]
    pub fn left_out(&self, workspace: &Workspace, sources: &Sources<'_>) -> Vec<String> {
        let told = self.lacking(workspace, sources).map(|Import { file, line, named, to }| {
            if is_of_packages(workspace, sources, to) {
                return format!("{file}:{line} reads `{named}`, a folder of packages: name those that it needs in the `dependencies` of its package");
            }
            if !sources.has(to) {
                let maker = workspace.package(workspace.owner(to)).name();
                return format!("{file}:{line} needs `{named}`, which a build of {maker} makes: name {maker} in the `dependencies` of its package");
            }
            format!("{file}:{line} needs `{named}`, which the sources leave out: name it, `include = [\"{to}\"]` under its [[service]]")
        });
        told.into_vec()
    }

    /// The same as a `[[service]]` can include it: folders, where no package lies in one, since what is imported imports what lies beside it;
    /// or else files. What tests import is for them.
    #[must_use]
    pub fn to_include(&self, workspace: &Workspace, sources: &Sources<'_>) -> SortedSet<String> {
        let is_apart = |folder: &str| {
            folder != "."
                && sources.tree().under(folder).iter().all(|file| workspace.owner(&file.path) == workspace.root_package())
        };
        let lacking = self.lacking(workspace, sources).filter(|import| !is_test(&import.file) && sources.has(&import.to));
        let lacking = lacking.filter(|import| !is_of_packages(workspace, sources, &import.to));
        let place = |to: &str| Some(parent(to)).filter(|folder| is_script(to) && is_apart(folder)).unwrap_or(to).to_owned();
        let all: SortedSet<String> = lacking.map(|import| place(&import.to)).into_set();
        let is_within =
            |path: &String| Path::new(path).ancestors().skip(1).any(|above| all.iter().any(|one| Path::new(one) == above));
        all.iter().filter(|path| !is_within(path)).cloned().into_set()
    }

    fn lacking<'s>(&'s self, workspace: &'s Workspace, sources: &'s Sources<'_>) -> impl Iterator<Item = &'s Import> {
        let closure = &self.manifests.closure;
        let is_left_out = move |import: &&Import| {
            let owner = workspace.owner(&import.to);
            let is_held = || sources.holds(owner, &import.to) || !sources.has(&import.to);
            let there = sources.is_source(closure, owner) && is_held();
            let below = sources.tree().under(&import.to);
            let is_within = |id: &PackageId| Path::new(&workspace.package(*id).dir).starts_with(&import.to);
            if is_of_packages(workspace, sources, &import.to) {
                return !closure.packages.iter().any(|id| *id != closure.target && is_within(id));
            }
            let is_shared = if below.is_empty() {
                self.shared.contains(&import.to) || self.manifests.files.contains_key(&import.to)
            } else {
                below.iter().any(|file| self.shared.contains(&*file.path))
            };
            !there && !is_shared
        };
        sources.packages(closure).flat_map(|id| sources.imports(workspace, id)).filter(is_left_out)
    }

    fn shared(&self, workspace: &Workspace, sources: &Sources<'_>) -> SortedSet<String> {
        sources.shared(workspace, &self.manifests.closure).into_iter().map(str::to_owned).into_set()
    }

    /// The paths of the sources, sorted within each package.
    pub fn source_paths<'a>(&'a self, sources: &'a Sources<'_>) -> impl Iterator<Item = &'a str> {
        let own = sources.packages(&self.manifests.closure).flat_map(|id| sources.of(id)).map(|file| &*file.path);
        own.chain(self.shared.iter().map(String::as_str))
    }

    /// The same without the package itself, but with its manifest, which says what it needs.
    pub fn dependency_paths<'a>(&'a self, workspace: &Workspace, sources: &'a Sources<'_>) -> impl Iterator<Item = &'a str> {
        let closure = &self.manifests.closure;
        let manifest = workspace.package(closure.target).path("package.json");
        let others = sources.packages(closure).filter(|id| *id != closure.target).flat_map(|id| sources.of(id));
        let own = sources.of(closure.target).iter().filter(move |file| *file.path == *manifest);
        others.chain(own).map(|file| &*file.path).chain(self.shared.iter().map(String::as_str))
    }
}

/// True of a folder in which each file is a package's: `packages`.
fn is_of_packages(workspace: &Workspace, sources: &Sources<'_>, path: &str) -> bool {
    let below = sources.tree().under(path);
    let is_packages = |path: &str| workspace.owner(path) != workspace.root_package();
    !below.is_empty() && !is_packages(path) && below.iter().all(|file| is_packages(&file.path))
}

fn refuse(workspace: &Workspace, sources: &Sources<'_>, install: &Install) -> Result<()> {
    let closure = &install.closure;
    if let Some(absent) = closure.absent.first() {
        return Err(not_there(workspace, sources, absent));
    }
    if let Some(error) = closure.packages.iter().find_map(|id| workspace.not_locked(*id)) {
        return Err(error);
    }
    if let Some(package) = closure.packages.iter().map(|id| workspace.package(*id)).find(|package| sources.lacks(package)) {
        let error = Error::usage(format!("{} is a package of the workspace, and git does not have it", package.dir));
        let file = package.path("package.json");
        let hint = format!(
            "commit it; `git check-ignore --verbose {file}` names the line of a .gitignore that leaves it out of every clone"
        );
        return Err(error.at(workspace.root().join(file), None).hint(hint));
    }
    if let Some(Missing { dir, line, key }) = closure.missing.first() {
        let error = Error::usage(format!("the lock names `{key}` and has no entry for it"));
        let hint = "it was cut off, or merged by hand: bring it back, or `pnpm install --fix-lockfile`, and commit it";
        return Err(error.at(workspace.root().join(own_lock(dir)), Some(*line)).hint(hint));
    }
    let in_closure = |path: &str| sources.is_source(closure, workspace.owner(path));
    if let Some(name) = sources.tree().odd_names().iter().find(|name| in_closure(name)) {
        let error = Error::usage(format!("`{name}` has a name that is not UTF-8"));
        return Err(error.hint("rename it; no build context can carry it faithfully"));
    }
    if let Some(file) = sources.submodules().find(|file| in_closure(&file.path)) {
        let error = Error::usage(format!("the submodule `{}` is not checked out", file.path));
        let by_mistake =
            "a repository that was added with `git add` and that `.gitmodules` does not name is none: git has no file of it";
        return Err(error.hint(format!("run `git submodule update --init {}`; {by_mistake}", file.path)));
    }
    if let Some(dir) = closure.copied_folders.iter().find(|dir| sources.tree().under(dir).is_empty()) {
        let error = Error::usage(format!("the install copies the folder `{dir}`, but git tracks no file in it"));
        return Err(error.hint("restore it, or check whether .gitignore excludes it"));
    }
    let lacks = |content: &Content| matches!(content, Content::Copy(from) if sources.tree().get(from).is_none());
    match install.files.iter().find(|(_, content)| lacks(content)) {
        Some((path, _)) => Err(Error::usage(format!("the install needs `{path}`, which git does not have"))
            .hint("commit it, or check whether .gitignore excludes it")),
        None => Ok(()),
    }
}

/// The error for a package of the workspace that something needs. pnpm itself goes on without it, frozen lock or not.
fn not_there(workspace: &Workspace, sources: &Sources<'_>, absent: &Absent) -> Error {
    let by = workspace.package(absent.by);
    let (name, needs) = (&absent.name, by.path("package.json"));
    let dir = absent.dir.as_deref().unwrap_or_default();
    let submodule = Path::new(dir).ancestors().filter_map(|above| sources.tree().get(above.to_str()?));
    let hint = if let Some(submodule) = submodule.into_iter().find(|file| file.mode == Mode::Submodule) {
        let path = &submodule.path;
        format!("`{path}` is a submodule that is not checked out: `git submodule update --init --recursive {path}`")
    } else if dir.is_empty() {
        format!(
            "no package under `packages:` in {SETTINGS} has this name; restore it, or remove it from {needs} and run `pnpm install`"
        )
    } else {
        format!("{LOCK} has it in `{dir}`; bring that folder back, or take it out of {needs} and run `pnpm install`")
    };
    Error::usage(format!("{} needs the workspace package `{name}`, which is not there", by.dir)).hint(hint)
}

fn warnings(workspace: &Workspace, sources: &Sources<'_>, install: &Install) -> Vec<String> {
    let closure = &install.closure;
    let mut all = Vec::new();
    if let LockState::Whole { refusal, .. } = workspace.lock() {
        let (line, reason) = (refusal.line, &refusal.reason);
        let renew = if reason.contains("lockfileVersion") { format!("; {}", renewed(reason)) } else { String::new() };
        all.push(format!("{LOCK}:{line}: {reason}: the whole lock is used, so any change to it rebuilds this{renew}"));
    }
    let mut behind = closure.packages.iter().filter_map(|id| workspace.behind(*id));
    if let Some(first) = behind.next() {
        let more = match behind.count() {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        all.push(format!(
            "{first}{more}: pnpm refuses such an install; `pnpm install --lockfile-only` brings the lock up to date"
        ));
    }
    if let Some((line, key)) = install.files.get(".npmrc").and_then(|_| written_out(workspace.npmrc()?)) {
        all.push(format!(
            ".npmrc:{line}: `{key}` has its secret written out, and whoever copies the install's context gets it: write a variable there, \
             `${{NPM_TOKEN}}`, and give it to the install as a build secret"
        ));
    }
    for path in &closure.outside {
        all.push(format!("the link to `{path}` leaves the repository and will lead nowhere"));
    }
    for dir in closure.linked_folders.iter().filter(|dir| sources.tree().under(dir).is_empty()) {
        all.push(format!("the folder `{dir}` is linked to, and git has no file of it: the link will lead nowhere"));
    }
    for (link, target) in sources.dangling(workspace, closure) {
        all.push(format!("the link `{link}` leads to `{target}`, which git does not have: it will lead nowhere"));
    }
    for (id, file) in closure.undeclared.iter().filter(|(_, file)| *file != "package.json") {
        let package = workspace.package(*id);
        all.push(format!(
            "{file} leads to {}, which that package does not depend on: it is taken along; add \"{}\": \"workspace:*\" to its package.json",
            package.dir,
            package.name()
        ));
    }
    all
}

/// The first line of an `.npmrc` that has a credential itself, and no variable for it, with its key. What it has is shown nowhere from then on.
fn written_out(npmrc: &str) -> Option<(usize, &str)> {
    let mut found = None;
    for (at, line) in npmrc.lines().enumerate() {
        let Some((key, value)) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim().trim_matches(['"', '\''])))
        else {
            continue;
        };
        let is_credential = ["_authToken", "_auth", "_password"].contains(&key.rsplit(':').next().unwrap_or(key));
        if is_credential && !key.starts_with(['#', ';']) && !value.is_empty() && !value.contains("${") {
            let _learnt = Secret::new(value);
            found = found.or(Some((at + 1, key)));
        }
    }
    found
}

/// Packages whose scripts a closure names by path (a bundler's alias) and does not depend on: what these import is not installed.
fn undeclared(workspace: &Workspace, plan: &PrunePlan) -> Vec<String> {
    let scripts = plan.shared.iter().filter(|path| is_script(path)).map(|path| workspace.owner(path));
    let named: SortedSet<PackageId> = scripts
        .filter(|id| *id != workspace.root_package() && !plan.manifests.closure.packages.contains(id))
        .filter(|id| workspace.package(*id).manifest.all_dependencies().any(|(_, _, dev)| !dev))
        .into_set();
    let target = &workspace.package(plan.target).dir;
    let told = named.into_iter().map(|id| {
        let package = workspace.package(id);
        format!(
            "{target} names files of {} by their path and does not depend on it: what they import is not installed; add \"{}\": \"workspace:*\" to its package.json",
            package.dir,
            package.name()
        )
    });
    told.into_vec()
}

fn script_warnings(workspace: &Workspace, closure: &Closure) -> Vec<String> {
    let mut all = Vec::new();
    for id in closure.packages.iter().filter(|id| !closure.injected.contains(id) && **id != workspace.root_package()) {
        let package = workspace.package(*id);
        if let Some(script) = INSTALL_SCRIPTS.iter().find(|script| package.manifest.scripts.contains_key(**script)) {
            let dir = &package.dir;
            let left_out = if PREPARE_SCRIPTS.contains(script) { "; a production install does without it" } else { "" };
            all.push(format!(
                "{dir}: its `{script}` script runs at install, when of its sources only files that the script names are there{left_out}"
            ));
        }
    }
    all
}
