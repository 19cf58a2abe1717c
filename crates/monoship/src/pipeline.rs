//! The pipeline, top to bottom. A team that wants another stage (a smoke test, a deploy) writes a function and calls it here.

pub mod jobs;
pub mod look;

use std::path::Path;

use crate::stage::checkout::{self, At};
use crate::stage::engine as engines;
use crate::stage::notify::{self, Happened};
use crate::stage::project::{self, Project};
use crate::stage::publication::{self, Naming, Noted};
use crate::stage::publish::{self, Item, Published};
use crate::stage::signing::Signing;
use crate::stage::{Session, build_base, build_services, configuration, gates, outcome, planning, update_release};
use monoship_core::error::Result;
use monoship_docker::engine::Engine;
use monoship_plan::Plan;
use monoship_plan::request::{Release, Request};
use monoship_report::record::RunRecord;

/// Builds the working tree: what changed, or what was named. With a push, the tags are put once every image stands.
///
/// # Errors
/// Whatever keeps the run from coming to an outcome; a failed build is an outcome.
pub fn build(session: &Session, request: &Request) -> Result<RunRecord> {
    let built = build_at(session, &session.home, request);
    notify::after(session, &built, |built| built.happened(None));
    Ok(built?.record)
}

/// Builds a commit as CI does: checked out apart, whatever lies in the working tree.
///
/// # Errors
/// As [`build`]; when the commit cannot be checked out.
pub fn build_commit(session: &Session, commit: &str, request: &Request) -> Result<Released> {
    let at_commit = configuration::at_commit(session, commit)?;
    let built = checkout::within(&at_commit, &At::of_commit(commit), |root| build_at(&at_commit, root, request));
    notify::after(&at_commit, &built, |built| built.happened(None));
    built
}

fn build_at(session: &Session, root: &Path, request: &Request) -> Result<Released> {
    let (project, engine) = look(session, root)?;
    // Answered while the plan is made: the record names the commit that was built on, whatever is committed meanwhile.
    let head = session.git().head();
    let plan = planning::plan(session, &project, &engine, request)?;
    let mut record = images(session, &project, &engine, &plan, request)?;
    (record.commit, record.reference) = outcome::name(session, head);
    match Naming::of_branch(&request.destination).filter(|_| publication::all_stand(&record)) {
        Some(naming) => put(session, record, publication::items(&plan, &naming), &naming, None),
        None => Ok(Released::nothing(outcome::end(session, record)?)),
    }
}

/// What a run came to.
pub struct Released {
    /// The run.
    pub record: RunRecord,
    /// What was published; empty where nothing is pushed, or a service failed.
    pub published: Vec<Published>,
    /// What became of a release's notes.
    pub notes: Option<update_release::Report>,
}

impl Released {
    fn nothing(record: RunRecord) -> Self {
        Self { record, published: Vec::new(), notes: None }
    }

    fn happened<'a>(&'a self, release: Option<&'a Release>) -> Happened<'a> {
        let released = release.map(|release| (release.tag.tag.as_str(), self.published.as_slice()));
        Happened { record: Some(&self.record), released }
    }
}

/// Releases a tag: its commit checked out, every service built or carried forward, all version tags or none, then the notes.
///
/// # Errors
/// As the stages'. A failed build is an outcome, and publishes nothing.
pub fn release(session: &Session, release: &Release) -> Result<Released> {
    let released = release_tag(session, release);
    notify::after(session, &released, |released| released.happened(Some(release)));
    released
}

fn release_tag(session: &Session, release: &Release) -> Result<Released> {
    let (tag, commit) = checkout::resolve(&session.git(), &release.tag)?;
    let session = &configuration::at_commit(session, &commit)?;
    let version = Version::new(session, Release { tag, ..release.clone() }, &commit)?;
    let tag = &version.release.tag;
    let _alone = publication::enter(session, &version.release)?;
    let at = At { purpose: "checkout", name: tag.tag.as_str(), commit: &commit, keep: release.keep_checkout };
    checkout::within(session, &at, |root| {
        let request = publication::build_request(session, release);
        let (project, engine, plan) = prepare(session, root, &request)?;
        let mut record = images(session, &project, &engine, &plan, &request)?;
        (record.commit, record.reference) = (Some(commit.clone()), Some(tag.tag.to_string()));
        if !publication::all_stand(&record) {
            return Ok(Released::nothing(outcome::end(session, record)?));
        }
        put(session, record, publication::items(&plan, &version.naming), &version.naming, Some(&version))
    })
}

/// A version that is to be published, with all that can be refused before anything is built.
struct Version {
    release: Release,
    naming: Naming,
    signing: Option<Signing>,
}

impl Version {
    fn new(session: &Session, release: Release, commit: &str) -> Result<Self> {
        let (signing, naming) = (Signing::of(session)?, Naming::of_release(session, &release.tag, commit, &release)?);
        Ok(Self { release, naming, signing })
    }
}

/// What every pipeline starts with: the monorepo read, an engine found, the plan made.
///
/// # Errors
/// As the stages'.
pub fn prepare(session: &Session, root: &Path, request: &Request) -> Result<(Project, Engine, Plan)> {
    let (project, engine) = look(session, root)?;
    let plan = planning::plan(session, &project, &engine, request)?;
    Ok((project, engine, plan))
}

fn look(session: &Session, root: &Path) -> Result<(Project, Engine)> {
    let (project, engine) = rayon::join(
        || project::load(session, root),
        || engines::find(&session.env, session.config.engine, session.config.suite, &session.events, &session.shutdown),
    );
    // The monorepo's errors first: they are nearer to the user.
    let (project, engine) = (project?, engine?);
    if root != session.home {
        project::check_complete(&project)?;
    }
    Ok((project, engine))
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

/// Every tag of every service, or none; what is to be signed is signed before, and a version gets its notes after.
fn put(session: &Session, record: RunRecord, items: Vec<Item>, naming: &Naming, version: Option<&Version>) -> Result<Released> {
    let (record, (published, notes)) = outcome::end_after(session, record, || {
        let published = publish(session, items, naming, version.and_then(|version| version.signing.as_ref()))?;
        let images: Vec<Noted> = published.iter().map(Noted::from).collect();
        let write = |version: &Version| publication::write_notes(session, &version.release.tag, &version.release, &images, false);
        let notes = version.map(write).transpose()?;
        Ok((published, notes))
    })?;
    Ok(Released { record, published, notes })
}

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
