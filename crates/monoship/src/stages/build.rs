//! The images: the shared base, then the services.

use std::sync::Arc;
use std::time::Duration;

use monoship_core::collect::Collect as _;
use monoship_core::error::Result;
use monoship_core::event::{Status, Task};
use monoship_core::execute::pool;
use monoship_core::name::ServiceName;
use monoship_plan::Decision;
use monoship_report::record::RunRecord;

use crate::context::Context;
use crate::job::Part;
use monoship_steps::build::Outcome;
use monoship_steps::{build_base as base_step, build_services as services_step, gates, jobs, mounts, outcome};

use super::Plan;
use super::plan::{Planned, Work};
pub use monoship_steps::image::Image;

/// The shared layers.
///
/// ```no_run
/// # use monoship::{Context, Result, stages};
/// # fn pipeline(cx: &Context) -> Result<()> {
/// # let ready = stages::prepare(cx, &stages::checkout(cx)?)?;
/// # let plan = stages::plan(cx, &ready)?;
/// let base = stages::build_base(cx, &plan)?;
/// let images = stages::build_services(cx, &plan, &base)?;
/// # Ok(()) }
/// ```
pub struct Base {
    state: State,
    /// How long it took to fill a new builder's cache mounts, where that was done.
    restored: Option<Duration>,
}

enum State {
    /// Built, or not needed.
    Stands,
    /// Its build failed: the services are not begun.
    Failed,
    /// Nothing is read from or written to a cache, so that nobody need wait for it: it is built beside the services, which share its steps.
    Beside,
}

/// Builds the shared base, once, with a cache of its own. A builder that starts with nothing gets the cache mounts back first, where that pays.
///
/// Where a cache is read or written, the services wait for it: BuildKit asks a remote cache for a step once, and a service that meets a step
/// of the base while that is being asked for may execute what its own cache has. Elsewhere it is built beside the services.
///
/// ```no_run
/// # use monoship::{Context, Result, stages};
/// # fn pipeline(cx: &Context) -> Result<()> {
/// # let ready = stages::prepare(cx, &stages::checkout(cx)?)?;
/// # let plan = stages::plan(cx, &ready)?;
/// let base = stages::build_base(cx, &plan)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// When the builder cannot be started. A build that fails is no error: its failure is in the record, and no service is begun.
pub fn build_base(cx: &Context, plan: &Plan) -> Result<Base> {
    let planned = &plan.inner;
    let mut built = Base { state: State::Stands, restored: None };
    let (Some(made), Some(ground)) = (planned.here(), &planned.ready.ground) else { return Ok(built) };
    let Some(engine) = &ground.engine else { return Ok(built) };
    if cx.job().builds_services() {
        built.restored = mounts::restore(planned.session(), engine, made)?;
    }
    let Some(base) = made.base.as_ref().filter(|_| cx.job().builds_base()) else { return Ok(built) };
    let caches = !(base.spec.cache_from.is_empty() && base.spec.cache_to.is_empty());
    if !caches && cx.job().builds_services() {
        return Ok(Base { state: State::Beside, ..built });
    }
    let ended = base_step::run(planned.session(), engine, made)?;
    let stands = ended.as_ref().is_some_and(|base| base.status == Status::Built);
    with_record(cx, |record| outcome::add_base(record, ended, made));
    Ok(Base { state: if stands { State::Stands } else { State::Failed }, ..built })
}

fn with_record(cx: &Context, change: impl FnOnce(&mut RunRecord)) {
    if let Some(record) = &mut cx.progress().record {
        change(record);
    }
}

/// The images of a run, one a service: those that were built, those that stand from before, and those that failed.
///
/// ```no_run
/// # use monoship::{Context, Result, stages};
/// # fn pipeline(cx: &Context) -> Result<()> {
/// # let ready = stages::prepare(cx, &stages::checkout(cx)?)?;
/// # let plan = stages::plan(cx, &ready)?;
/// # let base = stages::build_base(cx, &plan)?;
/// let images = stages::build_services(cx, &plan, &base)?;
/// for image in images.standing() {
///     cx.say(format!("{} stands", image.service()));
/// }
/// # Ok(()) }
/// ```
#[must_use = "images are published by `stages::publish`"]
pub struct Images {
    pub(crate) images: Vec<Image>,
    /// The plan by which they were built; none of images that a test made.
    pub(crate) plan: Option<Arc<Planned>>,
}

impl Images {
    /// These images, which no run built: for tests of a stage.
    ///
    /// ```
    /// # fn main() -> monoship::Result<()> {
    /// use monoship::{Image, Images};
    ///
    /// let images = Images::new([Image::new("api", "shop/api:dev")?, Image::new("web", "shop/web:dev")?]);
    /// assert_eq!(images.standing().count(), 2);
    /// # Ok(()) }
    /// ```
    pub fn new(images: impl IntoIterator<Item = Image>) -> Self {
        Self { images: images.into_iter().into_vec(), plan: None }
    }

    /// The images that stand, built now or before.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context, images: &monoship::Images) {
    /// for image in images.standing() {
    ///     cx.say(image.service());
    /// }
    /// # }
    /// ```
    pub fn standing(&self) -> impl Iterator<Item = &Image> {
        self.images.iter().filter(|image| image.stands())
    }

    /// True where every service has an image that nothing refused.
    ///
    /// ```no_run
    /// # fn stage(cx: &monoship::Context, images: &monoship::Images) {
    /// if !images.all_stand() {
    ///     cx.say("nothing will be published");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn all_stand(&self) -> bool {
        self.images.iter().all(Image::stands)
    }
}

/// Builds every service that the plan says, several at once. One failure stops nobody else, unless `--fail-fast` was said.
///
/// ```no_run
/// # use monoship::{Context, Result, stages};
/// # fn pipeline(cx: &Context) -> Result<()> {
/// # let ready = stages::prepare(cx, &stages::checkout(cx)?)?;
/// # let plan = stages::plan(cx, &ready)?;
/// # let base = stages::build_base(cx, &plan)?;
/// let images = stages::build_services(cx, &plan, &base)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// When a context cannot be written, a file was edited since the plan was made, or a success cannot be remembered. A build that fails is
/// no error: the others go on, and [`publish`](super::publish) refuses.
pub fn build_services(cx: &Context, plan: &Plan, base: &Base) -> Result<Images> {
    let planned = Arc::clone(&plan.inner);
    let job = cx.job();
    match &planned.work {
        Work::Here(made) if job.builds_services() => build(cx, &planned, made, base)?,
        Work::Elsewhere(file) => {
            let (record, tried) = jobs::collect(planned.session(), &planned.ready.tree.request, file, job.attempt)?;
            let mut progress = cx.progress();
            (progress.record, progress.tried) = (Some(record), tried);
        }
        Work::Here(made) => return Ok(Images { images: foreseen(made), plan: Some(planned.clone()) }),
    }
    if let Some(record) = &mut cx.progress().record {
        if let Some(version) = &planned.ready.tree.version {
            record.reference = Some(version.release.tag.tag.to_string());
        }
        record.commit = record.commit.take().or_else(|| planned.ready.tree.commit.clone());
    }
    let mut record = cx.progress().record.take();
    if let Some(record) = &mut record {
        gates::check(planned.session(), &planned.ready.tree.request, record);
    }
    let images = record.as_ref().map(of_record).unwrap_or_default();
    cx.progress().record = record;
    Ok(Images { images, plan: Some(planned) })
}

fn build(cx: &Context, planned: &Planned, made: &monoship_plan::Plan, stage: &Base) -> Result<()> {
    let (session, request) = (planned.session(), &planned.ready.tree.request);
    let Some(ground) = &planned.ready.ground else { return Ok(()) };
    let Some(engine) = &ground.engine else { return Ok(()) };
    let services = || services_step::run(session, &ground.project, engine, made, request);
    let (base, services): (Option<Outcome>, Vec<Outcome>) = match stage.state {
        State::Failed => return Ok(()),
        State::Stands => (None, services()?),
        State::Beside => {
            let (services, base) = pool::both(services, || base_step::run(session, engine, made));
            (base?, services?)
        }
    };
    with_record(cx, |record| {
        outcome::add_base(record, base, made);
        outcome::add_services(record, services, made);
    });
    let record = cx.progress().record.clone();
    record.map_or(Ok(()), |record| mounts::keep(session, engine, made, &record, stage.restored))
}

/// The images that a plan speaks of, for a run that builds none of them.
fn foreseen(plan: &monoship_plan::Plan) -> Vec<Image> {
    let images = plan.services.iter().map(|service| {
        let (status, digest) = match &service.decision {
            Decision::Build { .. } => (Status::NotRun, None),
            Decision::Skip { digest, .. } => (Status::Unchanged, Some(digest.clone())),
        };
        Image { service: service.service.name.clone(), name: service.target.spec.output.names().first().cloned(), digest, status }
    });
    images.into_vec()
}

fn of_record(record: &RunRecord) -> Vec<Image> {
    let images = record.tasks.iter().filter_map(|task| {
        let Task::Service(service) = &task.task else { return None };
        let name = task.images.first().and_then(|name| name.parse().ok());
        Some(Image { service: service.clone(), name, digest: task.digest.clone(), status: task.status })
    });
    images.into_vec()
}

/// The service that this job is of, in a matrix.
pub(super) fn alone(part: &Part) -> Option<&ServiceName> {
    match part {
        Part::Service(name, _) => Some(name),
        _ => None,
    }
}
