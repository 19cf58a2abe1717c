//! Reading the monorepo: its packages, Dockerfile, ignore rules and git's view of it, all at once. Nothing is decided here.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::sent::{self, Known};
use crate::{STATE, Session, checkout};
use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::event::Level;
use monoship_core::execute::cores;
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_plan::config::{Config, Own};
use monoship_plan::fingerprint::Inputs;
use monoship_plan::services::Service;
use monoship_workspace::Workspace;
use monoship_workspace::dockerfile::{self, ContextSource, Dockerfile, Slice, place};
use monoship_workspace::dockerignore::Ignore;
use monoship_workspace::git::{Git, Scan, Tree};
use monoship_workspace::load::SETTINGS;

/// A monorepo as it is on disk.
pub struct Project {
    /// Its root: the working tree, or a release's checkout.
    pub root: PathBuf,
    /// Its packages, their graph and their lock.
    pub workspace: Arc<Workspace>,
    /// The Dockerfile.
    pub dockerfile: Dockerfile,
    /// What the main context leaves out.
    pub ignore: Ignore,
    /// Git's view of it.
    pub tree: Arc<Tree>,
    /// What a builder is sent of it; see [`Project::sent`].
    pub known: Known,
    /// The same as services with a Dockerfile of their own are built of it, by Dockerfile and context.
    pub views: SortedMap<(String, String), Project>,
}

impl Project {
    /// What a service is built of: its own Dockerfile and context where it has them.
    pub fn view(&self, service: &Service) -> &Self {
        service.own.as_ref().and_then(|own| self.views.get(&(own.dockerfile.clone(), own.context.clone()))).unwrap_or(self)
    }

    /// This and its views.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.views.values())
    }

    /// The same with the Dockerfiles of services' own.
    ///
    /// # Errors
    /// A Dockerfile that is missing or malformed.
    pub fn with_views(mut self, config: &Config) -> Result<Self> {
        for own in config.services.iter().filter_map(|service| service.own.as_ref()) {
            let place = (own.dockerfile.clone(), own.context.clone());
            if !self.views.contains_key(&place) {
                let view = self.one_view(own)?;
                self.views.insert(place, view);
            }
        }
        Ok(self)
    }

    fn one_view(&self, own: &Own) -> Result<Self> {
        let path = self.root.join(&own.dockerfile);
        let contents = self.workspace.contents();
        let link = |path: &str| contents.link(path);
        let text = place::of_dockerfile(&own.dockerfile, &link).and_then(|path| contents.text(&path));
        let missing = || dockerfile::missing(&path, "fix `dockerfile` or `context` of the service in xtask.toml");
        let dockerfile = Dockerfile::parse(&path, &text.ok_or_else(missing)?)?;
        let ignore = place::of_ignore_files(&own.dockerfile, &own.context, &link);
        let ignore = ignore.iter().find_map(|file| contents.text(file));
        let ignore = ignore.map(|text| Ignore::parse(&text)).transpose()?.unwrap_or_default();
        let (root, tree) = if own.context == "." {
            (self.root.clone(), Arc::clone(&self.tree))
        } else {
            (self.root.join(&own.context), Arc::new(self.tree.below(&own.context)))
        };
        let workspace = Arc::clone(&self.workspace);
        Ok(Self { root, workspace, dockerfile, ignore, tree, known: Known::default(), views: SortedMap::new() })
    }

    /// The packages' folders with their names.
    pub fn packages(&self) -> SortedMap<String, String> {
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

/// Refuses to go on where a file that one of the images is made of was edited since the monorepo was read, or is another than git says: an
/// image is known by the fingerprint of what was read, also to whoever meets its content tag in the registry.
///
/// # Errors
/// The first such file; git failures.
pub fn check_unchanged(session: &Session, project: &Project, images: &[&Inputs]) -> Result<()> {
    let git = session.git().in_worktree(&project.root);
    let now = git.worktree()?;
    check_converted(&git, project, &now, images)?;
    let mut changed: SortedSet<String> = project.tree.changed(&now).into_keys().into_set();
    let mut new = SortedSet::new();
    for view in project.views.values() {
        let Some(sent) = view.last_sent() else { continue };
        let folder = view.root.strip_prefix(&project.root).ok().and_then(Path::to_str).unwrap_or_default();
        let below = (!folder.is_empty()).then(|| now.below(folder));
        let again = sent.again(&view.root, below.as_ref().unwrap_or(&now), &view.ignore, STATE)?;
        if let Some(path) = sent.changed(&again).first() {
            return Err(edited(
                &view.root.join(path).strip_prefix(&project.root).unwrap_or(Path::new(path)).display().to_string(),
            ));
        }
    }
    if let Some(path) = project.edited_in_named()? {
        return Err(edited(&path.strip_prefix(&project.root).unwrap_or(&path).display().to_string()));
    }
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
        Some(path) => Err(edited(path)),
        None => project.views.values().chain([project]).try_for_each(|view| sent::check_times(session, view, images)),
    }
}

/// Refuses a file that was converted as it was checked out, by what is gone since: git takes it for what it keeps.
fn check_converted(git: &Git, project: &Project, now: &Tree, images: &[&Inputs]) -> Result<()> {
    let folders: SortedSet<&Path> = project.all().filter_map(|view| view.root.strip_prefix(&project.root).ok()).into_set();
    let counts = |path: &str| {
        let within = folders.iter().filter_map(|folder| Path::new(path).strip_prefix(folder).ok()?.to_str());
        within.into_iter().any(|path| images.iter().any(|inputs| inputs.count_on(path)))
    };
    let converted = git.once_converted(now, &counts)?;
    let Some(path) = converted.iter().find(|path| counts(path.as_str())) else { return Ok(()) };
    let message = format!("`{path}` is not what git takes it for: what converted it as it was checked out is gone");
    let hint = format!("run `touch {path}`: git then sees the difference, which is an attribute's or that of `core.autocrlf`");
    Err(Error::failed(message).hint(hint))
}

/// Reads the monorepo at `root`. A checkout is completed by what the build needs.
///
/// # Errors
/// A missing or malformed file, with its place; what a checkout's patterns leave out; git failures.
pub fn load(session: &Session, root: &Path) -> Result<Project> {
    let project = read(session, root)?;
    if root == session.home { Ok(project) } else { checkout::complete(session, project, || read(session, root)) }
}

/// The error for such a file.
pub fn edited(path: &str) -> Error {
    meanwhile(&format!("`{path}` was edited"))
}

/// A run under which its inputs changed: `what` says how.
pub fn meanwhile(what: &str) -> Error {
    Error::failed(format!("{what} while the run was under way"))
        .hint("run this again: the image would be taken for one without that edit")
}

fn read(session: &Session, root: &Path) -> Result<Project> {
    let config = &session.config;
    let dockerfile_path = root.join(&config.images.dockerfile);
    let git = session.git().in_worktree(root);
    let scan = session.early_scan.take().filter(|_| root == session.home);
    let (tree, (workspace, files)) = cores::join(
        || git.worktree_from(scan.map_or_else(|| git.scan(), Ok)),
        || cores::join(|| Workspace::load(root), || docker_files(config, &dockerfile_path, root)),
    );
    // The files' errors first: they are nearer to the user than git's.
    let (dockerfile, ignore) = files?;
    let (workspace, tree) = (workspace?, tree?);
    if workspace.settings().is_none() && session.config.services.is_empty() {
        return Err(Error::usage("is missing: it says which folders are packages")
            .at(root.join(SETTINGS), None)
            .hint("write it, `packages: [apps/*, packages/*]`, or say in xtask.toml which [[service]] has which package"));
    }
    if let Some(why) = tree.outside_git() {
        let hint = "every file is read on each run; in a git repository only changed ones are".to_owned();
        session.events.notice(Level::Warning, None, why, Some(hint));
    }
    let (workspace, tree) = (Arc::new(workspace), Arc::new(tree));
    let project =
        Project { root: root.to_owned(), workspace, dockerfile, ignore, tree, known: Known::default(), views: SortedMap::new() };
    project.with_views(config)
}

/// Where every service has a Dockerfile of its own, there need be no other.
fn docker_files(config: &Config, dockerfile: &Path, root: &Path) -> Result<(Dockerfile, Ignore)> {
    let ignore = match dockerfile::ignore_file(dockerfile, root) {
        Some(path) => Ignore::load(&path)?,
        None => Ignore::default(),
    };
    if !dockerfile.exists() && has_only_own(config) {
        return Ok((Dockerfile::parse(dockerfile, &format!("FROM scratch AS {}\n", config.base_target))?, ignore));
    }
    Ok((dockerfile::load(dockerfile)?, ignore))
}

/// True where every service is configured, with a Dockerfile of its own.
pub fn has_only_own(config: &Config) -> bool {
    !config.services.is_empty() && config.services.iter().all(|service| service.own.is_some())
}

/// What a sparse checkout leaves out and the steps of these slices can see, first by the line that copies it: without a file of it `COPY config/ …`
/// makes another image.
pub fn copied_and_absent<'p>(views: &[&'p Project], slices: &[Slice<'_>]) -> Option<(&'p Project, &'p str, usize)> {
    let mut sources: Vec<(&'p Project, SortedSet<&ContextSource>)> = Vec::new();
    for (view, slice) in views.iter().zip(slices).filter(|(view, _)| !view.tree.absent().is_empty()) {
        match sources.iter_mut().find(|(known, _)| std::ptr::eq(*known, *view)) {
            Some((_, sources)) => sources.extend(slice.sources()),
            None => sources.push((view, slice.sources().iter().into_set())),
        }
    }
    sources.into_iter().find_map(|(view, sources)| {
        let mut walker = view.ignore.walker();
        let copied = view.tree.absent().iter().filter_map(|path| {
            let source = sources.iter().find(|source| source.sees(path))?;
            (!walker.excludes(path)).then_some((view, &**path, source.line))
        });
        copied.min_by_key(|(.., line)| *line)
    })
}
