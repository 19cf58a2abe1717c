//! What is built, and why. Getting ready may start an engine, make stand-ins and pin base images, and says so; the plan itself has no
//! effect, and a run that only looks has none at all.

use std::sync::Arc;

use monoship_core::error::{Error, Result};
use monoship_core::event::{Level, Task};
use monoship_core::execute::pool;
use monoship_core::name::StageName;
use monoship_docker::engine::Engine;
use monoship_plan::request::{BuildRequest, Destination};
use monoship_report::results::PlanFile;

use crate::context::Context;
use crate::job::Part;
use monoship_steps::bases::{ensure_bases, known_bases};
use monoship_steps::inputs;
use monoship_steps::project;
use monoship_steps::{Session, jobs, outcome, outside, planning, publication};

use super::Tree;
use super::checkout;
use monoship_steps::planning::Ground;

/// The monorepo, the engine, and the base images that services start from.
///
/// ```no_run
/// # use monoship::{Context, Result, stages};
/// # fn pipeline(cx: &Context) -> Result<()> {
/// let ready = stages::prepare(cx, &stages::checkout(cx)?)?;
/// cx.stage("lint", &ready, |cx, _| cx.command("pnpm").args(["-r", "lint"]).run())?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Ready {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub tree: Arc<checkout::Inner>,
    /// What was read; none in the job that goes by another one's plan.
    pub ground: Option<Ground>,
    /// Why a look found no engine, where it could have told what is built.
    no_engine: Option<String>,
}

impl Inner {
    pub fn session(&self) -> &Session {
        &self.tree.session
    }
}

/// Reads the monorepo and gets ready what only a build may touch: the engine is started, base images that are new to `xtask.lock` are
/// pinned there, and where Docker Hub cannot be reached the embedded engine makes stand-ins. A run that only looks does none of that, and
/// goes on with what is there.
///
/// ```no_run
/// # fn pipeline(cx: &monoship::Context) -> monoship::Result<()> {
/// # use monoship::stages;
/// let ready = stages::prepare(cx, &stages::checkout(cx)?)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// A file of the monorepo that is missing or malformed, with its place; no engine; a base image that can neither be had nor pinned.
pub fn prepare(cx: &Context, tree: &Tree) -> Result<Ready> {
    let tree = Arc::clone(&tree.inner);
    let (ground, no_engine) = match &tree.root {
        Some(root) if cx.job().plans() => {
            let (ground, no_engine) = ground(cx, &tree.session, &tree.request, root)?;
            (Some(ground), no_engine)
        }
        _ => (None, None),
    };
    Ok(Ready { inner: Arc::new(Inner { tree, ground, no_engine }) })
}

/// What the plan is made of, and why there is no engine, where that is so.
fn ground(cx: &Context, session: &Session, request: &BuildRequest, root: &std::path::Path) -> Result<(Ground, Option<String>)> {
    session.events.doing(&Task::Plan, "reading the repository");
    let (project, engine) = pool::both(|| project::load(session, root), || engine(cx, session));
    session.events.doing(&Task::Plan, "");
    // The monorepo's errors first: they are nearer to the user.
    let mut project = project?;
    let (engine, no_engine) = engine?;
    let images = inputs::base_images(session, &project, request)?;
    let bases = match &engine {
        Some(engine) if !cx.only_looks() => {
            let ensured = ensure_bases(session, &project, engine, request, &images)
                .map_err(|error| outside::or_mistyped(&project.dockerfile, &images, error))?;
            if ensured.pins_written {
                // It is a file of the tree like any other, and what is planned is what lies there now.
                project = project::load(session, root)?;
            }
            ensured.bases
        }
        _ => known_bases(session, &project, engine.as_ref(), request, &images)?,
    };
    cx.progress().engine.clone_from(&engine);
    Ok((Ground { project, engine, bases }, no_engine))
}

/// The engine, started where it has to be; for a look the one that runs, or why there is none.
fn engine(cx: &Context, session: &Session) -> Result<(Option<Engine>, Option<String>)> {
    if !cx.only_looks() {
        return session.find_engine().map(|engine| (Some(engine), None));
    }
    match session.running_engine() {
        Err(error) if error.is_cancelled() => Err(error),
        Err(error) => Ok((None, Some(format!("no engine here: {error}")))),
        Ok(None) => Ok((None, Some("no engine is running, so the plan cannot tell which images it holds".to_owned()))),
        Ok(engine) => Ok((engine, None)),
    }
}

/// What is built, and why: data. Nothing is changed by making it.
///
/// ```no_run
/// # use monoship::{Context, Result, stages};
/// # fn pipeline(cx: &Context) -> Result<()> {
/// # let ready = stages::prepare(cx, &stages::checkout(cx)?)?;
/// let plan = stages::plan(cx, &ready)?;
/// cx.say(format!("{} services are built", plan.to_build().count()));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Plan {
    pub(crate) inner: Arc<Planned>,
}

pub(crate) struct Planned {
    pub ready: Arc<Inner>,
    pub work: Work,
}

/// What a plan consists of.
pub(crate) enum Work {
    /// Made here.
    Here(Box<monoship_plan::Plan>),
    /// Made by the first job of a matrix, and read from its file.
    Elsewhere(Arc<PlanFile>),
}

impl Plan {
    /// The services that are built, by name.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context, plan: &monoship::stages::Plan) {
    /// for service in plan.to_build() {
    ///     cx.say(format!("{service} will be built"));
    /// }
    /// # }
    /// ```
    pub fn to_build(&self) -> impl Iterator<Item = &str> {
        let (here, elsewhere) = match &self.inner.work {
            Work::Here(plan) => (Some(plan.to_build().map(|service| service.service.name.as_str())), None),
            Work::Elsewhere(file) => {
                let missing = file.services.iter().filter(|(_, planned)| planned.present.is_none());
                (None, Some(missing.map(|(name, _)| name.as_str())))
            }
        };
        here.into_iter().flatten().chain(elsewhere.into_iter().flatten())
    }

    /// Why a service is built, or is not, in a line: `file apps/api/src/main.ts changed`. None of a service that is not in the run.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context, plan: &monoship::stages::Plan) {
    /// for service in plan.to_build() {
    ///     cx.say(format!("{service}: {}", plan.why(service).unwrap_or_default()));
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn why(&self, service: &str) -> Option<String> {
        match &self.inner.work {
            Work::Here(plan) => {
                plan.services.iter().find(|one| one.service.name.as_str() == service).map(monoship_plan::ServicePlan::why)
            }
            Work::Elsewhere(file) => {
                file.services.iter().find(|(name, _)| name.as_str() == service).map(|(_, one)| one.why.clone())
            }
        }
    }
}

impl Planned {
    pub fn session(&self) -> &Session {
        self.ready.session()
    }

    /// The engine, where there is one.
    pub fn engine(&self) -> Option<&Engine> {
        self.ready.ground.as_ref()?.engine.as_ref()
    }

    /// Checks that no stage of the team's is called as a service is: both have a log and a row of that name.
    pub fn check_names<'a>(&self, stages: impl IntoIterator<Item = &'a StageName>) -> Result<()> {
        let is_service = |name: &str| match &self.work {
            Work::Here(plan) => plan.services.iter().any(|service| service.service.name.as_str() == name),
            Work::Elsewhere(file) => file.services.keys().any(|service| service.as_str() == name),
        };
        stages.into_iter().find(|stage| is_service(stage.as_str())).map_or(Ok(()), |stage| {
            Err(Error::usage(format!("a stage cannot be called `{stage}`: a service is")).hint("choose another name"))
        })
    }

    /// The plan, where it was made here.
    pub fn here(&self) -> Option<&monoship_plan::Plan> {
        match &self.work {
            Work::Here(plan) => Some(plan),
            Work::Elsewhere(_) => None,
        }
    }
}

/// Makes the plan: which services are built and why, with every cache tier's verdict. It asks (git, the engine, registries) and changes
/// nothing; what nobody can answer is built, and said.
///
/// ```no_run
/// # fn pipeline(cx: &monoship::Context) -> monoship::Result<()> {
/// # use monoship::stages;
/// let plan = stages::plan(cx, &stages::prepare(cx, &stages::checkout(cx)?)?)?;
/// for service in plan.to_build() {
///     cx.say(format!("{service} is built"));
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// Unknown services or targets, a push without a registry, and, but in a look, whatever cannot be asked.
pub fn plan(cx: &Context, ready: &Ready) -> Result<Plan> {
    let ready = Arc::clone(&ready.inner);
    let job = cx.job();
    let work = match (&ready.ground, &job.part) {
        (Some(ground), _) => Work::Here(Box::new(made(cx, &ready, ground)?)),
        (None, Part::Publish(file)) => Work::Elsewhere(Arc::clone(file)),
        (None, _) => return Err(Error::failed("nothing was made ready")),
    };
    let planned = Arc::new(Planned { ready, work });
    let mut progress = cx.progress();
    planned.check_names(&progress.stages)?;
    progress.plan = Some(Arc::clone(&planned));
    Ok(Plan { inner: planned })
}

fn made(cx: &Context, ready: &Inner, ground: &Ground) -> Result<monoship_plan::Plan> {
    let (job, session) = (cx.job(), ready.session());
    session.events.doing(&Task::Plan, "asking what is built already");
    let plan = planning::plan(session, ground, &ready.tree.request, job.only_looks());
    session.events.doing(&Task::Plan, "");
    let mut plan = plan?;
    // Beside an error of the repository's own it would only be in the way.
    if let Some(why) = ready.no_engine.clone().filter(|_| matches!(job.request.destination, Destination::Engine(_))) {
        session.events.notice(Level::Info, None, why, None);
    }
    if let (Part::Service(_, file), Some(commit)) = (&job.part, &ready.tree.commit) {
        jobs::check(file, &plan, commit)?;
    }
    if let Some(platform) = &job.platform {
        plan.keep(platform)?;
    }
    if !job.only_looks() {
        publication::may_push(session, &ready.tree.request, &plan)?;
        if let Some(version) = &ready.tree.version {
            publication::may_order(session, &plan, &version.naming)?;
        }
    }
    if job.builds_base() || job.builds_services() {
        let mut record = outcome::begin(session, &ready.tree.request, &plan);
        if matches!(job.part, Part::Base) {
            record.tasks.clear();
        }
        outcome::foresee(session, &record);
        cx.progress().record = Some(record);
    }
    Ok(plan)
}
