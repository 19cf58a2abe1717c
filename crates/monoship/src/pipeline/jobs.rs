//! The pipeline cut into jobs that run on machines of their own. Each makes the plan anew, from the same commit and so with the same
//! fingerprints; what one leaves for the next is a small file ([`crate::stage::jobs`]), never a layer: those go by caches and registry.

use crate::stage::checkout::{self, At};
use crate::stage::jobs::{self, PlanFile};
use crate::stage::notify::{self, Happened};
use crate::stage::project::Project;
use crate::stage::publication::{self, Naming};
use crate::stage::{Session, build_base, build_services, configuration, gates, outcome};
use monoship_core::error::Result;
use monoship_docker::engine::Engine;
use monoship_plan::Plan;
use monoship_plan::request::{Release, Request};
use monoship_report::record::RunRecord;

use super::{Released, Version, prepare, put};

/// What all jobs of one run have in common.
pub struct Work<'a> {
    /// The commit that is built.
    pub commit: &'a str,
    /// The tag that is released.
    pub release: Option<&'a Release>,
    /// What is asked for.
    pub request: &'a Request,
    /// Which attempt at the run this is, from 1.
    pub attempt: u32,
}

/// What must be built, and what stands already.
///
/// # Errors
/// As the stages'.
pub fn plan(session: &Session, work: &Work<'_>) -> Result<PlanFile> {
    let tag = work.release.map(|release| release.tag.tag.clone());
    let planned = checked_out(session, work, work.request, |_, _, _, plan| Ok(jobs::plan_file(plan, work.commit, tag)));
    // No other job is run where this one fails: it is told here or nowhere.
    notify::after(session, &planned, |_| Happened::default());
    planned
}

/// The base alone, for its cache: the services' jobs wait for it.
///
/// # Errors
/// As the stages'; a failed build is an outcome.
pub fn base(session: &Session, work: &Work<'_>) -> Result<RunRecord> {
    checked_out(session, work, work.request, |session, _, engine, plan| {
        let mut record = outcome::begin(session, work.request, plan);
        record.tasks.clear();
        outcome::add_base(&mut record, build_base::run(session, engine, plan)?, plan);
        outcome::end_job(session, record)
    })
}

/// One service, without the base: its cache has that. Where the image stands by now (another attempt pushed it), nothing is built.
///
/// # Errors
/// As the stages'; when its inputs are not those that were planned. A failed build is an outcome.
pub fn service(session: &Session, work: &Work<'_>, name: &str, planned: &PlanFile) -> Result<RunRecord> {
    let beside = planned.services.iter().filter(|(_, planned)| planned.present.is_none()).map(|(name, _)| name.clone()).collect();
    let request = Request { services: vec![name.to_owned()], since: None, beside, ..work.request.clone() };
    checked_out(session, work, &request, |session, project, engine, plan| {
        jobs::check(planned, plan, work.commit)?;
        let mut record = outcome::begin(session, &request, plan);
        let built = build_services::run(session, project, engine, plan, &request)?;
        outcome::add_services(&mut record, built, plan);
        gates::check(session, &request, &mut record);
        outcome::end_job(session, record)
    })
}

/// Publishes what the services' jobs built and what stood before: every tag, or none. Then a release's notes. This is the job that ends
/// the run: it is told and remembered as if one job had done all of it.
///
/// # Errors
/// As the stages'. A service that failed, or left no result, is an outcome, and publishes nothing.
pub fn publish(session: &Session, work: &Work<'_>, planned: &PlanFile) -> Result<Released> {
    let session = &configuration::at_commit(session, work.commit)?;
    let released = publish_all(session, work, planned);
    notify::after(session, &released, |released| released.happened(work.release));
    released
}

fn publish_all(session: &Session, work: &Work<'_>, planned: &PlanFile) -> Result<Released> {
    let version = work.release.map(|release| Version::new(session, release.clone(), work.commit)).transpose()?;
    let _alone = version.as_ref().map(|version| publication::enter(session, &version.release)).transpose()?;
    let mut record = jobs::collect(session, work.request, planned, work.attempt)?;
    if let Some(version) = &version {
        (record.commit, record.reference) = (Some(work.commit.to_owned()), Some(version.release.tag.tag.to_string()));
    }
    gates::check(session, work.request, &mut record);
    let branch = Naming::of_branch(&work.request.destination);
    match version.as_ref().map(|version| &version.naming).or(branch.as_ref()).filter(|_| publication::all_stand(&record)) {
        Some(naming) => {
            let items = jobs::items(session, planned, &record, &naming.tags)?;
            put(session, record, items, naming, version.as_ref())
        }
        None => Ok(Released::nothing(outcome::end(session, record)?)),
    }
}

/// Does `what` with the commit checked out and the plan made, by the commit's own configuration.
fn checked_out<T>(
    session: &Session,
    work: &Work<'_>,
    request: &Request,
    what: impl FnOnce(&Session, &Project, &Engine, &Plan) -> Result<T>,
) -> Result<T> {
    let session = &configuration::at_commit(session, work.commit)?;
    checkout::within(session, &At::of_commit(work.commit), |root| {
        let (project, engine, plan) = prepare(session, root, request)?;
        what(session, &project, &engine, &plan)
    })
}
