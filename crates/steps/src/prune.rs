//! The pruned contexts of one package of any pnpm workspace, on disk: what `build` hands to a builder, for who builds by other means. Nothing is
//! removed or overwritten that an earlier run did not write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result, write_derived};
use monoship_core::execute::cores;
use monoship_core::execute::shutdown::Shutdown;
use monoship_core::sorted::Order as _;
use monoship_plan::config::Config;
use monoship_workspace::context::{self, Item, Written, write_files, write_install, write_sources};
use monoship_workspace::dockerfile::ignore_file;
use monoship_workspace::dockerignore::Ignore;
use monoship_workspace::git::{File, Git, Tree};
use monoship_workspace::load::LOCK;
use monoship_workspace::prune::{Content, Install};
use monoship_workspace::sources::parent;
use monoship_workspace::{Closure, PackageId, PrunePlan, Scope, Sources, Workspace};
use pnpm::join;

/// What is to be pruned, and where to.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// The workspace's root.
    pub workspace: PathBuf,
    /// The package: its name, its folder, or the last part of its folder.
    pub package: String,
    /// Where the contexts go.
    pub out: PathBuf,
    /// The user's home folder, where it is known.
    pub home: Option<PathBuf>,
    /// What else is in their folders is removed.
    pub overwrite: bool,
    /// The Dockerfile, relative to the workspace: its ignore file counts.
    pub dockerfile: String,
    /// For each package that is a service what is to be included, by its folder or its name.
    pub include: Vec<(String, Vec<String>)>,
    /// Only what running the package takes: no development dependencies.
    pub production: bool,
    /// The folders of `turbo prune --docker`: `json/` to install from, `full/` to build from, the lock beside them. The root's
    /// own dependencies are kept, as its Dockerfiles install without a filter.
    pub docker: bool,
}

impl PruneOptions {
    /// What the configuration says of pruning.
    #[must_use]
    pub fn by(self, config: &Config) -> Self {
        let include = config.services.iter().map(|service| (service.package.clone(), service.include.clone()));
        Self { dockerfile: config.images.dockerfile.clone(), include: include.into_vec(), ..self }
    }

    /// The folders that are written.
    fn folders(&self) -> Vec<PathBuf> {
        let names: &[&str] = match (self.docker, self.production) {
            (true, _) => &["json", "full"],
            (false, true) => &["production", "sources"],
            (false, false) => &["manifests", "production", "sources"],
        };
        names.iter().map(|name| self.out.join(name)).into_vec()
    }
}

/// What was written, for `--json`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PruneReport {
    /// The package.
    pub package: String,
    /// Where the contexts are.
    pub out: PathBuf,
    /// The folders of the packages in its closure.
    pub packages: Vec<String>,
    /// Lock entries kept, and how many there are; both zero where the lock is used whole.
    pub lock_entries: [usize; 2],
    /// True where the lock could not be cut; a warning says why.
    pub whole_lock: bool,
    /// Files in the contexts.
    pub files: usize,
    /// Files that had to be written.
    pub changed: usize,
    /// Files and folders that were removed.
    pub removed: usize,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Writes the contexts.
///
/// # Errors
/// An unknown package, a missing or malformed file, a link that leaves the repository, and whatever cannot be read or written.
pub fn write(options: &PruneOptions, shutdown: &Shutdown) -> Result<PruneReport> {
    let root = &options.workspace;
    let git = Git::at(root, shutdown);
    // A thread of its own: waiting for git, it would keep one of rayon's from the lock.
    let (workspace, index) = std::thread::scope(|scope| {
        let index = scope.spawn(|| git.index());
        (Workspace::load(root), index.join())
    });
    let (workspace, index) = (workspace?, index.unwrap_or_else(|_| Err(Error::failed("a thread that ran git ended badly"))));
    let target = workspace.find(&options.package)?;
    let out = refuse_place(&workspace, options)?;
    refuse_strangers(options)?;
    let closure = workspace.closure(target, Scope { production: false, root: options.docker });
    // Git need not look into the folders of packages that are left out: on a large workspace that is most of its time. Where the
    // lock is used whole, every package is in the install layer.
    let whole = closure.root_files || workspace.scanned().is_none();
    let tree = if whole { git.worktree()? } else { git.names(index, &relevant(&workspace, &closure)?)? };
    let ignore = match ignore_file(&root.join(&options.dockerfile), root) {
        Some(path) => Ignore::load(&path)?,
        None => Ignore::default(),
    };
    let sources = sources(&workspace, &tree, whole, &closure, &ignore, out.as_deref());
    let mut plan = PrunePlan::new(&workspace, &sources, target, options.docker)?;
    if options.production {
        plan = plan.production_only(&workspace, &sources);
    }
    let is_target = |package: &str| workspace.find(package).is_ok_and(|found| found == target);
    for (_, include) in options.include.iter().filter(|(package, _)| is_target(package)) {
        plan = plan.including(&workspace, &sources, include)?;
    }
    let left_out = plan.left_out(&workspace, &sources);
    plan.warnings.extend(left_out);
    // What installs from the written folder is not known here.
    plan.warnings.append(&mut plan.script_warnings);
    shutdown.check()?;
    let written = if options.docker {
        write_docker(&workspace, &sources, &plan, options)?
    } else if options.production {
        let mut written = write_install(&workspace, &sources, &plan.production, &options.out.join("production"))?;
        written += write_sources(&workspace, &sources, &plan, &options.out.join("sources"))?;
        written
    } else {
        context::write(&workspace, &sources, &plan, &options.out)?
    };
    Ok(report(&workspace, options, plan, target, written))
}

/// The files and folders that can hold something for a closure: everything but the other packages.
fn relevant(workspace: &Workspace, closure: &Closure) -> Result<Vec<String>> {
    let mut above = ["."].into_iter().into_set();
    for package in workspace.packages() {
        let mut dir = parent(&package.dir);
        while above.insert(dir) {
            dir = parent(dir);
        }
    }
    // With each folder that holds packages, whether its other files can matter: those of a package that is left out cannot.
    let (mut found, mut open) = (Vec::new(), vec![(".".to_owned(), true)]);
    while let Some((dir, matters)) = open.pop() {
        let folder = workspace.root().join(&dir);
        for entry in std::fs::read_dir(&folder).map_err(|e| Error::io("read", &folder, e))? {
            let name = entry.map_err(|e| Error::io("read", &folder, e))?.file_name();
            let name = name.to_str().filter(|name| !matches!(*name, ".git" | "node_modules"));
            let Some(path) = name.and_then(|name| join(&dir, name)) else { continue };
            let package = workspace.by_dir(&path);
            match package {
                Some(id) if closure.packages.contains(&id) => found.push(path),
                _ if above.contains(path.as_str()) => open.push((path, matters && package.is_none())),
                None if matters => found.push(path),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// The sources as the ignore file leaves them, without what an earlier run has written into the workspace. Whose package is left
/// out is not looked at, but where `whole` says that every package matters.
fn sources<'t>(
    workspace: &Workspace,
    tree: &'t Tree,
    whole: bool,
    closure: &Closure,
    ignore: &Ignore,
    out: Option<&str>,
) -> Sources<'t> {
    let mut files: Vec<&File> = if whole {
        tree.files().iter().into_vec()
    } else {
        let below = closure.packages.iter().flat_map(|id| tree.under(&workspace.package(*id).dir));
        tree.files().iter().filter(|file| !file.path.contains('/')).chain(below).into_vec()
    };
    // A package may lie in another's folder.
    files.order_by_key(|file| &file.path);
    files.dedup_by_key(|file| &file.path);
    let mut walker = ignore.walker();
    let written = |path: &str| out.is_some_and(|out| Path::new(path).starts_with(out));
    files.retain(|file| !walker.excludes(&file.path) && !written(&file.path));
    Sources::new(workspace, tree, files)
}

/// The output folder relative to the workspace, where it lies within. The root of the file system, a folder of the system's or the user's home
/// that hold something else, the repository, a folder that holds its packages and git's own are refused, whatever the flags say.
fn refuse_place(workspace: &Workspace, options: &PruneOptions) -> Result<Option<String>> {
    let (root, out) = (real(workspace.root())?, real(&options.out)?);
    let refuse = |why: &str| {
        let error = Error::usage(format!("`{}` {why}", options.out.display()));
        Err(error.hint("name a folder of its own with --out, for example `out`"))
    };
    if out.parent().is_none() {
        return refuse("is the root of the file system");
    }
    // Nothing there is called as what is written, and `.stamps` and three folders would be lost among the rest.
    let is_crowded = || !out.join(context::FOLDER).exists() && out.read_dir().is_ok_and(|mut there| there.next().is_some());
    if out.parent().is_some_and(|parent| parent.parent().is_none()) && is_crowded() {
        return refuse("is a folder of the system");
    }
    if options.home.as_ref().is_some_and(|home| real(home).is_ok_and(|home| home == out)) && is_crowded() {
        return refuse("is your home folder");
    }
    if root == out || options.folders().iter().any(|folder| real(folder).is_ok_and(|folder| root.starts_with(folder))) {
        return refuse("holds the repository");
    }
    let Some(relative) = out.strip_prefix(&root).ok().and_then(Path::to_str).and_then(|path| join(".", path)) else {
        return Ok(None);
    };
    if relative.split('/').any(|part| part == ".git") {
        return refuse("is git's");
    }
    if workspace.packages().iter().any(|package| Path::new(&package.dir).starts_with(&relative)) {
        return refuse("holds packages of the workspace");
    }
    Ok(Some(relative))
}

/// A path without links, as far as it is there.
fn real(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).map_err(|e| Error::io("find", path, e))?;
    let found = path.ancestors().find_map(|dir| Some((dir.canonicalize().ok()?, path.strip_prefix(dir).ok()?)));
    let joined = found.map(|(dir, rest)| if rest.as_os_str().is_empty() { dir } else { dir.join(rest) });
    // `..` behind what is not there: by name.
    let mut plain = PathBuf::new();
    for part in joined.unwrap_or_else(|| path.clone()).components() {
        match part {
            std::path::Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    Ok(plain)
}

/// Refuses to go on where a folder that is to be written holds what an earlier run did not write.
fn refuse_strangers(options: &PruneOptions) -> Result<()> {
    if options.overwrite {
        return Ok(());
    }
    let folders = options.folders();
    let checked = folders.iter().try_for_each(|folder| context::refuse_strangers(folder));
    let checked = checked.and_then(|()| if options.docker { context::refuse_stranger(&lock_file(options)) } else { Ok(()) });
    checked.map_err(|error| error.hint("name an empty folder with --out, or pass --overwrite to have it removed"))
}

fn lock_file(options: &PruneOptions) -> PathBuf {
    options.out.join(LOCK)
}

/// `json/`, `full/` and the lock.
fn write_docker(workspace: &Workspace, sources: &Sources<'_>, plan: &PrunePlan, options: &PruneOptions) -> Result<Written> {
    let (install, out) = (&plan.manifests, &options.out);
    let (json, full) = cores::join(
        || write_install(workspace, sources, install, &out.join("json")),
        || write_files(workspace, sources, &full(workspace, sources, plan, install), &out.join("full")),
    );
    let mut written = json?;
    written += full?;
    let lock = install.lock_text(workspace, LOCK);
    let path = lock_file(options);
    if lock.is_empty() {
        // Each package has its own, among the manifests, and the root needs none.
        return Ok(written);
    }
    let same = std::fs::read(&path).is_ok_and(|there| there == lock.as_bytes());
    if !same {
        write_derived(&path, lock.as_bytes())?;
    }
    context::note(&path)?;
    written += Written { files: 1, changed: usize::from(!same), removed: 0 };
    Ok(written)
}

/// Sources, and from the install layer what is not a package's: settings, lock, patches, the root's manifest.
fn full<'a>(
    workspace: &'a Workspace,
    sources: &'a Sources<'_>,
    plan: &'a PrunePlan,
    install: &'a Install,
) -> Vec<(&'a str, Item<'a>)> {
    let copy = |path: &'a str| (path, Item::Copy(path));
    let mut items: BTreeMap<&str, Item<'_>> = plan.source_paths(sources).map(copy).collect();
    let at_root = ["turbo.json", "turbo.jsonc", ".gitignore", ".npmrc"].into_iter();
    items.extend(at_root.filter(|path| sources.tree().get(path).is_some()).map(copy));
    for (path, content) in &install.files {
        let item = match content {
            // A package's manifest is in its sources as it is.
            Content::Text(_) if path.ends_with("/package.json") => continue,
            Content::Text(text) => Item::Text(text.as_str(), false),
            Content::Lock => Item::Text(install.lock_text(workspace, path), false),
            Content::Copy(from) if sources.tree().get(from).is_some() => Item::Copy(from),
            Content::Stub(_) | Content::Copy(_) => continue,
        };
        items.insert(path, item);
    }
    items.into_iter().into_vec()
}

fn report(workspace: &Workspace, options: &PruneOptions, plan: PrunePlan, target: PackageId, written: Written) -> PruneReport {
    let closure = &plan.manifests.closure;
    let kept = closure.snapshots.iter().filter(|kept| **kept).count();
    PruneReport {
        package: workspace.package(target).name().to_owned(),
        out: options.out.clone(),
        packages: closure.packages.iter().map(|id| workspace.package(*id).dir.clone()).into_vec(),
        lock_entries: [kept, closure.snapshots.len()],
        whole_lock: workspace.scanned().is_none(),
        files: written.files,
        changed: written.changed,
        removed: written.removed,
        warnings: plan.warnings,
    }
}
