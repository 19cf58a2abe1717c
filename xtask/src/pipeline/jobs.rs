//! The pipeline cut into jobs that run on machines of their own. Each makes the plan anew, from the same commit and so with the same
//! fingerprints; what one leaves for the next is a small file ([`crate::stage::jobs`]), never a layer: those go by caches and registry.

use crate::engine::Engine;
use crate::error::Result;
use crate::plan::Plan;
use crate::plan::request::{Release, Request};
use crate::record::RunRecord;
use crate::stage::checkout::{self, At};
use crate::stage::jobs::{self, Collected, PlanFile};
use crate::stage::project::Project;
use crate::stage::publication::{self, Naming, Noted};
use crate::stage::signing::Signing;
use crate::stage::{Session, build_base, build_services, configuration, gates, outcome};

use super::{Released, prepare};

/// What all jobs of one run have in common.
pub struct Work<'a> {
    /// The commit that is built.
    pub commit: &'a str,
    /// The tag that is released.
    pub release: Option<&'a Release>,
    /// What is asked for.
    pub request: &'a Request,
}

/// What must be built, and what stands already.
///
/// # Errors
/// As the stages'.
pub fn plan(session: &Session, work: &Work<'_>) -> Result<PlanFile> {
    let tag = work.release.map(|release| release.tag.tag.clone());
    checked_out(session, work, work.request, |_, _, _, plan| Ok(jobs::plan_file(plan, work.commit, tag)))
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
        outcome::end(session, record)
    })
}

/// One service, without the base: its cache has that. Where the image stands by now (another attempt pushed it), nothing is built.
///
/// # Errors
/// As the stages'; when its inputs are not those that were planned. A failed build is an outcome.
pub fn service(session: &Session, work: &Work<'_>, name: &str, planned: &PlanFile) -> Result<RunRecord> {
    let request = Request { services: vec![name.to_owned()], since: None, ..work.request.clone() };
    checked_out(session, work, &request, |session, project, engine, plan| {
        jobs::check(planned, plan, work.commit)?;
        let mut record = outcome::begin(session, &request, plan);
        let built = build_services::run(session, project, engine, plan, &request)?;
        outcome::add_services(&mut record, built, plan);
        gates::check(session, &request, &mut record);
        outcome::end(session, record)
    })
}

/// Publishes what the services' jobs built and what stood before: every tag, or none. Then a release's notes.
///
/// # Errors
/// As the stages'.
pub fn publish(session: &Session, work: &Work<'_>, planned: &PlanFile, collected: &Collected) -> Result<Released> {
    let session = &configuration::at_commit(session, work.commit)?;
    let record = RunRecord::new(session.run.id.clone(), session.begun, work.request.command.clone());
    let put = |naming: &Naming, signing: Option<&Signing>| {
        super::publish(session, jobs::items(session, planned, collected, &naming.tags)?, naming, signing)
    };
    let (published, notes) = if let Some(release) = work.release {
        let signing = Signing::of(session)?;
        let _alone = publication::enter(session, &release.tag)?;
        let published = put(&Naming::of_release(session, &release.tag, work.commit, release)?, signing.as_ref())?;
        let noted: Vec<Noted> = published.iter().map(Noted::from).collect();
        let report = publication::write_notes(session, &release.tag, release, &noted, false)?;
        (published, Some(report))
    } else {
        (Naming::of_branch(&work.request.destination).map_or(Ok(Vec::new()), |naming| put(&naming, None))?, None)
    };
    Ok(Released { record, published, notes })
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
