//! Whether a checkout holds what the build needs of its commit: every file that a step can see of the main context, that goes into a pruned
//! context, or that a named context is. An image that lacked one would be another than a full clone makes.

use std::collections::HashSet;

use monoship_core::collect::Collect as _;
use monoship_core::error::{Error, Result};
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_plan::config::Config;
use monoship_plan::config::given::ContextSource;
use monoship_plan::services::{Service, discover};
use monoship_workspace::dockerfile::SliceRequest;
use monoship_workspace::git::{File, Mode};
use monoship_workspace::prune::Content;
use monoship_workspace::sent::left_in;
use monoship_workspace::sources::parent;
use monoship_workspace::{PrunePlan, Sources};
use pnpm::join;

use super::{patterns, repository, submodules};
use crate::Session;
use crate::contexts::replaced;
use crate::project::Project;

/// What is added can name more. It ends long before; this is so that it ends at all.
const ROUNDS: usize = 16;

/// With more paths than this, whole folders are selected.
const MANY: usize = 200;

/// A path that the checkout leaves out, with the line of the Dockerfile that copies it, where one does.
type Missing = SortedMap<String, Option<usize>>;

/// Adds to a checkout what the build needs and the patterns leave out. `read` reads the monorepo again.
///
/// # Errors
/// The first path that is left out, where the configuration says what is to be checked out; git failures.
pub fn complete(session: &Session, mut project: Project, read: impl Fn() -> Result<Project>) -> Result<Project> {
    for _ in 0..ROUNDS {
        let missing = missing(&session.config, &project);
        let Some((path, line)) = missing.first_key_value() else { return Ok(project) };
        if !patterns::are_default(&session.config) {
            return Err(left_out(&project, path, *line));
        }
        widen(session, &project, &missing)?;
        project = read()?;
    }
    Ok(project)
}

/// The error for a path that the configured patterns leave out.
pub fn left_out(project: &Project, path: &str, line: Option<usize>) -> Error {
    let pattern = path.split('/').take(2).into_vec().join("/");
    let who = if line.is_some() { "this line copies" } else { "the build needs" };
    let error = Error::usage(format!("the sparse checkout leaves out {path}, which {who}"))
        .hint(format!("add \"{pattern}\" to `[checkout] patterns` in xtask.toml"));
    if line.is_some() { error.at(project.dockerfile.path(), line) } else { error }
}

fn missing(config: &Config, project: &Project) -> Missing {
    let absent = project.tree.absent();
    let mut found = Missing::new();
    if absent.is_empty() {
        return found;
    }
    // Without its manifest a folder is no package, and nothing more can be known.
    if let Some(lock) = project.workspace.scanned() {
        let importers = (0..u32::try_from(lock.importer_count()).unwrap_or(u32::MAX)).map(|at| lock.importer_dir(at));
        let manifests = importers.filter_map(|dir| join(dir, "package.json")).filter(|path| absent.contains(path));
        found.extend(manifests.map(|path| (path, None)));
    }
    if patterns::are_default(config) {
        led_to(project, &mut found);
    }
    let names: Vec<&str> = project.dockerfile.targets().into_vec();
    let services = discover(config, &project.packages(), &names);
    // What is wrong with the services, the plan will say.
    let (true, Ok(services)) = (found.is_empty(), services) else { return found };
    let needs = Needs { config, project, absent, pruned: replaced(project), left_in: left_in(&project.tree, &project.ignore) };
    needs.of_steps(&services, &mut found);
    needs.of_own(&services, &mut found);
    needs.of_contexts(&services, &mut found);
    found
}

/// Where links lead that are checked out: manifests, sources and what steps copy can all lie elsewhere in the repository.
fn led_to(project: &Project, found: &mut Missing) {
    let (tree, absent) = (&project.tree, project.tree.absent());
    let links = tree.files().iter().filter(|file| file.mode == Mode::Symlink && !absent.contains(&*file.path));
    for link in links {
        let target = project.workspace.contents().link(&link.path);
        let Some(target) = target.and_then(|target| join(parent(&link.path), &target)) else { continue };
        let below = tree.under(&target).iter().map(|file| file.path.to_string());
        found.extend(below.chain([target.clone()]).filter(|path| absent.contains(path)).map(|path| (path, None)));
    }
}

struct Needs<'a> {
    config: &'a Config,
    project: &'a Project,
    absent: &'a SortedSet<String>,
    /// The stages that pruned contexts replace.
    pruned: SortedSet<&'static str>,
    /// What the ignore file leaves of the main context.
    left_in: Vec<&'a File>,
}

impl Needs<'_> {
    /// What the steps of the services and the base can see of the main context.
    fn of_steps(&self, services: &[Service], found: &mut Missing) {
        let absent: HashSet<&str> =
            self.left_in.iter().map(|file| &*file.path).filter(|path| self.absent.contains(*path)).collect();
        let images = &self.config.images;
        let base = (self.config.base_target.as_str(), &images.build_args, &images.platforms, &images.given, false);
        let shared = services.iter().filter(|service| service.own.is_none());
        let targets = shared.map(|s| (s.target.as_str(), &s.build_args, &s.platforms, &s.given, true));
        for (target, args, platforms, given, is_service) in targets.chain([base]) {
            let mut contexts: SortedSet<String> = given.contexts.keys().cloned().into_set();
            contexts.extend(self.pruned.iter().filter(|_| is_service).map(|name| (*name).to_owned()));
            let slice = self.project.dockerfile.slice(&SliceRequest { target, contexts: &contexts, args, platforms, own: None });
            for source in slice.iter().flat_map(monoship_workspace::dockerfile::Slice::sources) {
                let seen = absent.iter().filter(|path| source.sees(path));
                found.extend(seen.map(|path| ((*path).to_owned(), Some(source.line))));
            }
        }
    }

    /// What the steps of Dockerfiles of services' own can see of their contexts.
    fn of_own(&self, services: &[Service], found: &mut Missing) {
        for (service, own) in services.iter().filter_map(|service| Some((service, service.own.as_ref()?))) {
            let view = self.project.view(service);
            let contexts: SortedSet<String> = service.given.contexts.keys().cloned().into_set();
            let (args, platforms) = (&service.build_args, &service.platforms[..]);
            let slice =
                view.dockerfile.slice(&SliceRequest { target: service.stage(), contexts: &contexts, args, platforms, own: None });
            let mut walker = view.ignore.walker();
            let absent: Vec<&String> = view.tree.absent().iter().filter(|path| !walker.excludes(path)).into_vec();
            for source in slice.iter().flat_map(monoship_workspace::dockerfile::Slice::sources) {
                let seen = absent.iter().filter(|path| source.sees(path));
                let whole = |path: &str| if own.context == "." { path.to_owned() } else { format!("{}/{path}", own.context) };
                found.extend(seen.map(|path| (whole(path), None)));
            }
        }
    }

    /// What goes into the contexts of the services.
    fn of_contexts(&self, services: &[Service], found: &mut Missing) {
        let (workspace, tree) = (&self.project.workspace, &self.project.tree);
        let mut needed = SortedSet::new();
        let sources = Sources::new(workspace, tree, self.left_in.iter().copied());
        for service in services.iter().filter(|service| service.own.is_none() && !self.pruned.is_empty()) {
            let plan = workspace.find(&service.package).and_then(|id| PrunePlan::new(workspace, &sources, id, false));
            let Ok(plan) = plan.and_then(|plan| plan.including(workspace, &sources, &service.include)) else { continue };
            needed.extend(plan.source_paths(&sources).map(str::to_owned));
            for install in [&plan.manifests, &plan.production] {
                let copied = install.files.iter().filter_map(|(path, content)| match content {
                    Content::Copy(from) => Some(from),
                    Content::Stub(_) => Some(path),
                    Content::Text(_) | Content::Lock => None,
                });
                needed.extend(copied.cloned());
                // A folder that is a submodule has no file yet.
                needed.extend(install.closure.linked_folders.iter().chain(&install.closure.copied_folders).cloned());
            }
        }
        found.extend(needed.into_iter().filter(|path| self.absent.contains(path)).map(|path| (path, None)));
        let given = services.iter().map(|service| &service.given).chain([&self.config.images.given]);
        for source in given.flat_map(|given| given.contexts.values()) {
            if let ContextSource::Folder(path) = source
                && let Some(dir) = join(".", path)
            {
                let below = tree.under(&dir).iter().filter(|file| self.absent.contains(&*file.path));
                found.extend(below.map(|file| (file.path.to_string(), None)));
            }
        }
    }
}

/// Selects these paths too, and fills the submodules among them.
fn widen(session: &Session, project: &Project, missing: &Missing) -> Result<()> {
    let inside = session.git().in_worktree(&project.root);
    let (top, prefix) = (inside.read(&["rev-parse", "--show-toplevel"])?, inside.read(&["rev-parse", "--show-prefix"])?);
    let top = std::path::Path::new(&top);
    let parts = if missing.len() > MANY { 1 } else { usize::MAX };
    let shortened = |path: &String| path.split('/').take(parts).into_vec().join("/");
    let added: SortedSet<String> = missing.keys().map(|path| patterns::exact(&shortened(path))).into_set();
    let text = repository::selected(top) + &patterns::anchored(&prefix, &added.into_iter().into_vec());
    repository::select(top, &text)?;
    let at_top = inside.in_worktree(top);
    at_top.read(&["read-tree", "-m", "-u", "HEAD"])?;
    submodules::fill(&at_top, &repository::Lender::of(&session.git())?, 0)
}
