//! Each service's own build contexts, cut to its closure: their content for the fingerprint, their folders for the builder.

use std::path::PathBuf;

use crate::Session;
use crate::project::Project;
use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::event::{Level, Task};
use monoship_core::execute::cores;
use monoship_core::execute::lock::Lock;
use monoship_core::name::ServiceName;
use monoship_core::sorted::{SortedMap, SortedSet};
use monoship_plan::config::given::SecretSource;
use monoship_plan::fingerprint::Parts;
use monoship_plan::part::{Kind, Part};
use monoship_plan::services::Service;
use monoship_workspace::PackageId;
use monoship_workspace::context;
use monoship_workspace::dockerfile::Dockerfile;
use monoship_workspace::git::Mode;
use monoship_workspace::prune::{Install, PrunePlan};
use monoship_workspace::sent;
use monoship_workspace::sources::Sources;

/// The Dockerfile stages that a pruned context replaces, where the Dockerfile has them.
const NAMES: [&str; 4] = ["manifests", "production", SOURCES, DEPENDENCIES];

/// The sources of a service and what it needs.
pub const SOURCES: &str = "sources";

/// The sources of what a service needs, without its own.
pub const DEPENDENCIES: &str = "dependency-sources";

/// The comment by which `install-closure` of a Dockerfile that `init` wrote says that the packages' own scripts wait for their sources.
const WITHOUT_SCRIPTS: &str = "# own-scripts: later\n";

/// The contexts of every service, cut and not written.
pub struct Cut<'p> {
    project: &'p Project,
    sources: Sources<'p>,
    plans: SortedMap<ServiceName, PrunePlan>,
    /// For each service the stages that its contexts replace.
    names: SortedMap<ServiceName, SortedSet<&'static str>>,
    /// Those whose install runs scripts of the workspace's own packages.
    installs_scripts: SortedSet<ServiceName>,
    /// What an `.npmrc` sets that no build is given as a secret.
    unseen_npmrc: Option<String>,
    /// A package's files are hashed once, whichever services they go into.
    packages: SortedMap<PackageId, Part>,
}

/// Cuts the contexts of `services`; nothing is written yet.
///
/// # Errors
/// When a closure cannot be cut.
pub fn plan<'p>(project: &'p Project, services: &[Service]) -> Result<Cut<'p>> {
    let sources = Sources::new(&project.workspace, &project.tree, sent::left_in(&project.tree, &project.ignore));
    let names = replaced_of(project, services);
    let cut = services.iter().filter(|service| service.own.is_none() || !names[&service.name].is_empty());
    let plans = cores::try_map(&cut.into_vec(), |service| {
        let package = project.workspace.find(&service.package)?;
        let plan = PrunePlan::new(&project.workspace, &sources, package, false)?;
        Ok((service.name.clone(), plan.including(&project.workspace, &sources, &service.include)?))
    })?;
    let plans: SortedMap<ServiceName, PrunePlan> = plans.into_iter().into_map();
    let wanted = plans.values().flat_map(|plan| sources.packages(&plan.manifests.closure)).into_set();
    let wanted: Vec<PackageId> = wanted.into_iter().into_vec();
    let packages = cores::map(&wanted, |id| (*id, Part::files(sources.of(*id).iter().copied()))).into_iter().into_map();
    let runs = |dockerfile: &Dockerfile| !dockerfile.has_heredoc_with(WITHOUT_SCRIPTS);
    let shared = runs(&project.dockerfile);
    let runs_scripts = |service: &&Service| if service.own.is_none() { shared } else { runs(&project.view(service).dockerfile) };
    let installs_scripts = services.iter().filter(runs_scripts).map(|service| service.name.clone()).into_set();
    let installs = names.values().any(|names| names.contains("manifests") || names.contains("production"));
    let is_given = services.iter().flat_map(|service| &service.given.secrets).any(is_npmrc);
    let unseen_npmrc = project.workspace.npmrc().filter(|_| installs && !is_given).and_then(keys);
    Ok(Cut { project, sources, plans, names, installs_scripts, unseen_npmrc, packages })
}

/// True of a secret by which an install is given an `.npmrc`.
fn is_npmrc((id, source): (&String, &SecretSource)) -> bool {
    id.contains("npmrc") || matches!(source, SecretSource::File(file) if file.contains("npmrc"))
}

/// The keys of an `.npmrc`, without their values, which can be secret; none where it sets nothing.
fn keys(npmrc: &str) -> Option<String> {
    let set = npmrc.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let keys: Vec<&str> = set.filter_map(|line| Some(line.split_once('=')?.0.trim())).into_vec();
    (!keys.is_empty()).then(|| keys.join(", "))
}

/// The stages of this Dockerfile that pruned contexts replace. One that is called `production` alone is an image, as in many a Dockerfile.
pub fn replaced(project: &Project) -> SortedSet<&'static str> {
    let stages: SortedSet<&str> = project.dockerfile.targets().into_set();
    let is_cut = stages.contains("manifests") || stages.contains("sources");
    NAMES.into_iter().filter(|name| is_cut && stages.contains(name)).into_set()
}

/// The same of what each service is built by. A context that is not the repository has no door for one that is cut from it.
pub fn replaced_of(project: &Project, services: &[Service]) -> SortedMap<ServiceName, SortedSet<&'static str>> {
    let shared = replaced(project);
    let of_one = |service: &Service| match &service.own {
        None => shared.clone(),
        Some(own) if own.context != "." => SortedSet::new(),
        Some(_) => replaced(project.view(service)),
    };
    services.iter().map(|service| (service.name.clone(), of_one(service))).into_map()
}

impl Cut<'_> {
    fn names(&self, service: &ServiceName) -> impl Iterator<Item = &'static str> {
        self.names.get(service).into_iter().flatten().copied()
    }

    /// Tells the user what is odd about the closures; what is true of several services, once.
    pub fn warn(&self, session: &Session) {
        let mut found: SortedMap<&str, Vec<&ServiceName>> = SortedMap::new();
        if let (Some(keys), None) = (&self.unseen_npmrc, self.project.tree.get(".npmrc")) {
            let message = format!("git ignores .npmrc, and installs in the builder go without what it says: {keys}");
            let hint = "commit it, with variables in place of secrets (`${NPM_TOKEN}`), or give it to the install: \
                        `secrets = [\"id=npmrc,src=.npmrc\"]`";
            session.events.notice(Level::Warning, None, message, Some(hint.to_owned()));
        }
        for (service, plan) in &self.plans {
            let runs = self.installs_scripts.contains(service);
            let scripts = plan.script_warnings.iter().filter(|_| runs);
            plan.warnings.iter().chain(scripts).for_each(|warning| found.entry(warning).or_default().push(service));
        }
        for (warning, services) in found {
            let (task, text) = match services[..] {
                [service] => (Some(Task::Service(service.clone())), warning.to_owned()),
                _ => (None, format!("{warning} ({} services)", services.len())),
            };
            session.events.notice(Level::Warning, task, text, None);
        }
    }

    /// A file of these contexts that a sparse checkout leaves out.
    pub fn absent(&self) -> Option<&str> {
        let absent = self.project.tree.absent();
        let is_written = |service: &ServiceName| self.names(service).any(|name| name == SOURCES || name == DEPENDENCIES);
        let written = self.plans.iter().filter(|(service, _)| !absent.is_empty() && is_written(service));
        written.flat_map(|(_, plan)| plan.source_paths(&self.sources)).find(|path| absent.contains(*path))
    }

    /// Refuses what cannot be written into a service's contexts, before anything is built.
    ///
    /// # Errors
    /// A link that leads out of the repository.
    pub fn check(&self, service: &ServiceName) -> Result<()> {
        let (workspace, tree) = (&self.project.workspace, &self.project.tree);
        let is_written = self.names(service).any(|name| name == SOURCES || name == DEPENDENCIES);
        let plan = self.plans.get(service).filter(|_| is_written);
        let is_link = |path: &&str| tree.get(path).is_some_and(|file| file.mode == Mode::Symlink);
        for path in plan.into_iter().flat_map(|plan| plan.source_paths(&self.sources)).filter(is_link) {
            if let Some(target) = workspace.contents().link(path) {
                context::refuse_way_out(path, target.as_ref())?;
            }
        }
        Ok(())
    }

    /// What goes into a service's contexts, by context and part.
    pub fn parts(&self, service: &ServiceName) -> SortedMap<String, Parts> {
        let Some(plan) = self.plans.get(service) else { return SortedMap::new() };
        let parts = |name: &str| match name {
            "manifests" => self.install(&plan.manifests),
            "production" => self.install(&plan.production),
            DEPENDENCIES => self.dependencies(plan),
            _ => self.sources(plan),
        };
        self.names(service).map(|name| (name.to_owned(), parts(name))).into_map()
    }

    fn install(&self, install: &Install) -> Parts {
        let files = Part::new(Kind::Settings, install.entries(&self.sources));
        let lock = Part::new(Kind::Lock, install.lock_slice(&self.project.workspace));
        [("files".to_owned(), files), ("lock".to_owned(), lock)].into_iter().into_map()
    }

    fn sources(&self, plan: &PrunePlan) -> Parts {
        let own = self.sources.packages(&plan.manifests.closure);
        let mut parts: Parts = own.filter_map(|id| Some((self.name(id), self.packages.get(&id)?.clone()))).into_map();
        let shared = plan.shared.iter().filter_map(|path| self.project.tree.get(path));
        parts.insert("shared files".to_owned(), Part::files(shared));
        parts
    }

    /// The sources without the service's own but for its manifest.
    fn dependencies(&self, plan: &PrunePlan) -> Parts {
        let target = plan.manifests.closure.target;
        let manifest = self.project.tree.get(&self.project.workspace.package(target).path("package.json"));
        let mut parts = self.sources(plan);
        parts.insert(self.name(target), Part::files(manifest));
        parts
    }

    /// What a package's part is called: two packages may have one name, none has one with a space or a dot before a slash.
    fn name(&self, id: PackageId) -> String {
        let package = self.project.workspace.package(id);
        let is_known = package.manifest.name.as_deref().is_some_and(|name| self.project.workspace.by_name(name) == Some(id));
        if is_known { package.name().to_owned() } else { format!("./{}", package.dir) }
    }

    /// The folders to hand to the builder, by context.
    pub fn folders(&self, session: &Session, service: &ServiceName) -> SortedMap<String, String> {
        let folder = folder(session, service);
        self.names(service).map(|name| (name.to_owned(), folder.join(name).to_string_lossy().into_owned())).into_map()
    }

    /// What of a service's contexts is not as it was written: an edit of everything below the repository's root meets these copies, too.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn edited(&self, session: &Session, service: &ServiceName) -> Result<Option<PathBuf>> {
        let folder = folder(session, service);
        for name in self.names(service) {
            if let Some(path) = context::edited(&folder.join(name))? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Keeps a service's contexts for this run until its builder has them: another run of this working tree would write what it has read into
    /// them, and the image of one would hold the other's files.
    ///
    /// # Errors
    /// When the lock cannot be taken, or the run is closing.
    pub fn hold(&self, session: &Session, service: &ServiceName) -> Result<Option<Lock>> {
        if self.names(service).next().is_none() {
            return Ok(None);
        }
        let waiting = || {
            let message = format!("another run in this working tree builds {service}: waiting for it");
            session.events.notice(Level::Info, None, message, None);
        };
        Lock::wait(&session.state_dir().join("locks").join(format!("context-{service}")), &session.shutdown, waiting).map(Some)
    }

    /// Writes a service's contexts, touching only what differs from what is there: the builder's transfer goes by size and time.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn write(&self, session: &Session, service: &ServiceName) -> Result<()> {
        if self.names(service).next().is_none() {
            return Ok(());
        }
        let Some(plan) = self.plans.get(service) else { return Ok(()) };
        let folder = folder(session, service);
        context::write(&self.project.workspace, &self.sources, plan, &folder)?;
        if self.names(service).any(|name| name == DEPENDENCIES) {
            context::write_dependencies(&self.project.workspace, &self.sources, plan, &folder.join(DEPENDENCIES))?;
        }
        for warning in plan.left_out(&self.project.workspace, &self.sources) {
            session.events.notice(Level::Warning, Some(Task::Service(service.clone())), warning, None);
        }
        Ok(())
    }
}

/// Below a folder called `node_modules`: pnpm takes what `packages: ['**']` finds in any other for packages of the workspace, and so do we.
fn folder(session: &Session, service: &ServiceName) -> PathBuf {
    session.state_dir().join("context/node_modules").join(service.as_str())
}
