//! The pipeline, top to bottom. A team that wants another stage (a smoke test, a deploy) writes a function and calls it here.

pub mod jobs;
pub mod look;

use std::path::Path;

use crate::engine::Engine;
use crate::error::Result;
use crate::plan::Plan;
use crate::plan::request::{Release, Request};
use crate::record::RunRecord;
use crate::stage::checkout::{self, At};
use crate::stage::notify::{self, Happened};
use crate::stage::project::{self, Project};
use crate::stage::publication::{self, Naming, Noted};
use crate::stage::publish::{self, Item, Published};
use crate::stage::signing::Signing;
use crate::stage::{Session, build_base, build_services, configuration, gates, outcome, planning, update_release};

/// Builds the working tree: what changed, or what was named. With a push, the tags are put once every image stands.
///
/// # Errors
/// Whatever keeps the run from coming to an outcome; a failed build is an outcome.
pub fn build(session: &Session, request: &Request) -> Result<RunRecord> {
    let built = build_at(session, &session.home, request);
    notify::after(session, &built, Built::happened);
    Ok(built?.record)
}

/// What a build came to.
pub struct Built {
    /// The run.
    pub record: RunRecord,
    /// What was published; empty where nothing is pushed, or a service failed.
    pub published: Vec<Published>,
}

impl Built {
    fn happened(&self) -> Happened<'_> {
        Happened { record: Some(&self.record), released: None }
    }
}

/// Builds a commit as CI does: checked out apart, whatever lies in the working tree.
///
/// # Errors
/// As [`build`]; when the commit cannot be checked out.
pub fn build_commit(session: &Session, commit: &str, request: &Request) -> Result<Built> {
    let at_commit = configuration::at_commit(session, commit)?;
    let built = checkout::within(&at_commit, &At::of_commit(commit), |root| build_at(&at_commit, root, request));
    notify::after(&at_commit, &built, Built::happened);
    built
}

fn build_at(session: &Session, root: &Path, request: &Request) -> Result<Built> {
    let (project, engine, plan) = prepare(session, root, request)?;
    let record = images(session, &project, &engine, &plan, request)?;
    let Some(naming) = Naming::of_branch(&request.destination).filter(|_| publication::all_stand(&record)) else {
        return Ok(Built { record: outcome::end(session, record)?, published: Vec::new() });
    };
    let put = || publish(session, publication::items(&plan, &naming), &naming, None);
    let (record, published) = outcome::end_after(session, record, put)?;
    Ok(Built { record, published })
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
pub fn release(session: &Session, release: &Release) -> Result<Released> {
    let released = release_tag(session, release);
    notify::after(session, &released, |released| released.happened(release));
    released
}

impl Released {
    fn happened<'a>(&'a self, release: &'a Release) -> Happened<'a> {
        Happened { record: Some(&self.record), released: Some((release.tag.tag.as_str(), &self.published)) }
    }
}

fn release_tag(session: &Session, release: &Release) -> Result<Released> {
    let (tag, commit) = checkout::resolve(&session.git(), &release.tag)?;
    let session = &configuration::at_commit(session, &commit)?;
    let signing = Signing::of(session)?;
    let _alone = publication::enter(session, &tag)?;
    let at = At { purpose: "checkout", name: tag.tag.as_str(), commit: &commit, keep: release.keep_checkout };
    checkout::within(session, &at, |root| {
        let request = publication::build_request(session, release);
        let (project, engine, plan) = prepare(session, root, &request)?;
        let mut record = images(session, &project, &engine, &plan, &request)?;
        (record.commit, record.reference) = (Some(commit.clone()), Some(tag.tag.to_string()));
        if !publication::all_stand(&record) {
            return Ok(Released { record: outcome::end(session, record)?, published: Vec::new(), notes: None });
        }
        let (record, (published, report)) = outcome::end_after(session, record, || {
            let naming = Naming::of_release(session, &tag, &commit, release)?;
            let published = publish(session, publication::items(&plan, &naming), &naming, signing.as_ref())?;
            let noted: Vec<Noted> = published.iter().map(Noted::from).collect();
            let report = publication::write_notes(session, &tag, release, &noted, false)?;
            Ok((published, report))
        })?;
        Ok(Released { record, published, notes: Some(report) })
    })
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
    if root != session.home {
        project::check_complete(&project)?;
    }
    let plan = planning::plan(session, &project, &engine, request)?;
    Ok((project, engine, plan))
}

/// The base and the services that are to be built.
fn images(session: &Session, project: &Project, engine: &Engine, plan: &Plan, request: &Request) -> Result<RunRecord> {
    let mut record = outcome::begin(session, request, plan);
    let services = || build_services::run(session, project, engine, plan, request);
    let (base, services) = build_base::with(session, engine, plan, services)?;
    outcome::add_base(&mut record, base, plan);
    outcome::add_services(&mut record, services, plan);
    gates::check(session, request, &mut record);
    Ok(record)
}

/// Every tag of every service, or none; what is to be signed is signed before.
fn publish(session: &Session, items: Vec<Item>, naming: &Naming, signing: Option<&Signing>) -> Result<Vec<Published>> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let publication = publish::plan(&publication::request(session, items, naming), &session.registry)?;
    if let Some(signing) = signing {
        signing.sign(session, &publication)?;
    }
    publish::run(&publication, &session.registry, &session.events)
}
