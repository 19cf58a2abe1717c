//! Reading the monorepo: its packages, Dockerfile, ignore rules and git's view of it, all at once. Nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::sent::{self, Known};
use crate::{STATE, Session, checkout};
use monoship_core::collect::Sorted as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_plan::fingerprint::Inputs;
use monoship_workspace::Workspace;
use monoship_workspace::dockerfile::{self, ContextSource, Dockerfile, Slice};
use monoship_workspace::dockerignore::Ignore;
use monoship_workspace::git::{Git, Scan, Tree};
use monoship_workspace::load::SETTINGS;

/// A monorepo as it is on disk.
pub struct Project {
    /// Its root: the working tree, or a release's checkout.
    pub root: PathBuf,
    /// Its packages, their graph and their lock.
    pub workspace: Workspace,
    /// The Dockerfile.
    pub dockerfile: Dockerfile,
    /// What the main context leaves out.
    pub ignore: Ignore,
    /// Git's view of it.
    pub tree: Arc<Tree>,
    /// What a builder is sent of it; see [`Project::sent`].
    pub known: Known,
}

impl Project {
    /// The packages' folders with their names.
    pub fn packages(&self) -> BTreeMap<String, String> {
        self.workspace.packages().iter().map(|package| (package.dir.clone(), package.name().to_owned())).into_map()
    }
}

/// A look at the working tree that was begun with the command, before its configuration was known. Whoever loads the project first takes it.
#[derive(Clone, Default)]
pub struct EarlyScan(Arc<Mutex<Option<JoinHandle<Result<Scan>>>>>);

impl EarlyScan {
    /// Begins it, on a thread of its own: who starts a child waits until that runs, which takes milliseconds where the processors are busy.
    /// Where git cannot be asked, whoever needs the answer will be told.
    pub fn begin(git: &Git) -> Self {
        let git = git.clone();
        Self(Arc::new(Mutex::new(Some(thread::spawn(move || git.scan())))))
    }

    fn take(&self) -> Option<Scan> {
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        begun.join().ok()?.ok()
    }
}

/// Refuses to go on where a file that one of the images is made of was edited since the monorepo was read: an image is known by the
/// fingerprint of what was read, also to whoever meets its content tag in the registry.
///
/// # Errors
/// The first such file; git failures.
pub fn check_unchanged(session: &Session, project: &Project, images: &[&Inputs]) -> Result<()> {
    let now = session.git().in_worktree(&project.root).worktree()?;
    let mut changed: BTreeSet<String> = project.tree.changed(&now).into_keys().collect();
    let mut new = BTreeSet::new();
    if let Some(sent) = project.last_sent().filter(|_| images.iter().any(|inputs| inputs.main.is_some())) {
        let again = sent.again(&project.root, &now, &project.ignore, STATE)?;
        let differs = sent.changed(&again);
        new.extend(differs.iter().filter(|path| project.tree.get(path).is_none()).cloned());
        changed.extend(differs);
    }
    let counts = |path: &&String| {
        let is_counted = images.iter().any(|inputs| inputs.count_on(path));
        **path == session.config.images.dockerfile || new.contains(*path) || is_counted
    };
    match changed.iter().find(counts) {
        Some(path) => Err(Error::failed(format!("`{path}` was edited while the run was under way"))
            .hint("run this again: the image would be taken for one without that edit")),
        None => sent::check_times(session, project, images),
    }
}

/// Reads the monorepo at `root`. A checkout is completed by what the build needs.
///
/// # Errors
/// A missing or malformed file, with its place; what a checkout's patterns leave out; git failures.
pub fn load(session: &Session, root: &Path) -> Result<Project> {
    let project = read(session, root)?;
    if root == session.home { Ok(project) } else { checkout::complete(session, project, || read(session, root)) }
}

fn read(session: &Session, root: &Path) -> Result<Project> {
    let dockerfile_path = root.join(&session.config.images.dockerfile);
    let git = session.git().in_worktree(root);
    let scan = session.early_scan.take().filter(|_| root == session.home);
    let (tree, (workspace, files)) = rayon::join(
        || git.worktree_from(scan.map_or_else(|| git.scan(), Ok)),
        || rayon::join(|| Workspace::load(root), || docker_files(&dockerfile_path, root)),
    );
    // The files' errors first: they are nearer to the user than git's.
    let (dockerfile, ignore) = files?;
    let (workspace, tree) = (workspace?, tree?);
    if workspace.settings().is_none() && session.config.services.is_empty() {
        return Err(Error::usage("is missing, and without it no folder is a package")
            .at(root.join(SETTINGS), None)
            .hint("write it, `packages: [apps/*, packages/*]`, or say in xtask.toml which [[service]] has which package"));
    }
    if let Some(why) = tree.outside_git() {
        let hint = "every file is read on each run; in a git repository only changed ones are".to_owned();
        session.events.notice(Level::Warning, None, why, Some(hint));
    }
    Ok(Project { root: root.to_owned(), workspace, dockerfile, ignore, tree: Arc::new(tree), known: Known::default() })
}

fn docker_files(dockerfile: &Path, root: &Path) -> Result<(Dockerfile, Ignore)> {
    let ignore = match dockerfile::ignore_file(dockerfile, root) {
        Some(path) => Ignore::load(&path)?,
        None => Ignore::default(),
    };
    Ok((dockerfile::load(dockerfile)?, ignore))
}

/// Checks that a sparse checkout holds what the steps of these slices can see: without a file of it `COPY config/ …` would make another image.
/// That was seen to when it was read, for the services as they are configured; this is for what a run says of its own.
///
/// # Errors
/// Names what the checkout's patterns leave out, and the line that copies it.
pub fn check_copied(project: &Project, slices: &[Slice<'_>]) -> Result<()> {
    let absent: Vec<&String> = project.tree.absent().iter().filter(|path| !project.ignore.excludes(path)).collect();
    let sources: BTreeSet<&ContextSource> = slices.iter().flat_map(Slice::sources).collect();
    let copied = sources.iter().find_map(|source| absent.iter().find(|path| source.sees(path)).map(|path| (path, source.line)));
    copied.map_or(Ok(()), |(path, line)| Err(checkout::left_out(project, path, Some(line))))
}
