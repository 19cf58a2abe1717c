//! The pipeline, top to bottom. A team that wants another stage (a smoke test, a deploy) writes a function and calls it here.

use std::path::Path;

use crate::engine::Engine;
use crate::error::Result;
use crate::plan::Plan;
use crate::plan::request::Request;
use crate::record::RunRecord;
use crate::stage::project::{self, Project};
use crate::stage::{Session, build_base, build_services, outcome, planning};

/// Builds the working tree: what changed, or what was named.
///
/// # Errors
/// Whatever keeps the run from coming to an outcome; a failed build is an outcome.
pub fn build(session: &Session, request: &Request) -> Result<RunRecord> {
    let (project, engine, plan) = prepare(session, &session.home, request)?;
    let mut record = outcome::begin(session, request, &plan);
    if let Some(base) = &plan.base {
        let built = build_base::run(session, &engine, base)?;
        outcome::add(&mut record, built, &base.tiers);
    }
    if outcome::may_go_on(&record) {
        let built = build_services::run(session, &project, &engine, &plan, request)?;
        outcome::add_services(&mut record, built, &plan);
    }
    outcome::end(session, record)
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
