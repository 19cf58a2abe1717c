//! The pipeline, top to bottom. A team that wants another stage (a smoke test, a deploy) writes a function and calls it here.

use std::path::Path;

use crate::engine::Engine;
use crate::error::Result;
use crate::plan::Plan;
use crate::plan::request::{Destination, Release, Request};
use crate::record::RunRecord;
use crate::stage::project::{self, Project};
use crate::stage::publication::{self, Naming};
use crate::stage::publish::{self, Published};
use crate::stage::{Session, build_base, build_services, checkout, outcome, planning, update_release};

/// Builds the working tree: what changed, or what was named. With a push, the tags are put once every image stands.
///
/// # Errors
/// Whatever keeps the run from coming to an outcome; a failed build is an outcome.
pub fn build(session: &Session, request: &Request) -> Result<RunRecord> {
    let (project, engine, plan) = prepare(session, &session.home, request)?;
    let record = images(session, &project, &engine, &plan, request)?;
    if let Destination::Registry(tags) = &request.destination
        && let Some(first) = tags.first()
        && !plan.services.is_empty()
        && publication::all_stand(&record)
    {
        publish(session, &plan, &Naming { name: first.as_str(), version: None, tags, move_tags: true, annotations: None })?;
    }
    outcome::end(session, record)
}

/// What a release came to.
pub struct Released {
    /// The run.
    pub record: RunRecord,
    /// What was published; empty where a service failed.
    pub published: Vec<Published>,
    /// What became of the notes.
    pub notes: Option<update_release::Report>,
}

/// Releases a tag: its commit checked out, every service built or carried forward, all version tags or none, then the notes.
///
/// # Errors
/// As the stages'. A failed build is an outcome, and publishes nothing.
pub fn release(session: &Session, release: &Release, request: &Request) -> Result<Released> {
    let (tag, commit) = checkout::resolve(&session.git(), &release.tag)?;
    let _alone = publication::enter(session, &tag)?;
    let checkout = checkout::of_tag(session, "checkout", &tag, &commit)?;
    let (project, engine, plan) = prepare(session, &checkout.root, request)?;
    project::check_complete(&project)?;
    let record = images(session, &project, &engine, &plan, request)?;
    if !publication::all_stand(&record) {
        return Ok(Released { record: outcome::end(session, record)?, published: Vec::new(), notes: None });
    }
    let tags = publish::tags_of(&session.config.release.tags, &tag.version)?;
    let annotations = publication::annotations(session, &tag.version, &commit)?;
    let naming =
        Naming { name: tag.tag.as_str(), version: Some(&tag.version), tags: &tags, move_tags: release.move_tags, annotations };
    let published = publish(session, &plan, &naming)?;
    let notes = publication::write_notes(session, &tag, release, &published)?;
    if !release.keep_checkout {
        checkout::remove(&session.git(), &checkout.root)?;
    }
    Ok(Released { record: outcome::end(session, record)?, published, notes: Some(notes) })
}

/// What every pipeline starts with: the monorepo read, an engine found, the plan made.
///
/// # Errors
/// As the stages'.
pub fn prepare(session: &Session, root: &Path, request: &Request) -> Result<(Project, Engine, Plan)> {
    let (project, engine) = rayon::join(
        || project::load(session, root),
        || Engine::find(&session.env, session.config.engine, session.config.suite, &session.events, &session.shutdown),
    );
    // The monorepo's errors first: they are nearer to the user.
    let (project, engine) = (project?, engine?);
    let plan = planning::plan(session, &project, &engine, request)?;
    Ok((project, engine, plan))
}

/// The base, then the services that are to be built.
fn images(session: &Session, project: &Project, engine: &Engine, plan: &Plan, request: &Request) -> Result<RunRecord> {
    let mut record = outcome::begin(session, request, plan);
    if let Some(base) = &plan.base {
        let built = build_base::run(session, engine, base)?;
        outcome::add(&mut record, built, &base.tiers);
    }
    if outcome::may_go_on(&record) {
        let built = build_services::run(session, project, engine, plan, request)?;
        outcome::add_services(&mut record, built, plan);
    }
    Ok(record)
}

/// Every tag of every service, or none.
fn publish(session: &Session, plan: &Plan, naming: &Naming<'_>) -> Result<Vec<Published>> {
    let publication = publish::plan(&publication::request(session, plan, naming), &session.registry)?;
    publish::run(&publication, &session.registry, &session.events)
}
